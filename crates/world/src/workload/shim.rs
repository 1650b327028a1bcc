//! The shim: the small process between a node and a workload's program.
//!
//! It is the node's own binary, started anew, in a session of its own, so that a node that dies
//! takes nothing along and the next one finds everything in the workload's directory. Its
//! standard input is the workload's lock. It starts the program, moves what it prints into the
//! log, takes note of the end of all its descendants, ends what the program leaves behind, and
//! writes down how it ended: after `exit.json` is there, no process of the workload is. When its
//! node's lease ends, it ends them all.

use std::{
    fs, os::unix::fs::MetadataExt, path::Path, process::ExitCode, sync::Arc, time::Duration,
};

use rustix::{
    fs::FlockOperation,
    io::Errno,
    process::{Pid, WaitOptions, WaitStatus},
};

use super::{
    Pauses, WorkloadError,
    cgroup::Group,
    guard::{Guard, LEASE_ENDED},
    launch::{self, CODE_NOT_RUN, Launched, Refusal},
    lease::Watch,
    limits,
    log::{Pump, Writer},
    members::Members,
    now_ms, now_ns,
    proc::{self, Identity},
    settle::CODE_KILLED,
    spec::Spec,
    state::{self, Enforced, ExitFile, Force, ShimFile, StateFile},
};

/// Where the disk refuses to take note of the end, it is asked so often, a second apart. Then
/// the shim gives up; what runs is dead by then, and the node will see that the shim is lost.
const EXIT_WRITE_TRIES: u32 = 30;
/// The program rather than its shim is to be ended when memory runs out (as containerd has it).
const OOM_SCORE_ADJ: &str = "-998";

/// Runs a workload's shim for the directory of the workload. To be called before this process
/// has a second thread; started by [`start`](super::start) only, with the lock as its input.
pub fn shim_main(dir: &Path) -> ExitCode {
    match run(dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The node reads it where the shim ends without a word in its files.
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(dir: &Path) -> Result<(), WorkloadError> {
    let dir = &fs::canonicalize(dir).map_err(|source| WorkloadError::file("find", dir, source))?;
    close_inherited();
    hold_lock(dir)?;
    detach()?;
    let shim = Identity::of(std::process::id())
        .ok_or_else(|| WorkloadError::Shim("/proc can't be read".to_owned()))?;
    let mark = limits::mark(now_ns() ^ u64::from(shim.pid) << 32);
    let file = ShimFile {
        version: super::VERSION,
        shim,
        boot_id: proc::boot_id(),
        mark: Some(mark),
    };
    state::write(dir, state::SHIM, &file)?;
    let exit = match prepare(dir, mark) {
        Ok(started) => attend(dir, started, shim, mark),
        Err(refusal) => ExitFile {
            code: refusal.code,
            message: refusal.message,
            ..ExitFile::default()
        },
    };
    write_exit(dir, exit)
}

/// A program that was started.
struct Started {
    launched: Launched,
    group: Group,
    oom_kills: u64,
    enforced: Enforced,
    writer: Writer,
    lease: Option<Watch>,
}

fn prepare(dir: &Path, mark: u64) -> Result<Started, Refusal> {
    let refuse = |message: String| Refusal::new(CODE_NOT_RUN, message);
    let spec = state::read_bytes(dir, state::SPEC).map_err(|error| error.to_string());
    let spec: Spec = spec
        .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()))
        .map_err(|error| refuse(format!("{} can't be read: {error}", state::SPEC)))?;
    spec.check().map_err(refuse)?;
    let writer = Writer::open(spec.log_path(dir), spec.log_bytes_max, spec.log_files_max)
        .map_err(|error| refuse(format!("the log can't be opened: {error}")))?;
    let mut enforced = Enforced {
        cgroup: "none".to_owned(),
        ..Enforced::default()
    };
    let group = match &spec.cgroup {
        Some(cgroup) => Group::create(cgroup, &mut enforced),
        None => Group::default(),
    };
    let oom_kills = group.oom_kills();
    let mut lease = spec.lease.clone().map(Watch::new);
    if lease.as_mut().is_some_and(|lease| lease.look().is_none()) {
        return Err(Refusal::new(CODE_KILLED, LEASE_ENDED));
    }
    let launched = launch::launch(&spec, &group, mark, &mut enforced)?;
    Ok(Started {
        launched,
        group,
        oom_kills,
        enforced,
        writer,
        lease,
    })
}

/// Stays with the program until it and all that it left behind has ended.
fn attend(dir: &Path, started: Started, shim: Identity, mark: u64) -> ExitFile {
    let Started {
        launched,
        group,
        oom_kills,
        enforced,
        writer,
        lease,
    } = started;
    let has_memory_limit = enforced.memory == Force::Full;
    let state = StateFile {
        version: super::VERSION,
        main: launched.main,
        started_ms: now_ms(),
        enforced,
    };
    let started_ms = Some(state.started_ms);
    let members = Arc::new(Members {
        group,
        shim: Some(shim),
        main: Some(launched.main),
        mark: Some(mark),
    });
    // Before all that a slow disk may hold up.
    let guard = lease.map(|lease| Guard::start(lease, members.clone()));
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ);
    let attended = || -> Result<_, String> {
        let guard = guard.transpose();
        let guard = guard.map_err(|error| format!("the lease can't be watched: {error}"))?;
        let pump = Pump::start(launched.stdout, launched.stderr, writer)
            .map_err(|error| format!("the log can't be written: {error}"))?;
        state::write(dir, state::STATE, &state).map_err(|error| error.to_string())?;
        Ok((guard, pump))
    };
    let (guard, pump) = match attended() {
        Ok(attended) => attended,
        Err(message) => {
            // Without its state, the node could neither find nor stop it.
            end_all(&members);
            return ExitFile {
                code: CODE_NOT_RUN,
                started_ms,
                message,
                ..ExitFile::default()
            };
        }
    };
    let status = wait_for(launched.main);
    let finished_ms = now_ms();
    let lease_ended = guard.is_some_and(|guard| guard.lease_ended());
    end_all(&members);
    let (code, signal, message) = if lease_ended {
        (CODE_KILLED, Some(libc::SIGKILL), LEASE_ENDED.to_owned())
    } else {
        let (code, signal) = how_it_ended(status);
        (code, signal, String::new())
    };
    let has_run_out = has_memory_limit && code != 0 && !lease_ended;
    let oom_killed = has_run_out && members.group.oom_kills() > oom_kills;
    let writer = pump.stop();
    ExitFile {
        code,
        signal,
        oom_killed,
        started_ms,
        finished_ms,
        message,
        log_dropped_bytes: writer.map_or(0, |writer| writer.dropped_bytes()),
        ..ExitFile::default()
    }
}

/// As a shell says it: a signal counts from 128 on.
fn how_it_ended(status: Option<WaitStatus>) -> (i32, Option<i32>) {
    let signal = status.and_then(WaitStatus::terminating_signal);
    let code = status.and_then(WaitStatus::exit_status);
    match (code, signal) {
        (_, Some(signal)) => (128 + signal, Some(signal)),
        (Some(code), None) => (code, None),
        (None, None) => (255, None),
    }
}

/// Waits for the end of the program, and takes note of that of its orphans meanwhile.
fn wait_for(main: Identity) -> Option<WaitStatus> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if is(pid, main) => return Some(status),
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

fn is(pid: Pid, identity: Identity) -> bool {
    u32::try_from(pid.as_raw_nonzero().get()) == Ok(identity.pid)
}

/// Ends what is left, however long that takes: a process that hangs in the kernel still belongs
/// to the workload, which is not over before it.
fn end_all(members: &Members) {
    let mut pauses = Pauses::new();
    loop {
        let no_child = reap_all();
        // Orphans become our children, so without one there can be no descendant.
        let found_in_group = members.group.is_joined() && members.group.pids().is_empty();
        if no_child && (found_in_group || members.list().is_empty()) {
            return;
        }
        members.kill();
        pauses.pause();
    }
}

/// `true` if there is no child any more.
fn reap_all() -> bool {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

fn write_exit(dir: &Path, mut exit: ExitFile) -> Result<(), WorkloadError> {
    exit.version = super::VERSION;
    if exit.finished_ms == 0 {
        exit.finished_ms = now_ms();
    }
    let mut tries = 1;
    loop {
        match state::write(dir, state::EXIT, &exit) {
            Err(_) if tries < EXIT_WRITE_TRIES => {
                tries += 1;
                std::thread::sleep(Duration::from_secs(1));
            }
            written => return written,
        }
    }
}

/// Whatever the node had open beside the three that are given: its sockets would stay open for
/// as long as the program runs.
fn close_inherited() {
    let entries = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let open: Vec<i32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        #[allow(unsafe_code, reason = "there is no handle to what was inherited")]
        // SAFETY: this process has opened nothing yet, so no part of it relies on any of these.
        // (One was that of the listing itself, and is closed already.)
        unsafe {
            libc::close(fd);
        }
    }
}

/// The lock was taken by who started us, and is ours as long as our input is open.
fn hold_lock(dir: &Path) -> Result<(), WorkloadError> {
    let refuse = || {
        let message = "a shim is started by its node only, with the workload's lock as its input";
        WorkloadError::Shim(message.to_owned())
    };
    let input = std::io::stdin();
    let given = rustix::fs::fstat(&input).map_err(|_| refuse())?;
    let lock = fs::metadata(dir.join(state::LOCK)).map_err(|_| refuse())?;
    if (given.st_dev, given.st_ino) != (lock.dev(), lock.ino()) {
        return Err(refuse());
    }
    rustix::fs::flock(&input, FlockOperation::NonBlockingLockExclusive).map_err(|_| refuse())
}

/// Leaves the node's session, its directory, and the reach of signals meant for it.
fn detach() -> Result<(), WorkloadError> {
    // It fails where we lead a session already.
    let _ = rustix::process::setsid();
    let _ = rustix::process::chdir("/");
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        #[allow(unsafe_code, reason = "there is no safe call for it without a runtime")]
        // SAFETY: the handler does nothing at all. As it is a handler, and the signal not
        // ignored, it does not pass on to the program through exec.
        unsafe {
            libc::signal(
                signal,
                pass as extern "C" fn(libc::c_int) as libc::sighandler_t,
            );
        }
    }
    rustix::process::set_child_subreaper(Pid::from_raw(1))
        .map_err(|errno| WorkloadError::Shim(format!("it can't be a subreaper: {errno}")))
}

/// When the machine is shut down, all processes are asked to end. The program decides for
/// itself; we have to see it.
extern "C" fn pass(_signal: libc::c_int) {}
