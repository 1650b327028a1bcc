//! The wires of `kubectl exec`, `attach` and `port-forward`, as codecs and state machines.
//!
//! A [`Conversation`] turns what comes from a client into what the client says, and what is
//! said to it into what goes to the client. What is said is the same over every wire:
//! [`ToContainer`] and [`FromContainer`] for exec and attach, [`Forward`] both ways for
//! port-forward. [`negotiate`] chooses the wire:
//!
//! | wire | exec, attach | port-forward |
//! |---|---|---|
//! | channels in messages of a WebSocket | [`exec::ChannelExec`] | [`forward::ChannelForward`] |
//! | streams in SPDY/3.1 | [`exec::SpdyExec`] | [`forward::SpdyForward`] |
//! | SPDY/3.1 in messages of a WebSocket | – | [`forward::SpdyForward`] |
//!
//! Invariants: nothing that a client sends is an error of ours; what is kept of its bytes is
//! bounded by the last message and by named limits; pieces have at most [`PIECE_BYTES_MAX`].
//!
//! Source: KEP-4006 (SPDY to WebSockets), the packages `remotecommand`, `portforward` and
//! `wsstream` of Kubernetes.

pub mod channels;
pub mod exec;
pub mod forward;
pub mod negotiate;
pub mod options;
mod resize;
pub mod spdy;
pub mod status;
pub mod websocket;

use bytes::Bytes;
use serde_json::Value;

/// The most bytes of a piece of a stream.
pub const PIECE_BYTES_MAX: usize = 64 * 1024;

/// What a client says to a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToContainer {
    /// Bytes for its standard input.
    Stdin(Bytes),
    /// Its standard input ends.
    StdinEnd,
    /// The size of its terminal, in characters.
    Resize {
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
}

/// What a process says to its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromContainer {
    /// Bytes of its standard output; with a terminal, all that it wrote.
    Stdout(Bytes),
    /// Bytes of its standard error.
    Stderr(Bytes),
    /// It ended, as a Status tells: see [`status`]. Nothing follows.
    Ended(Value),
}

/// A connection that is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What is said about connections that are forwarded, both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The client has one for a port. Only clients say so.
    Open(ConnectionId, u16),
    /// Bytes.
    Data(ConnectionId, Bytes),
    /// Who says so sends nothing more. A client may go on reading after it said so; after the
    /// port did, the connection is over.
    End(ConnectionId),
    /// It broke. To a client: kubectl prints the message, and newer ones end all forwarding, so
    /// [`Forward::End`] is for what the program behind the port did, this for our own failures.
    Failed(ConnectionId, String),
}

/// How a conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// What is said can't be sent yet: the client has not opened all streams.
    Opening,
    /// Both sides talk.
    Talking,
    /// We have said all. The client leaves once it has read it.
    Ended,
    /// The client leaves.
    Left,
}

/// The client broke the protocol, and can't be talked with any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// In SPDY.
    #[error(transparent)]
    Spdy(#[from] spdy::SpdyError),
    /// In the messages of channels.
    #[error("a message about the end of a channel has {0} bytes")]
    Close(usize),
}

/// A conversation with a client over one wire.
pub trait Conversation {
    /// What clients say.
    type Heard;
    /// What is said to clients.
    type Said;

    /// Takes what came: a message, or the next bytes. [`Conversation::hear`] is asked until it
    /// has no more before the next is taken.
    fn receive(&mut self, message: Bytes);

    /// What the client said next.
    ///
    /// # Errors
    /// The client broke the protocol.
    fn hear(&mut self) -> Result<Option<Self::Heard>, Broken>;

    /// Says something; not while the phase is [`Phase::Opening`].
    fn say(&mut self, said: Self::Said);

    /// Nothing more will be said.
    fn end(&mut self);

    /// How it stands.
    fn phase(&self) -> Phase;

    /// What is to be sent: a message, or bytes.
    fn transmit(&mut self) -> Option<Bytes>;

    /// Says that we are still there, where the wire below can't.
    fn ping(&mut self) {}
}

/// Cuts the next piece off.
fn piece(bytes: &mut Bytes) -> Bytes {
    bytes.split_to(bytes.len().min(PIECE_BYTES_MAX))
}
