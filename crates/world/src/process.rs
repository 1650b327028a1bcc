//! Processes: children, signals, and what the operating system says about a process.
//!
//! A [`Child`] never outlives its handle. Programs and arguments are passed as they are, no
//! shell reads them.

#![allow(
    clippy::disallowed_methods,
    reason = "this module is where processes are started"
)]

use std::{
    ffi::{OsStr, OsString},
    io,
    process::{ExitStatus, Stdio},
    sync::OnceLock,
};

use rustix::{
    fs::Mode,
    process::{Pid, Signal, kill_process},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{ChildStderr, ChildStdout},
    signal::unix::{SignalKind, signal},
};

/// A variable of this process's environment, if it is text.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What this process keeps from others at what it makes, before [`keep_private`].
static MASK_BEFORE: OnceLock<u32> = OnceLock::new();

/// Keeps all files and folders that this process makes from now on to its user. What it starts
/// does the same, unless it is told [`mask_before`].
pub fn keep_private() {
    let before = rustix::process::umask(Mode::RWXG | Mode::RWXO);
    MASK_BEFORE.get_or_init(|| before.as_raw_mode());
}

/// The mask that this process was started with, if it keeps what it makes private.
pub fn mask_before() -> Option<u32> {
    MASK_BEFORE.get().copied()
}

/// Whether this process may be any user.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Why a process could not be dealt with.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("{} could not be started: {source}", program.display())]
    Start {
        /// The program.
        program: OsString,
        /// What the operating system said.
        source: io::Error,
    },
    /// There is no such process, or it is not ours to look at.
    #[error("process {pid} can't be looked at: {source}")]
    Look {
        /// Its number.
        pid: u32,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Where a child's output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// To where ours goes.
    Inherit,
    /// Nowhere.
    Discard,
    /// To [`Child::stdout`] and [`Child::stderr`], which must be read, or it stops.
    Read,
}

/// A running child process. It is killed when this is dropped.
#[derive(Debug)]
pub struct Child {
    child: tokio::process::Child,
}

/// Starts a program with arguments and additional environment variables. Its input is empty
/// unless its output is inherited.
///
/// # Errors
/// `Start`.
pub fn start<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = A>,
    environment: &[(&str, &OsStr)],
    output: Output,
) -> Result<Child, ProcessError> {
    let stdio = || match output {
        Output::Inherit => Stdio::inherit(),
        Output::Discard => Stdio::null(),
        Output::Read => Stdio::piped(),
    };
    let input = if output == Output::Inherit {
        Stdio::inherit()
    } else {
        Stdio::null()
    };
    let child = tokio::process::Command::new(&program)
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(input)
        .stdout(stdio())
        .stderr(stdio())
        .kill_on_drop(true)
        .spawn();
    match child {
        Ok(child) => Ok(Child { child }),
        Err(source) => Err(ProcessError::Start {
            program: program.as_ref().to_owned(),
            source,
        }),
    }
}

impl Child {
    /// Its number; `None` once it has ended and that was seen.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The lines it prints, once, if they are read.
    pub fn stdout(&mut self) -> Option<Lines<BufReader<ChildStdout>>> {
        self.child
            .stdout
            .take()
            .map(|output| BufReader::new(output).lines())
    }

    /// The lines of its error output, once, if they are read.
    pub fn stderr(&mut self) -> Option<Lines<BufReader<ChildStderr>>> {
        self.child
            .stderr
            .take()
            .map(|output| BufReader::new(output).lines())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Its exit status if it has ended.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Asks it to end (SIGTERM). Nothing happens if it has ended.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn terminate(&self) -> io::Result<()> {
        self.send(Signal::TERM)
    }

    /// Ends it at once (SIGKILL). Nothing happens if it has ended.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn kill(&self) -> io::Result<()> {
        self.send(Signal::KILL)
    }

    /// Stops it where it is (SIGSTOP), as a machine that hangs.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn pause(&self) -> io::Result<()> {
        self.send(Signal::STOP)
    }

    /// Lets it go on after [`Child::pause`].
    ///
    /// # Errors
    /// What the operating system says.
    pub fn resume(&self) -> io::Result<()> {
        self.send(Signal::CONT)
    }

    fn send(&self, signal: Signal) -> io::Result<()> {
        // The number stays its own until its end is seen, so that no other process is hit.
        let pid = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        match pid {
            Some(pid) => Ok(kill_process(pid, signal)?),
            None => Ok(()),
        }
    }
}

/// Who asks this process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndRequest {
    /// Ctrl-C (SIGINT).
    Interrupt,
    /// SIGTERM, as a service manager sends it.
    Terminate,
}

/// Requests to end this process. From its making on, they no longer end it by themselves.
#[derive(Debug)]
pub struct EndRequests {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl EndRequests {
    /// Takes the signals over.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn new() -> io::Result<Self> {
        Ok(EndRequests {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> EndRequest {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => EndRequest::Interrupt,
            _ = self.terminate.recv() => EndRequest::Terminate,
        }
    }
}

/// What a process has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Processor time of all its threads, in the system and outside, in microseconds.
    pub cpu_us: u64,
    /// Memory that is resident, in bytes.
    pub resident_bytes: u64,
}

/// What a process has used so far, by the system's own accounts (Linux's /proc).
///
/// # Errors
/// `Look`.
pub fn usage(pid: u32) -> Result<Usage, ProcessError> {
    let look = |source| ProcessError::Look { pid, source };
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(look)?;
    let page_bytes = rustix::param::page_size() as u64;
    parse_stat(&stat, rustix::param::clock_ticks_per_second(), page_bytes).ok_or_else(|| {
        look(io::Error::new(
            io::ErrorKind::InvalidData,
            "its stat file is unknown",
        ))
    })
}

/// What this process has used so far.
///
/// # Errors
/// `Look`.
pub fn own_usage() -> Result<Usage, ProcessError> {
    usage(std::process::id())
}

/// See proc_pid_stat(5): fields 14 and 15 are times in ticks, 24 the resident pages.
fn parse_stat(stat: &str, ticks_per_second: u64, page_bytes: u64) -> Option<Usage> {
    // The second field, the program's name, may hold anything, brackets and spaces too.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = field(14)? + field(15)?;
    Some(Usage {
        cpu_us: ticks * 1_000_000 / ticks_per_second.max(1),
        resident_bytes: field(24)? * page_bytes,
    })
}

/// The name of this machine, if it has one.
pub fn host_name() -> Option<String> {
    let name = rustix::system::uname();
    name.nodename()
        .to_str()
        .ok()
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [&str; 0] = [];

    #[tokio::test]
    async fn a_child_prints_and_ends() {
        let arguments = ["-c", "echo $GREETING; echo oops >&2; exit 3"];
        let environment = [("GREETING", OsStr::new("hello"))];
        let mut child = start("sh", arguments, &environment, Output::Read).unwrap();
        let mut lines = child.stdout().unwrap();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("hello"));
        let mut lines = child.stderr().unwrap();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("oops"));
        assert_eq!(child.wait().await.unwrap().code(), Some(3));
        assert!(child.id().is_none() && child.kill().is_ok() && child.stdout().is_none());
        assert!(start("/no/such/program", NONE, &[], Output::Discard).is_err());
    }

    #[tokio::test]
    async fn children_end_when_asked_when_killed_and_with_their_handle() {
        let sleeper = || start("sleep", ["1000"], &[], Output::Discard).unwrap();
        let mut child = sleeper();
        child.terminate().unwrap();
        assert!(!child.wait().await.unwrap().success());
        let mut child = sleeper();
        child.pause().unwrap();
        child.resume().unwrap();
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        assert!(!child.wait().await.unwrap().success());
        let child = sleeper();
        let pid = child.id().unwrap();
        drop(child);
        // Killed; it may take the system a moment to see that nobody waits for it.
        while usage(pid).is_ok_and(|usage| usage.resident_bytes > 0) {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn usage_is_counted() {
        let before = own_usage().unwrap();
        assert!(before.resident_bytes > 100_000);
        let mut number = 1u64;
        while own_usage().unwrap().cpu_us < before.cpu_us + 20_000 {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
        assert!(usage(u32::MAX).is_err());
        let stat = "7 (a) b (c) R 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0 99 123456 10 18446744073709551615 1";
        let expected = Usage {
            cpu_us: 2_000_000,
            resident_bytes: 40_960,
        };
        assert_eq!(parse_stat(stat, 100, 4096), Some(expected));
        assert_eq!(parse_stat("7 (x) R 1", 100, 4096), None);
    }
}
