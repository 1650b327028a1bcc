//! What a session asks, and of whom.

use std::fmt;

use bytes::Bytes;

use super::{
    info::ClientFilter,
    tracking::Tracking,
    transaction::{Exec, Transacted},
};
use crate::{
    api::{Answer, DatabaseKey, Request},
    core::{command::Command, reply::Reply},
    face::resp::Version,
    hub::Topic,
};

/// What is to be done after a request.
#[derive(Debug)]
pub enum Step {
    /// Nothing; the reply was written.
    Done,
    /// Close, once what was written is sent.
    Close,
    /// Ask, and give the answer to [`Session::finish`](super::Session::finish).
    Ask(Ask, Ticket),
}

/// A question.
#[derive(Debug)]
pub enum Ask {
    /// Of hot data: [`Heard::Api`].
    Api(Request),
    /// Of the users' store, whether these are right: [`Heard::Identity`].
    Identity(Credentials),
    /// Of the list of connections: [`Heard::Registry`].
    Registry(Registry),
    /// Of the node: [`Heard::Node`].
    Node(NodeCall),
}

/// A command that the node answers: INFO, CONFIG and the like.
#[derive(Clone, Debug)]
pub struct NodeCall {
    /// The command, one of its subcommands if it has any.
    pub name: &'static str,
    /// All words; their number was checked.
    pub words: Vec<Bytes>,
}

/// What somebody said to be.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub user: Bytes,
    /// The password.
    pub password: Bytes,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Whose commands CLIENT PAUSE lets wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseOf {
    /// Those that write.
    Writes,
    /// All.
    All,
}

/// Which channels PUBSUB looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// Those of SUBSCRIBE.
    Plain,
    /// Those of SSUBSCRIBE.
    Sharded,
}

/// A question to the list of this node's connections. The answer is the reply, except where
/// another is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registry {
    /// CLIENT INFO: a line about the connection that asks, as a [`Reply::Verbatim`].
    Info,
    /// CLIENT LIST: a line for each that passes, as a [`Reply::Verbatim`].
    List(Box<ClientFilter>),
    /// CLIENT KILL with filters: closes each that passes, and counts them.
    Kill(Box<ClientFilter>),
    /// CLIENT KILL with an address: OK, or `ERR No such client`.
    KillAddress(Bytes),
    /// CLIENT PAUSE: OK.
    Pause {
        /// For so long.
        timeout_ms: u64,
        /// Whose.
        of: PauseOf,
    },
    /// CLIENT UNPAUSE: OK.
    Unpause,
    /// CLIENT UNBLOCK: 1, or 0 if that connection does not wait.
    Unblock {
        /// Which connection.
        id: u64,
        /// Its reply is an error, not what it would be at the end of its time.
        with_error: bool,
    },
    /// Whether there is such a connection: a [`Reply::Boolean`].
    Exists(u64),
    /// PUBSUB CHANNELS or SHARDCHANNELS: names of channels that somebody listens to.
    Channels {
        /// Of which kind.
        of: Channels,
        /// Only such.
        pattern: Option<Bytes>,
    },
    /// PUBSUB NUMSUB or SHARDNUMSUB: each channel, followed by the number of listeners.
    Listeners {
        /// Of which kind.
        of: Channels,
        /// Which.
        channels: Vec<Bytes>,
    },
    /// PUBSUB NUMPAT: the number of patterns that somebody listens to.
    Patterns,
}

/// An answer.
#[derive(Debug)]
pub enum Heard {
    /// From hot data.
    Api(Answer),
    /// From the users' store: whether they were right.
    Identity(bool),
    /// From the list of connections.
    Registry(Reply),
    /// From the node.
    Node(Reply),
}

/// An answer that is of another kind than its question: our own mistake, for which one command
/// pays.
const UNFIT: &[u8] = b"ERR internal error: the answer does not fit the question";

impl Heard {
    /// The reply that it is.
    pub(super) fn into_reply(self) -> Reply {
        match self {
            Heard::Api(Answer::Reply(reply)) | Heard::Registry(reply) | Heard::Node(reply) => reply,
            Heard::Api(Answer::Refused(refusal)) => Reply::Error(Bytes::from(refusal.to_string())),
            Heard::Api(
                Answer::Executed(_) | Answer::Discarded | Answer::Versions(_) | Answer::Ran { .. },
            )
            | Heard::Identity(_) => Reply::Error(Bytes::from_static(UNFIT)),
        }
    }
}

/// How a session goes on when it hears.
#[derive(Debug)]
pub struct Ticket {
    pub(super) command: &'static Command,
    pub(super) finish: Finish,
    /// What the client spoke when it asked.
    pub(super) version: Version,
    pub(super) muted: bool,
    pub(super) waits: bool,
    /// The transaction that the question is from.
    pub(super) exec: Option<Box<Exec>>,
}

impl Ticket {
    /// Whether the connection's next request may be handled only when this one is finished: the
    /// answer changes what the connection is, or may take as long as the client likes.
    pub fn waits(&self) -> bool {
        self.waits
    }
}

#[derive(Debug)]
pub(super) enum Finish {
    /// The answer is the reply.
    Reply,
    /// These keys are watched from now on.
    Watch(Vec<DatabaseKey>),
    /// The client is who it said.
    Authenticate(Box<super::identity::Authentication>),
    /// Tracking begins.
    Tracking(Box<Tracking>),
    /// The transaction's answer is heard.
    Exec(Box<Transacted>),
}

/// A subscription that began or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionChange {
    /// Of what.
    pub kind: Topic,
    /// Its name or pattern.
    pub name: Bytes,
    /// Whether it began.
    pub begun: bool,
}
