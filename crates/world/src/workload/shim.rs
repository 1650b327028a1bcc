//! The shim: the small process between a node and a workload's program.
//!
//! It is the node's own binary, started anew, in a session of its own, so that a node that dies
//! takes nothing along and the next one finds everything in the workload's directory. Its
//! standard input is the workload's lock. It starts the program, moves what it prints into the
//! log, takes note of the end of all its descendants, ends what the program leaves behind, and
//! writes down how it ended: after `exit.json` is there, no process of the workload is. When its
//! node's lease ends, it ends them all. Meanwhile it [serves](service) whoever wants to run
//! something beside the program, or to see and write what goes through its streams.
//!
//! The first thread starts programs and takes note of their ends; `log` moves what is printed;
//! `lease`, if there is one, ends everything in time. None waits for another that may hang.

mod audience;
mod birth;
mod execs;
mod input;
mod service;

use std::{fs, os::fd::OwnedFd, path::Path, process::ExitCode, sync::Arc, time::Duration};

use rustix::{
    fs::Mode,
    io::Errno,
    process::{Pid, WaitOptions, WaitStatus},
};

pub use self::{audience::ATTACHERS_MAX, execs::EXECS_MAX};
use self::{
    birth::Wake,
    input::Input,
    service::{Place, Service},
};
use super::{
    Pauses, WorkloadError,
    cgroup::Group,
    guard::{Guard, LEASE_ENDED},
    launch::{self, CODE_NOT_RUN, Refusal, Streams, Surroundings},
    lease::Watch,
    limits,
    log::{Pump, Stream, Writer},
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
    birth::close_inherited();
    birth::hold_lock(dir)?;
    birth::detach()?;
    let shim = Identity::of(std::process::id())
        .ok_or_else(|| WorkloadError::Shim("/proc can't be read".to_owned()))?;
    let mark = limits::mark(now_ns() ^ u64::from(shim.pid) << 32);
    let place = Place::new(dir);
    let file = ShimFile {
        version: super::VERSION,
        shim,
        boot_id: proc::boot_id(),
        mark: Some(mark),
        key: Some(place.key().to_owned()),
    };
    state::write(dir, state::SHIM, &file)?;
    let exit = match prepare(dir, mark, place) {
        Ok(started) => attend(dir, started, shim),
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
    main: Identity,
    around: Surroundings,
    oom_kills: u64,
    enforced: Enforced,
    writer: Writer,
    outputs: Vec<(Stream, OwnedFd)>,
    lease: Option<Watch>,
    wake: Wake,
    service: Service,
}

fn prepare(dir: &Path, mark: u64, place: Place) -> Result<Started, Refusal> {
    let refuse = |message: String| Refusal::new(CODE_NOT_RUN, message);
    let spec = Spec::read(dir).map_err(refuse)?;
    if spec.sandbox.is_some() {
        // What a sandbox is made of is for all users in it, whatever the node's mask is.
        rustix::process::umask(Mode::from_raw_mode(0o022));
    }
    let writer = Writer::open(spec.log_path(dir), spec.log_bytes_max, spec.log_files_max)
        .map_err(|error| refuse(format!("the log can't be opened: {error}")))?;
    let mut enforced = Enforced {
        cgroup: "none".to_owned(),
        pids: Force::None,
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
    let around = Surroundings {
        processes: match enforced.pids {
            Force::Full => None,
            _ => limits::of_processes(spec.pids_max(), user(&spec)),
        },
        group,
        mark,
        inside: None,
    };
    let wake = Wake::new().map_err(|error| refuse(format!("no signal can be had: {error}")))?;
    let listener = place.listen(&mut enforced);
    let (streams, ends) = Streams::of(&spec)
        .map_err(|error| refuse(format!("the program can't be given streams: {error}")))?;
    let launched = launch::launch(&spec, &around, streams, &mut enforced)?;
    let around = Surroundings {
        inside: launched.inside.map(Arc::new),
        ..around
    };
    let input = Input::new(ends.input, &spec);
    let service = Service::new(place, listener, around.clone(), enforced.clone(), input);
    Ok(Started {
        main: launched.main,
        around,
        oom_kills,
        enforced,
        writer,
        outputs: ends.outputs,
        lease,
        wake,
        service,
    })
}

fn user(spec: &Spec) -> u32 {
    let own = || rustix::process::geteuid().as_raw();
    spec.user.unwrap_or_else(own)
}

/// Stays with the program until it and all that it left behind has ended.
fn attend(dir: &Path, started: Started, shim: Identity) -> ExitFile {
    let Started {
        main,
        around,
        oom_kills,
        enforced,
        writer,
        outputs,
        lease,
        mut wake,
        mut service,
    } = started;
    let has_memory_limit = enforced.memory == Force::Full;
    let state = StateFile {
        version: super::VERSION,
        main,
        started_ms: now_ms(),
        enforced,
    };
    let started_ms = Some(state.started_ms);
    let members = Arc::new(Members {
        group: around.group,
        shim: Some(shim),
        main: Some(main),
        mark: Some(around.mark),
    });
    // Before all that a slow disk may hold up.
    let guard = lease.map(|lease| Guard::start(lease, members.clone()));
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ);
    let attended = || -> Result<_, String> {
        let guard = guard.transpose();
        let guard = guard.map_err(|error| format!("the lease can't be watched: {error}"))?;
        let pump = Pump::start(outputs, service.attachers(), writer)
            .map_err(|error| format!("the log can't be written: {error}"))?;
        state::write(dir, state::STATE, &state).map_err(|error| error.to_string())?;
        Ok((guard, pump))
    };
    let (guard, pump) = match attended() {
        Ok(attended) => attended,
        Err(message) => {
            // Without its state, the node could neither find nor stop it.
            end_all(&members, &mut service);
            return ExitFile {
                code: CODE_NOT_RUN,
                started_ms,
                message,
                ..ExitFile::default()
            };
        }
    };
    let status = wait_for(main, &mut wake, &mut service);
    let finished_ms = now_ms();
    let lease_ended = guard.is_some_and(|guard| guard.lease_ended());
    end_all(&members, &mut service);
    let (code, signal, message) = if lease_ended {
        (CODE_KILLED, Some(libc::SIGKILL), LEASE_ENDED.to_owned())
    } else {
        let (code, signal) = how_it_ended(status);
        (code, signal, String::new())
    };
    let has_run_out = has_memory_limit && code != 0 && !lease_ended;
    let oom_killed = has_run_out && members.group.oom_kills() > oom_kills;
    let writer = pump.stop();
    service.end(code, signal);
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

/// Waits for the end of the program, takes note of that of its orphans meanwhile, and serves.
fn wait_for(main: Identity, wake: &mut Wake, service: &mut Service) -> Option<WaitStatus> {
    loop {
        wake.clear();
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if is(pid, main) => return Some(status),
                Ok(Some((pid, status))) => service.ended(pid, how_it_ended(Some(status))),
                Ok(None) => break,
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
        service.wait(wake.pipe());
    }
}

fn is(pid: Pid, identity: Identity) -> bool {
    u32::try_from(pid.as_raw_nonzero().get()) == Ok(identity.pid)
}

/// Ends what is left, however long that takes: a process that hangs in the kernel still belongs
/// to the workload, which is not over before it.
fn end_all(members: &Members, service: &mut Service) {
    let mut pauses = Pauses::new();
    loop {
        let no_child = reap_all(service);
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
fn reap_all(service: &mut Service) -> bool {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => service.ended(pid, how_it_ended(Some(status))),
            Err(Errno::INTR) => {}
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
