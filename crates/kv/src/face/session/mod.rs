//! What a connection is between its bytes: a pure state machine.
//!
//! [`Session::handle`] takes a request and writes its reply, or says what has to be asked first
//! ([`Step::Ask`]) and writes the reply when it hears the answer ([`Session::finish`]). While
//! answers are awaited more requests may be handled, unless [`Ticket::waits`]: a pipeline costs
//! one round trip. Replies have to be sent in the order of their requests, so whoever calls
//! keeps the places of those that are not written yet.

mod ask;
mod client;
mod cluster;
mod command;
mod conclude;
mod connection;
mod describe;
mod help;
mod identity;
mod info;
mod key_flags;
mod keyspace;
mod outcome;
mod pubsub;
mod rights;
mod state;
mod tally;
mod tips;
mod tracking;
mod transaction;

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use bytes::{Bytes, BytesMut};

pub use ask::{
    Ask, Channels, Credentials, Heard, NodeCall, PauseOf, Registry, Step, SubscriptionChange,
    Ticket,
};
pub use info::{ClientFilter, ClientInfo, ClientKind, Traffic};
pub use pubsub::Message;
pub use rights::Denial;
pub use tally::{End, Ended, code};
pub use tracking::Tracking;

use super::{
    acl::{Acl, Rights},
    resp::{Version, write, write_error},
};
use crate::{
    api::{Answer, Body, Call, ClusterMap, Condition, Consistency, Part, Request, Unhindered},
    core::{
        command::{Command, CommandError, Flags, Group, KeyPlaces, find, found_nothing},
        machine::OUT_OF_MEMORY,
        reply::Reply,
    },
};
use ask::Finish;
use keyspace::{Chosen, Levels};
use outcome::{Handled, Outcome, Refused, unhandled, unknown};
use pubsub::Subscriptions;
use transaction::{Queue, Watched};

/// The Redis whose commands, texts and shapes of replies these are.
pub const REDIS_VERSION: &str = "7.4.0";

/// How a listener treats its sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who does not say a name is nobody, not the user `default`.
    pub auth_required: bool,
    /// Clients are told that this is a Redis Cluster: there is one database, and keys are asked
    /// for where they are.
    pub cluster: bool,
}

/// Whether the client wants to be answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Replies {
    #[default]
    On,
    Off,
    /// Not the next time.
    SkipNext,
}

/// A connection's state.
pub struct Session {
    settings: Settings,
    id: u64,
    version: Version,
    database: usize,
    /// The eventual keyspace that is chosen, if it is one.
    keyspace: Option<Chosen>,
    levels: Levels,
    /// None until the client has said who it is.
    user: Option<Bytes>,
    name: Bytes,
    library_name: Bytes,
    library_version: Bytes,
    consistency: Consistency,
    replies: Replies,
    no_evict: bool,
    no_touch: bool,
    queue: Option<Queue>,
    watched: Watched,
    subscriptions: Subscriptions,
    tracking: Option<Tracking>,
    tracking_changed: bool,
    /// It shows what others do, or not; and whether that changed.
    monitors: bool,
    monitors_changed: bool,
    /// Whether the last request was a command that was run or queued.
    was_admitted: bool,
    /// Keys that are about to be read, and are to be remembered.
    reads: Vec<Bytes>,
    /// The same, of scripts, of which it is known only afterwards whether they have read.
    script_reads: Vec<Bytes>,
    has_script_read: bool,
    last_command: &'static str,
    /// What the client is told of the cluster, if it is told that there is one.
    cluster: Option<Arc<dyn ClusterMap>>,
    /// Commands that came to their ends and were not counted yet.
    ended: Vec<Ended>,
    rights: Rights,
    denials: Vec<Denial>,
    /// What the node can't do at the moment.
    condition: Arc<dyn Condition>,
}

impl fmt::Debug for Session {
    /// Without what clients sent: there may be passwords in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("last_command", &self.last_command)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// A new connection's; no other connection of this node has or had the same `id`.
    pub fn new(id: u64, settings: Settings) -> Self {
        Session {
            user: None,
            settings,
            id,
            version: Version::default(),
            database: 0,
            keyspace: None,
            levels: Levels::default(),
            name: Bytes::new(),
            library_name: Bytes::new(),
            library_version: Bytes::new(),
            consistency: Consistency::default(),
            replies: Replies::default(),
            no_evict: false,
            no_touch: false,
            queue: None,
            watched: Watched::default(),
            subscriptions: Subscriptions::default(),
            tracking: None,
            tracking_changed: false,
            monitors: false,
            monitors_changed: false,
            was_admitted: false,
            reads: Vec::new(),
            script_reads: Vec::new(),
            has_script_read: false,
            last_command: "NULL",
            cluster: None,
            ended: Vec::new(),
            rights: Rights::default(),
            denials: Vec::new(),
            condition: Unhindered::shared(),
        }
        .with_acl(Acl::default())
    }

    /// The same connection, of a node that knows what it can't do.
    #[must_use]
    pub fn with_condition(mut self, condition: Arc<dyn Condition>) -> Session {
        self.condition = condition;
        self
    }

    /// Handles a request: at least one word.
    pub fn handle(&mut self, words: Vec<Bytes>, out: &mut BytesMut) -> Step {
        let begin = out.len();
        let muted = match self.replies {
            Replies::On => false,
            Replies::Off => true,
            Replies::SkipNext => {
                self.replies = Replies::On;
                true
            }
        };
        let admitted = self.admit(&words);
        self.was_admitted = admitted.is_ok();
        let command = match admitted {
            Ok(Some(command)) => command,
            Ok(None) => {
                write(out, self.version, &Reply::Status("QUEUED"));
                mute(out, begin, muted);
                return Step::Done;
            }
            Err((command, error)) => {
                self.refuse(command, &error, out);
                mute(out, begin, muted);
                return Step::Done;
            }
        };
        let handled = self.run(command, words, out);
        // What CLIENT CACHING said was about this command, or is about a whole transaction.
        if command.name != "client|caching" && self.queue.is_none() {
            self.forget_caching();
        }
        // CLIENT REPLY ON is answered, and what is pushed is no answer.
        let muted = muted && command.name != "client|reply" && !pubsub::pushes(command);
        let step = self.conclude(command, handled, muted, None, out);
        mute(out, begin, muted);
        step
    }

    /// Goes on with what [`handle`](Self::handle) asked for.
    pub fn finish(&mut self, ticket: Ticket, heard: Heard, out: &mut BytesMut) -> Step {
        let begin = out.len();
        let Ticket {
            command,
            finish,
            version,
            muted,
            exec,
            ..
        } = ticket;
        let (heard, is_counted) = self.note_ran(heard);
        let handled = match finish {
            Finish::Reply => {
                let reply = heard.into_reply();
                match (&reply, is_counted) {
                    (Reply::Error(_), true) => self.note(Some(command), End::FailedInside),
                    _ => self.note_reply(command, &reply),
                }
                write(out, version, &reply);
                let step = self.follow(Step::Done, muted, exec, out);
                mute(out, begin, muted);
                return step;
            }
            Finish::Watch(keys) => self.finish_watch(keys, heard),
            Finish::Authenticate(authentication) => {
                self.finish_authentication(*authentication, heard)
            }
            Finish::Tracking(tracking) => self.finish_tracking(*tracking, heard),
            Finish::Exec(exec) => {
                let step = self.begin_replies(command, *exec, heard, muted, out);
                mute(out, begin, muted);
                return step;
            }
        };
        let step = self.conclude(command, handled, muted, exec, out);
        mute(out, begin, muted);
        step
    }

    /// Notes what a script did. The answer, and whether the error that it is was counted.
    fn note_ran(&mut self, heard: Heard) -> (Heard, bool) {
        match heard {
            Heard::Api(Answer::Ran {
                answer,
                has_read,
                is_counted,
            }) => {
                self.has_script_read |= has_read;
                (Heard::Api(*answer), is_counted)
            }
            other => (other, false),
        }
    }

    /// Ends the waiting of a command, as CLIENT UNBLOCK wants: as if its time were over, or with
    /// an error. The question is to be dropped.
    pub fn unblock(&mut self, ticket: Ticket, with_error: bool, out: &mut BytesMut) -> Step {
        let reply = if with_error {
            Reply::Error(Bytes::from_static(
                b"UNBLOCKED client unblocked via CLIENT UNBLOCK",
            ))
        } else {
            match self.last_command {
                // Nobody is known to have it.
                "wait" => Reply::Integer(0),
                "waitaof" => Reply::Array(vec![Reply::Integer(0); 2]),
                name => found_nothing(name),
            }
        };
        self.finish(ticket, Heard::Api(Answer::Reply(reply)), out)
    }

    /// The command that is to run now; none if it was queued.
    fn admit(&mut self, words: &[Bytes]) -> Result<Option<&'static Command>, Refused> {
        let command = find(words)
            // A container with words that name none of what it contains.
            .filter(|command| command.subcommands.is_empty() || words.len() == 1)
            .ok_or_else(|| (None, unknown(words)))?;
        let admitted = self
            .check(command, words)
            .and_then(|()| self.queue(command, words));
        match admitted {
            Ok(true) => Ok(None),
            Ok(false) => {
                self.last_command = command.name;
                Ok(Some(command))
            }
            Err(error) => Err((Some(command), error)),
        }
    }

    /// What the table of commands and the state of the connection say against it.
    fn check(&mut self, command: &'static Command, words: &[Bytes]) -> Result<(), CommandError> {
        if !command.takes(words.len()) {
            return Err(CommandError::Arity(command.name));
        }
        if !self.is_authenticated() && !command.flags.has(Flags::NO_AUTH) {
            return Err(CommandError::Other("NOAUTH Authentication required."));
        }
        if self.queue.is_some() && command.flags.has(Flags::NO_MULTI) {
            return Err(CommandError::Other(
                "ERR Command not allowed inside a transaction",
            ));
        }
        self.permit(command, words)?;
        if self.listens_in_resp2() && !pubsub::is_for_listeners(command) {
            return Err(CommandError::Text(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
                 RESET are allowed in this context",
                command.name
            )));
        }
        self.check_keyspace(command, words)?;
        self.check_place(command, words)?;
        self.check_condition(command, words)
    }

    /// Refuses what the node can't do at the moment. A transaction is told before it is asked
    /// for: its client may still begin anew (Redis: "Transactions", errors inside them).
    fn check_condition(&self, command: &Command, words: &[Bytes]) -> Result<(), CommandError> {
        let condition = &self.condition;
        let is_queued = self.queue.is_some() && command.flags.has(Flags::DENYOOM);
        if is_queued && condition.is_full(command, words) {
            return Err(CommandError::Other(OUT_OF_MEMORY));
        }
        if command.flags.has(Flags::ALLOW_BUSY) && matches!(command.keys, KeyPlaces::None) {
            return Ok(());
        }
        let queue = self.queue.as_ref().filter(|_| command.name == "exec");
        let hindrance = queue
            .and_then(|queue| queue.hindrance(&**condition))
            .or_else(|| condition.hindrance(command, words));
        match hindrance {
            None => Ok(()),
            Some(hindrance) => Err(CommandError::Text(hindrance.to_string())),
        }
    }

    /// Tells the client no, which also spoils a transaction.
    fn refuse(
        &mut self,
        command: Option<&'static Command>,
        error: &CommandError,
        out: &mut BytesMut,
    ) {
        let mut text = error.to_string();
        self.note(command, End::Rejected(tally::code(text.as_bytes())));
        if command.is_some_and(|command| command.name == "exec") {
            self.end_transaction();
            let reason = text.strip_prefix("ERR ").unwrap_or(&text);
            text = format!("EXECABORT Transaction discarded because of: {reason}");
        } else if let Some(queue) = &mut self.queue {
            queue.spoil();
        }
        write_error(out, text.as_bytes());
    }

    fn run(&mut self, command: &'static Command, words: Vec<Bytes>, out: &mut BytesMut) -> Handled {
        if command.flags.has(Flags::SESSION) {
            return self.run_here(command, &words, out);
        }
        if let Some(chosen) = self.keyspace {
            return Ok(self.ask_eventual(chosen, Call { command, words }));
        }
        self.note_reads(command, &words);
        let waits = command.flags.has(Flags::BLOCKING);
        let (database, call) = (self.database, Call { command, words });
        let body = match self.is_of_part(command) {
            true => Body::Within {
                part: Part::Owned,
                database,
                call,
            },
            false => Body::Call { database, call },
        };
        Ok(Outcome::Ask {
            ask: Ask::Api(self.request(body)),
            finish: Finish::Reply,
            waits,
        })
    }

    fn request(&mut self, body: Body) -> Request {
        let caller = body.runs_scripts().then(|| self.caller()).flatten();
        let is_quiet = |tracking: &Tracking| tracking.no_loop;
        Request {
            consistency: self.consistency,
            by: self
                .tracking
                .as_ref()
                .is_some_and(is_quiet)
                .then_some(self.id),
            caller,
            body,
        }
    }

    /// Runs a command that is about the connection.
    fn run_here(
        &mut self,
        command: &'static Command,
        words: &[Bytes],
        out: &mut BytesMut,
    ) -> Handled {
        if is_of_node(command) {
            let call = NodeCall {
                name: command.name,
                words: words.to_vec(),
            };
            return Ok(Outcome::wait(Ask::Node(call), Finish::Reply));
        }
        match command.name.split_once('|') {
            Some(("client", name)) => self.run_client(name, words),
            Some(("atoll.keyspace", name)) => self.run_keyspace(name),
            Some(("cluster", name)) => self.run_cluster(command, name, words),
            Some(("pubsub", name)) => pubsub::run_pubsub(name, words),
            Some(("command", name)) => command::run_command(name, words),
            _ => match command.name {
                "multi" | "exec" | "discard" | "watch" | "unwatch" => {
                    self.run_transaction(command.name, words, out)
                }
                "atoll.consistency" => self.consistency(&words[1..]),
                "auth" => self.auth(words),
                "hello" => self.hello(words),
                "reset" => Ok(self.reset()),
                "monitor" => {
                    self.monitor(true);
                    Ok(Reply::OK.into())
                }
                "command" => Ok(describe::all_commands().into()),
                "cluster" => Err(CommandError::Arity(command.name)),
                name if pubsub::pushes(command) => self.run_subscription(name, words, out),
                name => self.run_connection(name, words, out),
            },
        }
    }
}

/// Whether the node answers, of all commands that need no keyspace.
fn is_of_node(command: &Command) -> bool {
    command.group == Group::Server
        && !matches!(command.name, "command" | "monitor")
        && !command.name.starts_with("command|")
}

/// Takes back what was written, if the client wants no replies.
fn mute(out: &mut BytesMut, begin: usize, muted: bool) {
    if muted {
        out.truncate(begin);
    }
}
