//! Workloads: programs of containers that outlive the node that started them.
//!
//! Each has a directory, its only identity here. [`start`] writes `spec.json` there and starts a
//! [shim](shim_main), which runs the program; [`look`] says how it stands from the files alone,
//! so a node that was started again knows as much as the one before. The shim holds a lock in
//! the directory as long as it lives (flock(2)), taken before it is started and never let go in
//! between: no number of a process, which may be used again, is relied on. Invariants:
//! - a workload is started at most once;
//! - once [`look`] says that it exited, none of its processes is there, nor will be;
//! - [`kill`] needs no help from the shim;
//! - a workload whose spec names a [lease](lease::renew) does not outlive it, whatever became of
//!   the node's agent.
//!
//! While it runs, the shim answers at a socket in the directory: it runs further programs
//! beside the first ([`exec::start`]) and lets people see and write what goes through that one's
//! streams ([`attach::connect`]).
//!
//! Calls block, but for a bounded time; those of a [`Session`](exec::Session) are asynchronous. Nothing here is
//! simulated: a simulation has a runtime of its own in place of processes.

#![allow(
    clippy::disallowed_methods,
    reason = "real processes, with their files and their time; nothing here is simulated"
)]

mod access;
pub mod attach;
mod attachers;
mod cgroup;
mod control;
pub mod exec;
mod guard;
mod launch;
pub mod lease;
mod limits;
pub mod log;
mod members;
mod proc;
mod pty;
pub mod sandbox;
mod session;
mod settle;
mod shim;
mod spec;
mod state;
#[cfg(test)]
mod tests;
mod usage;
mod wire;

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub use cgroup::{Cgroups, Controller, Interface, Tree};
pub use control::{kill, layers, look, remove, signal, start};
pub use guard::LEASE_ENDED;
pub use pty::Size;
pub use shim::{ATTACHERS_MAX, EXECS_MAX, shim_main};
pub use spec::{
    CgroupSpec, LOG_BYTES_MAX, LOG_FILES_MAX, LandlockSpec, PIDS_MAX, RlimitSpec, Spec, VERSION,
};
pub use state::{Enforced, Force};
pub use usage::{usage, usages};

/// [`start`] waits no longer for the program to run.
pub const START_WAIT: Duration = Duration::from_secs(10);
/// [`kill`] waits no longer for the last process to be gone.
pub const KILL_WAIT: Duration = Duration::from_secs(10);
const NS_PER_MS: u64 = 1_000_000;

/// Why something could not be done with a workload.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// The spec asks for what can't be.
    #[error("{0}")]
    Spec(String),
    /// It was started before; its directory can be removed once it has ended.
    #[error("the workload in {} was started already", .0.display())]
    Started(PathBuf),
    /// It can't be removed while it runs.
    #[error("the workload in {} is running", .0.display())]
    Running(PathBuf),
    /// Some of its processes don't end: they hang in the kernel. It may help to try again.
    #[error("processes of the workload in {} do not end: {pids:?}", dir.display())]
    StillThere {
        /// Its directory.
        dir: PathBuf,
        /// The processes.
        pids: Vec<u32>,
    },
    /// There is no signal of that number.
    #[error("there is no signal {0}")]
    Signal(i32),
    /// A process could not be reached.
    #[error("process {pid} can't be sent a signal: {source}")]
    Send {
        /// Its number.
        pid: u32,
        /// What the operating system said.
        source: io::Error,
    },
    /// The shim could not be started.
    #[error("{} could not be started: {source}", program.display())]
    Spawn {
        /// The program of the shim.
        program: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The shim could not do its work.
    #[error("the shim failed: {0}")]
    Shim(String),
    /// A file could not be used.
    #[error("cannot {operation} {}: {source}", path.display())]
    File {
        /// What was tried, a verb.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl WorkloadError {
    fn file(operation: &'static str, path: &Path, source: io::Error) -> Self {
        WorkloadError::File {
            operation,
            path: path.to_path_buf(),
            source,
        }
    }
}

/// How a shim is started: a program and its arguments, to which the directory is added. It has
/// to call [`shim_main`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launcher {
    /// The program.
    pub program: PathBuf,
    /// Its arguments before the directory.
    pub arguments: Vec<OsString>,
}

impl Launcher {
    /// This program itself, even if its file has been replaced since it was started.
    pub fn own(subcommand: &str) -> Launcher {
        Launcher {
            program: PathBuf::from("/proc/self/exe"),
            arguments: vec![subcommand.into()],
        }
    }
}

/// How a workload stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It was not started, or so little that it can be started again.
    NotStarted,
    /// Its shim lives, its program does not run yet.
    Starting,
    /// Its program runs, or has ended while others of its processes have not.
    Running(Running),
    /// It has ended, with all its processes.
    Exited(Exited),
    /// Its shim was killed, or the machine was restarted. Nobody knows how it ended.
    Lost(Lost),
}

/// A program that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its process.
    pub pid: u32,
    /// When it was started, in milliseconds since the epoch.
    pub started_ms: u64,
    /// Which limits hold.
    pub enforced: Enforced,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exited {
    /// Its exit code; 128 and the signal if that ended it, 127 if there is no such program, 126
    /// if it could not be started.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its memory had run out, and the kernel ended it or a process of it.
    pub oom_killed: bool,
    /// When it was started, if it was, in milliseconds since the epoch.
    pub started_ms: Option<u64>,
    /// When it ended, in milliseconds since the epoch.
    pub finished_ms: u64,
    /// Why it could not be started, or that the node's lease has ended; empty otherwise.
    pub message: String,
    /// How much of what it printed could not be written.
    pub log_dropped_bytes: u64,
}

/// What is known of a workload that was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// When it was started, if it was, in milliseconds since the epoch.
    pub started_ms: Option<u64>,
    /// When that was found out, in milliseconds since the epoch.
    pub found_ms: u64,
    /// All its processes are gone. If not, look again.
    pub is_gone: bool,
    /// What happened.
    pub message: String,
}

/// What the processes of a workload have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time since it was started, in nanoseconds.
    pub cpu_ns: u64,
    /// Memory in use now, in bytes.
    pub memory_bytes: u64,
}

/// By this machine's clock, in nanoseconds since the epoch.
fn now_ns() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since_epoch.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

fn now_ms() -> u64 {
    now_ns() / NS_PER_MS
}

/// Longer and longer pauses between looks at something that nobody tells of.
struct Pauses {
    next: Duration,
}

impl Pauses {
    const MIN: Duration = Duration::from_millis(1);
    const MAX: Duration = Duration::from_millis(50);

    fn new() -> Pauses {
        Pauses { next: Pauses::MIN }
    }

    fn pause(&mut self) {
        std::thread::sleep(self.next);
        self.next = (self.next * 2).min(Pauses::MAX);
    }
}
