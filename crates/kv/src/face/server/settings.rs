//! What an operator may set.

use crate::face::{resp, session};

/// How a server treats its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// What sessions have to know.
    pub session: session::Settings,
    /// What a client may send.
    pub limits: resp::Limits,
    /// So many connections at a time: `maxclients`.
    pub connections_max: usize,
    /// So many bytes may wait for a client that does not read; then it is let go. Must hold the
    /// largest reply: the hard limit of `client-output-buffer-limit normal`.
    pub unsent_bytes_max: usize,
    /// Who sends nothing for so long is let go; 0 is never: `timeout`.
    pub idle_s_max: u64,
}

impl ServerSettings {
    /// Redis's numbers, except for clients that do not read: those a Redis lets fill its memory.
    pub fn new(session: session::Settings) -> Self {
        ServerSettings {
            session,
            limits: resp::Limits::default(),
            connections_max: 10_000,
            unsent_bytes_max: 1024 * 1024 * 1024,
            idle_s_max: 0,
        }
    }
}
