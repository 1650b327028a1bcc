//! PING, SELECT and others of few words.

use bytes::{Bytes, BytesMut};

use super::{
    Handled, Outcome, Session,
    ask::{Ask, Finish},
    pubsub, unhandled,
};
use crate::{
    api::{Body, Consistency, OwnDisk, Wait},
    core::{
        command::CommandError,
        data::{DATABASES, parse_integer},
        reply::Reply,
    },
    face::resp::{Version, write},
};

impl Session {
    pub(super) fn run_connection(
        &mut self,
        name: &str,
        words: &[Bytes],
        out: &mut BytesMut,
    ) -> Handled {
        match name {
            "ping" => self.ping(words),
            "echo" => Ok(Reply::Bulk(words[1].clone()).into()),
            "quit" => {
                write(out, self.version, &Reply::OK);
                Ok(Outcome::Close)
            }
            "select" => self.select(words),
            "readonly" => {
                self.consistency = Consistency::Stale;
                Ok(Reply::OK.into())
            }
            "readwrite" => {
                self.consistency = Consistency::Linearizable;
                Ok(Reply::OK.into())
            }
            // Partitions are never between two owners, so there is nothing to allow.
            "asking" => Ok(Reply::OK.into()),
            "publish" => Ok(self.ask_publish(false, words)),
            "spublish" => Ok(self.ask_publish(true, words)),
            "wait" => Ok(self.ask_wait(Wait {
                // Less than none is none; WAITAOF has another opinion.
                replicas: parse_integer(&words[1])
                    .map(|replicas| u64::try_from(replicas).unwrap_or(0))
                    .ok_or(CommandError::NotInteger)?,
                on_disk: None,
                timeout_ms: timeout_ms(&words[2])?,
            })),
            "waitaof" => Ok(self.ask_wait(Wait {
                on_disk: Some(own_disk(&words[1])?),
                replicas: replicas(&words[2])?,
                timeout_ms: timeout_ms(&words[3])?,
            })),
            _ => Err(unhandled(name)),
        }
    }

    /// A connection of RESP2 that listens is answered in the form of messages.
    fn ping(&self, words: &[Bytes]) -> Handled {
        let reply = match words {
            [_] if self.listens_in_resp2() => {
                Reply::Array(vec![Reply::bulk("pong"), Reply::bulk("")])
            }
            [_, message] if self.listens_in_resp2() => {
                Reply::Array(vec![Reply::bulk("pong"), Reply::Bulk(message.clone())])
            }
            [_] => Reply::Status("PONG"),
            [_, message] => Reply::Bulk(message.clone()),
            _ => return Err(CommandError::Arity("ping")),
        };
        Ok(reply.into())
    }

    pub(super) fn listens_in_resp2(&self) -> bool {
        self.version == Version::Resp2 && !self.subscriptions.is_empty()
    }

    fn ask_publish(&mut self, sharded: bool, words: &[Bytes]) -> Outcome {
        let request = self.request(Body::Publish(pubsub::publication(sharded, words)));
        Outcome::Ask {
            ask: Ask::Api(request),
            finish: Finish::Reply,
            waits: false,
        }
    }

    fn ask_wait(&mut self, wait: Wait) -> Outcome {
        let request = self.request(Body::Wait(wait));
        Outcome::wait(Ask::Api(request), Finish::Reply)
    }
}

/// The database that SELECT names. A Redis Cluster has one.
pub(super) fn database_index(words: &[Bytes], cluster: bool) -> Result<usize, CommandError> {
    let index = parse_integer(&words[1]).ok_or(CommandError::NotInteger)?;
    if cluster && index != 0 {
        return Err(CommandError::Other(
            "ERR SELECT is not allowed in cluster mode",
        ));
    }
    usize::try_from(index)
        .ok()
        .filter(|index| *index < DATABASES)
        .ok_or(CommandError::Other("ERR DB index is out of range"))
}

fn replicas(word: &[u8]) -> Result<u64, CommandError> {
    let replicas = parse_integer(word).ok_or(CommandError::NotInteger)?;
    u64::try_from(replicas)
        .map_err(|_| CommandError::Other("ERR value is out of range, must be positive"))
}

fn own_disk(word: &[u8]) -> Result<OwnDisk, CommandError> {
    match parse_integer(word) {
        Some(0) => Ok(OwnDisk::Ignored),
        Some(1) => Ok(OwnDisk::Awaited),
        Some(_) => Err(CommandError::Other(
            "ERR value is out of range, value must between 0 and 1",
        )),
        None => Err(CommandError::NotInteger),
    }
}

/// A time in milliseconds.
pub(super) fn timeout_ms(word: &[u8]) -> Result<u64, CommandError> {
    let timeout = parse_integer(word).ok_or(CommandError::Other(
        "ERR timeout is not an integer or out of range",
    ))?;
    u64::try_from(timeout).map_err(|_| CommandError::Other("ERR timeout is negative"))
}
