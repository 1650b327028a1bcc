//! What is behind sessions: one keyspace, one user, and connections that are as the questions
//! say.

use super::*;
use crate::{
    api::{Body, Condition, Request, Step as TransactionStep, Transaction, Version as KeyVersion},
    core::{
        acl::User,
        command::{Context, Effects, Moment},
        data::Keyspace,
    },
    face::acl::{Acl, DEFAULT_USER},
};

/// Some users, who may do everything once they have logged in.
pub(super) fn acl() -> Acl {
    let logged_in = ["a", "x", "somebody"];
    let users = logged_in.map(|name| (Bytes::from(name), User::everything()));
    let anybody = User::everything().without_password();
    Acl::of(users.into_iter().chain([(DEFAULT_USER.into(), anybody)]))
}

#[derive(Default)]
pub(super) struct World {
    keyspace: Keyspace,
    calls: u64,
    /// Who there is, if not the usual ones.
    pub(super) acl: Option<Acl>,
    /// What the node can't do.
    pub(super) condition: Option<Arc<dyn Condition>>,
}

impl World {
    /// One where these users are.
    pub(super) fn of(acl: Acl) -> World {
        World {
            acl: Some(acl),
            ..World::default()
        }
    }

    pub(super) fn answer(&mut self, ask: Ask, session: &Session) -> Heard {
        match ask {
            Ask::Api(request) => Heard::Api(self.answer_api(request)),
            Ask::Identity(credentials) => Heard::Identity(credentials.password == "secret"),
            Ask::Registry(Registry::Exists(id)) => Heard::Registry(Reply::Boolean(id == 7)),
            Ask::Registry(Registry::Info) => {
                let traffic = Traffic {
                    address: "127.0.0.1:1000".to_owned(),
                    local_address: "127.0.0.1:6379".to_owned(),
                    age_s: 5,
                    ..Traffic::default()
                };
                Heard::Registry(Reply::Verbatim(session.info(traffic).line().into()))
            }
            Ask::Registry(other) => Heard::Registry(asked(&other)),
            Ask::Node(call) => Heard::Node(asked(&call)),
        }
    }

    fn answer_api(&mut self, request: Request) -> Answer {
        match request.body {
            Body::Call { database, call } => Answer::Reply(self.call(database, &call)),
            Body::Eventual(call) => Answer::Reply(asked(&(
                call.keyspace,
                call.write,
                call.read,
                call.call.command.name,
            ))),
            Body::Within {
                part,
                database,
                call,
            } => match call.command.name {
                "cluster|countkeysinslot" | "cluster|getkeysinslot" => {
                    Answer::Reply(self.call(database, &call))
                }
                name => Answer::Reply(asked(&(part, name))),
            },
            Body::Versions(keys) => {
                Answer::Versions(keys.iter().map(|key| self.version(key)).collect())
            }
            Body::Transaction(Transaction { steps, watched, .. }) => {
                if watched
                    .iter()
                    .any(|(key, version)| self.version(key) != *version)
                {
                    return Answer::Discarded;
                }
                let replies = steps.iter().map(|step| match step {
                    TransactionStep::Call { database, call } => self.call(*database, call),
                    TransactionStep::Publish(publication) => heard_by(publication.sharded),
                });
                Answer::Executed(replies.collect())
            }
            Body::Publish(publication) => Answer::Reply(heard_by(publication.sharded)),
            Body::Wait(wait) => Answer::Reply(asked(&wait)),
        }
    }

    fn version(&self, key: &crate::api::DatabaseKey) -> KeyVersion {
        let entry = self.keyspace.database(key.database).get(&key.key);
        KeyVersion(entry.map_or(0, |entry| entry.version()))
    }

    fn call(&mut self, database: usize, call: &Call) -> Reply {
        self.calls += 1;
        let moment = Moment {
            now_ms: 0,
            seed: 0,
            version: self.calls,
            reading: call.command.flags.has(Flags::READONLY),
        };
        let mut effects = Effects::default();
        let mut context = Context::new(&mut self.keyspace, database, moment, &mut effects);
        call.command
            .run(&mut context, &call.words)
            .unwrap_or_else(|error| Reply::Error(error.to_string().into()))
    }
}

/// Shows the question, in a form that needs no length.
fn asked(question: &impl std::fmt::Debug) -> Reply {
    Reply::Error(format!("ASKED {question:?}").into())
}

/// One listens to channels, nobody to shard channels.
fn heard_by(sharded: bool) -> Reply {
    Reply::Integer(i64::from(!sharded))
}
