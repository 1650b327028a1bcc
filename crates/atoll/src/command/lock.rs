//! `atoll lock`: run a command while holding a lock.
//!
//! The lock is a key under a lease of ours, in the queue that etcd's Lock service uses, too. It is
//! held alone, shared, or as one of so many permits. The lease is renewed every
//! third of its time. We count from when a renewal was *sent*, so that by our own clock the
//! lease never seems to last longer than it does in the cluster. While it cannot be renewed,
//! the command is ended before the lease is: SIGTERM a grace before, SIGKILL at its end.
//!
//! What is not promised: a machine that stops altogether can't end anything, and its command
//! may go on after a pause with the lock long lost. What the command writes to should therefore
//! refuse a revision lower than the highest it has seen: ATOLL_LOCK_REVISION only grows. Hot data
//! does so for commands that show it (`ATOLL.FENCED`).
#![allow(clippy::disallowed_methods)] // The command line is the edge: it runs a child by a real clock.

use std::{
    ffi::{OsStr, OsString},
    io::{self, IsTerminal as _},
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _, process::ExitStatusExt as _},
    pin::pin,
    process::ExitStatus,
    time::Duration,
};

use atoll_control::proto::v1::{AcquireRequest, LockMode};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use tokio::{
    process::{Child, Command},
    signal::unix::{self, SignalKind},
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::lease;
use crate::{
    client::{Client, Retry},
    error::CliError,
    output::note,
};

/// Between two tries to reach the cluster.
const PAUSE: Duration = Duration::from_millis(200);
/// How often to look whether what a command started has ended.
const GONE_CHECK: Duration = Duration::from_millis(20);
/// The longest that a command is given to end by itself.
const GRACE_MAX: Duration = Duration::from_secs(5);
/// How long to wait for a lock if nobody says otherwise: for ever, as far as people go.
const WAIT_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// What shells exit with when a command cannot be run.
const EXIT_NOT_RUNNABLE: u8 = 126;
const EXIT_NOT_FOUND: u8 = 127;
/// What shells add to the number of a signal.
const EXIT_SIGNAL: i32 = 128;

/// Arguments of `atoll lock`.
#[derive(Clone, Debug, Args)]
pub(crate) struct LockArgs {
    /// The lock's name. Everybody who uses the same one takes turns.
    name: String,
    /// How long the lock outlives this process if it is killed, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(2..=3_600), value_name = "SECONDS")]
    ttl_s: u64,
    /// Hold it with others who share it; who wants it alone waits for all of them.
    #[arg(long, conflicts_with = "permits")]
    shared: bool,
    /// Hold it with up to so many in all: a semaphore. All who use it say the same number.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "NUMBER")]
    permits: Option<u32>,
    /// Give up after waiting so long for the lock, in seconds.
    #[arg(long, value_name = "SECONDS")]
    wait_s: Option<u64>,
    /// The command, which finds the lock's key in ATOLL_LOCK_KEY and its fencing token in
    /// ATOLL_LOCK_REVISION.
    #[arg(last = true, required = true, num_args = 1.., value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Takes the lock, runs the command, gives the lock back.
pub(crate) async fn run(args: LockArgs, client: &Client) -> Result<(), CliError> {
    let signals = Signals::new().map_err(|error| CliError::file("listen for", "signals", error))?;
    let sent = Instant::now();
    let ttl_wanted_s = i64::try_from(args.ttl_s).expect("an hour of seconds fits");
    let (id, ttl_s) = lease::grant(client, ttl_wanted_s).await?;
    let session = Session::new(client, id, Duration::from_secs(ttl_s.unsigned_abs()), sent);
    let result = hold(&args, client, &session, signals).await;
    // Best effort: a lease that nobody ends does so by itself.
    if !matches!(result, Err(CliError::LockLost { .. })) {
        let _ = lease::revoke(client, session.id).await;
    }
    result
}

/// A lease, and how long it certainly lasts.
struct Session {
    id: i64,
    ttl: Duration,
    granted_at: Instant,
    /// Gives up early enough to try another node before the lease ends.
    client: Client,
}

/// The lease is gone, or will be before it can be renewed.
struct Lost {
    why: String,
    /// When a command must be gone.
    kill_at: Instant,
}

impl Session {
    fn new(client: &Client, id: i64, ttl: Duration, granted_at: Instant) -> Session {
        let client = client.with_timeout((ttl / 6).min(client.timeout()));
        Session {
            id,
            ttl,
            granted_at,
            client,
        }
    }

    /// How long a command may take to end by itself.
    fn grace(&self) -> Duration {
        (self.ttl / 4).min(GRACE_MAX)
    }

    /// Renews the lease for as long as that can be done.
    async fn keep(&self) -> Lost {
        let mut sure_until = self.granted_at + self.ttl;
        loop {
            sleep(self.ttl / 3).await;
            match self.renew(sure_until - self.grace()).await {
                Ok(until) => sure_until = until,
                Err(Some(why)) => {
                    return Lost {
                        why,
                        kill_at: Instant::now() + self.grace(),
                    };
                }
                Err(None) => {
                    let why = "no node renewed its lease in time".to_owned();
                    return Lost {
                        why,
                        kill_at: sure_until,
                    };
                }
            }
        }
    }

    /// Until when it certainly lasts; or why it is gone; or nothing if nobody answered in time.
    async fn renew(&self, deadline: Instant) -> Result<Instant, Option<String>> {
        loop {
            let sent = Instant::now();
            match timeout_at(deadline, lease::renew(&self.client, self.id)).await {
                Ok(Ok(ttl_s)) if ttl_s > 0 => return Ok(sent + self.ttl),
                Ok(Ok(_)) => return Err(Some("its lease ended in the cluster".to_owned())),
                Err(_) => return Err(None),
                Ok(Err(_)) if Instant::now() + PAUSE >= deadline => return Err(None),
                Ok(Err(_)) => sleep(PAUSE).await,
            }
        }
    }
}

async fn hold(
    args: &LockArgs,
    client: &Client,
    session: &Session,
    mut signals: Signals,
) -> Result<(), CliError> {
    let mut lost = pin!(session.keep());
    let wait = args.wait_s.map_or(WAIT_MAX, Duration::from_secs);
    let held = tokio::select! {
        biased;
        lost = &mut lost => return Err(lock_lost(args, lost.why)),
        signal = signals.next() => return Err(interrupted(signal)),
        held = acquire(args, client, session) => held?,
        () = sleep(wait) => {
            return Err(CliError::failed(
                format!("the lock {} was not free within {} s", args.name, wait.as_secs()),
                "try later, or wait longer with --wait-s",
            ));
        }
    };
    let mut job = Job::start(&args.command, &held)?;
    loop {
        tokio::select! {
            biased;
            ended = job.child.wait() => {
                return exit_as(ended.map_err(|error| CliError::file("wait for", &args.command[0], error))?);
            }
            lost = &mut lost => {
                job.end(lost.kill_at).await;
                return Err(lock_lost(args, lost.why));
            }
            signal = signals.next() => job.pass_on(signal),
        }
    }
}

fn lock_lost(args: &LockArgs, why: String) -> CliError {
    CliError::LockLost {
        name: args.name.clone(),
        why,
    }
}

fn interrupted(signal: Signal) -> CliError {
    CliError::Exit(exit_byte(EXIT_SIGNAL + signal.as_raw()))
}

/// The lock as its command sees it.
struct Held {
    key: Vec<u8>,
    revision: i64,
}

/// Waits for its turn. A node that fails meanwhile is no reason to lose the place in the queue:
/// the place is the key under our lease, and another node finds it there.
async fn acquire(args: &LockArgs, client: &Client, session: &Session) -> Result<Held, CliError> {
    let patient = client.with_timeout(WAIT_MAX);
    let (mode, permits) = match (args.shared, args.permits) {
        (true, _) => (LockMode::Shared, 0),
        (false, Some(permits)) => (LockMode::Permit, permits),
        (false, None) => (LockMode::Exclusive, 0),
    };
    let request = AcquireRequest {
        name: args.name.clone().into_bytes().into(),
        lease: session.id,
        mode: mode.into(),
        permits,
    };
    loop {
        let answer = patient
            .call(Retry::Safe, request.clone(), |node, r| async move {
                node.locks().acquire(r).await
            })
            .await;
        match answer {
            // The order of these tokens is the order in which the lock was held.
            Ok(answer) => {
                return Ok(Held {
                    key: answer.key.to_vec(),
                    revision: answer.token,
                });
            }
            Err(error) if error.exit_code() == 3 => sleep(PAUSE).await,
            Err(error) => return Err(error),
        }
    }
}

/// The command, running.
struct Job {
    child: Child,
    pid: Option<Pid>,
    /// Whether it leads a process group of its own, so that signals reach its children too.
    group: bool,
}

impl Job {
    fn start(command: &[OsString], held: &Held) -> Result<Job, CliError> {
        // In a group of its own it could not read from the terminal; there, Ctrl-C reaches all
        // of the command's processes anyway.
        let group = !io::stdin().is_terminal();
        let mut start = std::process::Command::new(&command[0]);
        start
            .args(&command[1..])
            .env("ATOLL_LOCK_KEY", OsStr::from_bytes(&held.key))
            .env("ATOLL_LOCK_REVISION", held.revision.to_string());
        if group {
            start.process_group(0);
        }
        match Command::from(start).kill_on_drop(true).spawn() {
            Ok(child) => {
                let id = child.id().and_then(|id| i32::try_from(id).ok());
                let pid = id.and_then(Pid::from_raw);
                Ok(Job { child, pid, group })
            }
            Err(error) => {
                note(&format!(
                    "atoll: cannot run {}: {error}",
                    command[0].display()
                ));
                let found = error.kind() != io::ErrorKind::NotFound;
                Err(CliError::Exit(if found {
                    EXIT_NOT_RUNNABLE
                } else {
                    EXIT_NOT_FOUND
                }))
            }
        }
    }

    /// Sends a signal to what is still there of it.
    fn signal(&self, signal: Signal) {
        // What has ended this moment can't be told anything.
        let _ = match self.pid {
            Some(pid) if self.group => kill_process_group(pid, signal),
            // Once it was waited for, its number may be another's.
            Some(pid) if self.child.id().is_some() => kill_process(pid, signal),
            _ => Ok(()),
        };
    }

    /// Passes on what was meant for the command.
    fn pass_on(&self, signal: Signal) {
        // From the terminal, Ctrl-C has reached it already.
        if self.group || signal != Signal::INT {
            self.signal(signal);
        }
    }

    /// Asks it to end, and ends it when the time is over.
    async fn end(&mut self, kill_at: Instant) {
        self.signal(Signal::TERM);
        tokio::select! {
            biased;
            () = self.gone() => {}
            () = sleep_until(kill_at) => {
                self.signal(Signal::KILL);
                // Not to be refused; what could go wrong is that it is gone.
                let _ = self.child.wait().await;
            }
        }
    }

    /// Until it, and where it leads a group everybody in that, has ended.
    async fn gone(&mut self) {
        let _ = self.child.wait().await;
        if let Some(group) = self.pid.filter(|_| self.group) {
            while test_kill_process_group(group).is_ok() {
                sleep(GONE_CHECK).await;
            }
        }
    }
}

fn exit_byte(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(u8::MAX)
}

fn exit_as(status: ExitStatus) -> Result<(), CliError> {
    let code = match (status.code(), status.signal()) {
        (Some(0), _) => return Ok(()),
        (Some(code), _) => code,
        (None, Some(signal)) => EXIT_SIGNAL + signal,
        (None, None) => 1,
    };
    Err(CliError::Exit(exit_byte(code)))
}

/// The signals that ask us to end.
struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hangup: unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
            hangup: unix::signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hangup.recv() => Signal::HUP,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(script: &str) -> Job {
        let held = Held {
            key: b"l/1f".to_vec(),
            revision: 42,
        };
        let command = ["sh", "-c", script].map(OsString::from);
        Job::start(&command, &held).unwrap()
    }

    async fn code(script: &str) -> u8 {
        let status = job(script).child.wait().await.unwrap();
        match exit_as(status) {
            Ok(()) => 0,
            Err(error) => error.exit_code(),
        }
    }

    #[tokio::test]
    async fn the_command_knows_its_lock_and_its_exit_code_is_ours() {
        assert_eq!(
            code("test $ATOLL_LOCK_KEY = l/1f && test $ATOLL_LOCK_REVISION = 42").await,
            0
        );
        assert_eq!(code("exit 7").await, 7);
        assert_eq!(code("kill -9 $$").await, 137);
    }

    #[tokio::test]
    async fn a_command_that_does_not_listen_is_killed() {
        let mut job = job("trap '' TERM; while :; do :; done");
        job.end(Instant::now()).await;
        let status = job.child.wait().await.unwrap();
        // Killed before its trap stood, or after: it is gone either way.
        assert!(matches!(status.signal(), Some(9 | 15)), "{status:?}");
    }

    #[tokio::test]
    async fn a_command_that_listens_has_time_to_end() {
        let mut job = job("exec sleep 1000");
        job.end(Instant::now() + WAIT_MAX).await;
        assert_eq!(job.child.wait().await.unwrap().signal(), Some(15));
    }

    #[tokio::test]
    async fn what_a_command_started_goes_with_it() {
        let mut job = job("sleep 1000 & exit 0");
        if !job.group {
            return; // At a terminal, it is the terminal that reaches them.
        }
        let group = job.pid.unwrap();
        job.end(Instant::now() + WAIT_MAX).await;
        assert!(test_kill_process_group(group).is_err());
    }

    #[tokio::test]
    async fn a_command_that_is_not_there_is_told_as_shells_do() {
        let held = Held {
            key: vec![],
            revision: 1,
        };
        let error = Job::start(&["no-such-command-anywhere".into()], &held)
            .err()
            .unwrap();
        assert_eq!(error.exit_code(), EXIT_NOT_FOUND);
    }
}
