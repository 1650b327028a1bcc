//! A node's side of a program's streams, live: what it gives to a program that it runs beside a
//! workload ([`exec`](super::exec)) or attaches to ([`attach`](super::attach)), and what it gets.
//!
//! The streams are pipes or a terminal between this process and the program: nothing is kept in
//! between but what the kernel's buffers hold. Calls wait without blocking, and may be given up at
//! any point. The streams can be taken out of a [`Session`] and used at the same time.

mod connection;
mod streams;

use std::io;

pub use super::pty::Size;
use super::{WorkloadError, pty};
pub(super) use connection::{Answer, Connection};
pub use streams::{Input, Output};
pub(super) use streams::{input_of_pipe, input_of_terminal, output};

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The workload does not run (any more).
    #[error("the workload does not run")]
    NotRunning,
    /// Its shim is of an older version, which can't do that.
    #[error("the workload was started by an older version, which can't do that")]
    Unsupported,
    /// The program can't be run; the code is 127 if there is none such, 126 otherwise.
    #[error("{message}")]
    Refused {
        /// As a shell has it.
        code: i32,
        /// Why.
        message: String,
    },
    /// There are as many as may be.
    #[error("there are {0} already, and no more are allowed")]
    Full(usize),
    /// The shim has not answered in time.
    #[error("the workload's shim does not answer")]
    Silent,
    /// The shim has not understood.
    #[error("the workload's shim refuses: {0}")]
    Invalid(String),
    /// The request is too long.
    #[error("the command is too long")]
    TooLong,
    /// What is known of the workload can't be read.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// There is no terminal, no pipe or no connection to be had.
    #[error("no streams can be had: {0}")]
    Streams(#[from] io::Error),
}

/// How a session has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The program has ended: the one that was run, or that was attached to.
    Exited {
        /// As [`Exited::code`](super::Exited::code).
        code: i32,
        /// The signal that ended it.
        signal: Option<i32>,
    },
    /// What the program printed was not taken in time, so one who was attached is no more.
    CutOff,
    /// This side has closed it, or the shim is gone, and the program with it.
    Closed,
}

/// Streams to and from a program. When it is dropped, a program that was run is killed with its
/// whole session, which includes its process group, and one that was attached to goes on.
#[derive(Debug)]
pub struct Session {
    /// To the program, if that was asked for and it has such an input.
    pub stdin: Option<Input>,
    /// From the program, if it was asked for.
    pub stdout: Option<Output>,
    /// Error output, if it was asked for and is not a terminal's.
    pub stderr: Option<Output>,
    pub(super) connection: Connection,
}

impl Session {
    /// The program has a terminal.
    pub fn is_terminal(&self) -> bool {
        self.connection.terminal().is_some()
    }

    /// Waits for the end. Output may still be there to be read then; it ends soon even if the
    /// program has left others behind that could print more.
    pub async fn wait(&self) -> End {
        self.connection.wait().await
    }

    /// Tells the program's terminal its size; nothing happens if it has none.
    ///
    /// # Errors
    /// The operating system's.
    pub fn resize(&self, size: Size) -> io::Result<()> {
        match self.connection.terminal() {
            Some(terminal) => Ok(pty::resize(terminal, size)?),
            None => Ok(()),
        }
    }

    /// Kills a program that was run, as dropping does, or leaves one that was attached to. The
    /// end can still be waited for.
    pub fn kill(&self) {
        self.connection.close();
    }
}
