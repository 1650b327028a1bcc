//! What a node does with workloads: start them, look at them, end them, remove them.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{
    KILL_WAIT, Launcher, Pauses, Running, START_WAIT, State, WorkloadError,
    proc::Identity,
    settle::{self, LOCK_WAIT},
    spec::Spec,
    state::{self, StateFile},
};

/// A shim whose program is gone has so long to take note of it before it counts as stuck.
const SHIM_WAIT: Duration = Duration::from_secs(2);

/// Starts the workload of a directory, which is made if need be, and waits until it runs or has
/// ended, [`START_WAIT`] at most: then it is still `Starting`.
///
/// # Errors
/// `Spec`; `Started`; `Spawn`, `Shim` and `File`, after which it is not started.
pub fn start(launcher: &Launcher, dir: &Path, spec: &Spec) -> Result<State, WorkloadError> {
    spec.check().map_err(WorkloadError::Spec)?;
    let made = fs::create_dir_all(dir).and_then(|()| fs::canonicalize(dir));
    let dir = &made.map_err(|source| WorkloadError::file("make", dir, source))?;
    let lock = lock_patiently(dir)?.ok_or_else(|| WorkloadError::Started(dir.clone()))?;
    if was_started(dir) || dir.join(state::EXIT).exists() {
        return Err(WorkloadError::Started(dir.clone()));
    }
    state::write(dir, state::SPEC, spec)?;
    spawn_shim(launcher, dir, lock)?;
    let deadline = Instant::now() + START_WAIT;
    let mut pauses = Pauses::new();
    loop {
        match look(dir)? {
            State::Starting if Instant::now() < deadline => pauses.pause(),
            // The lock passed to the shim as it was started, so if it is free, the shim is gone.
            State::NotStarted => return Err(WorkloadError::Shim(settle::shim_message(dir))),
            state => return Ok(state),
        }
    }
}

pub(super) fn spawn_shim(launcher: &Launcher, dir: &Path, lock: File) -> Result<(), WorkloadError> {
    let path = dir.join(state::SHIM_ERRORS);
    let errors =
        File::create(&path).map_err(|source| WorkloadError::file("create", &path, source))?;
    let spawned = Command::new(&launcher.program)
        .args(&launcher.arguments)
        .arg(dir)
        .env_clear()
        .current_dir("/")
        .stdin(lock)
        .stdout(Stdio::null())
        .stderr(errors)
        .spawn();
    // Its end is taken note of by `look` and `remove`, in whichever process is its parent then.
    spawned.map(drop).map_err(|source| WorkloadError::Spawn {
        program: launcher.program.clone(),
        source,
    })
}

/// How the workload of a directory stands. If it is lost, what is left of it is killed.
///
/// # Errors
/// `File`: nothing is known then.
pub fn look(dir: &Path) -> Result<State, WorkloadError> {
    if let Some(state) = settle::ended(dir) {
        return Ok(state);
    }
    if state::is_locked(dir)? {
        return Ok(match state::read::<StateFile>(dir, state::STATE) {
            Some(state) => State::Running(Running {
                pid: state.main.pid,
                started_ms: state.started_ms,
                enforced: state.enforced,
            }),
            None => State::Starting,
        });
    }
    // It may have ended since the first look.
    match settle::ended(dir) {
        Some(state) => Ok(state),
        None if was_started(dir) => settle::settle(dir),
        None => Ok(State::NotStarted),
    }
}

/// Sends a signal to the program and its process group; `false` if it does not run.
///
/// # Errors
/// `Signal`, `Send`; `File`.
pub fn signal(dir: &Path, signal: i32) -> Result<bool, WorkloadError> {
    let named = Signal::from_named_raw(signal).ok_or(WorkloadError::Signal(signal))?;
    // What a file says of processes counts only while the shim lives.
    if !state::is_locked(dir)? {
        return Ok(false);
    }
    let Some(StateFile { main, .. }) = state::read(dir, state::STATE) else {
        return Ok(false);
    };
    main.send_to_group(named)
        .map_err(|errno| WorkloadError::Send {
            pid: main.pid,
            source: errno.into(),
        })
}

/// Ends all processes of the workload at once and waits until none is left, [`KILL_WAIT`] at
/// most. It does not need the shim, and ends it too if it is stuck.
///
/// # Errors
/// `StillThere`; `File`.
pub fn kill(dir: &Path) -> Result<(), WorkloadError> {
    let begun = Instant::now();
    let mut pauses = Pauses::new();
    loop {
        if !state::is_locked(dir)? {
            match look(dir)? {
                State::NotStarted | State::Exited(_) => return Ok(()),
                State::Lost(lost) if lost.is_gone => return Ok(()),
                _ => {}
            }
        }
        let members = settle::members(dir);
        let runs = state::read::<StateFile>(dir, state::STATE).is_some();
        members.kill();
        let left = members.list();
        let shim_is_stuck = left.is_empty() && begun.elapsed() > SHIM_WAIT;
        // One that has not started the program yet might do it after this.
        if !runs || shim_is_stuck {
            let _ = members.shim.map(|shim| shim.send(Signal::KILL));
        }
        if begun.elapsed() > KILL_WAIT {
            return Err(still_there(dir, &left));
        }
        pauses.pause();
    }
}

/// Removes the directory of a workload that does not run, with its control group.
///
/// # Errors
/// `Running`; `StillThere`; `File`.
pub fn remove(dir: &Path) -> Result<(), WorkloadError> {
    if !dir.exists() {
        return Ok(());
    }
    match look(dir)? {
        State::Running(_) | State::Starting => return Err(WorkloadError::Running(dir.into())),
        State::Lost(lost) if !lost.is_gone => return Err(still_there(dir, &[])),
        _ => {}
    }
    // Nobody starts it meanwhile.
    let lock = lock_patiently(dir)?;
    let _lock = lock.ok_or_else(|| WorkloadError::Running(dir.into()))?;
    settle::reap_shim(dir);
    let removed = match state::read::<Spec>(dir, state::SPEC) {
        Some(spec) => spec.cgroup_of().remove(),
        None => Ok(()),
    };
    removed
        .and_then(|()| fs::remove_dir_all(dir))
        .map_err(|source| WorkloadError::file("remove", dir, source))
}

/// The folders of the image that a workload was started with; none for a program of the machine,
/// or if it has not been started.
///
/// # Errors
/// `File`: it can't be told.
pub fn layers(dir: &Path) -> Result<Vec<PathBuf>, WorkloadError> {
    let failed = |source| WorkloadError::file("read the spec in", dir, source);
    let bytes = match state::read_bytes(dir, state::SPEC) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let spec: Spec = serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?;
    Ok(spec.sandbox.map_or_else(Vec::new, |sandbox| sandbox.layers))
}

fn lock_patiently(dir: &Path) -> Result<Option<File>, WorkloadError> {
    let deadline = Instant::now() + LOCK_WAIT;
    let mut pauses = Pauses::new();
    loop {
        match state::lock(dir)? {
            None if Instant::now() < deadline => pauses.pause(),
            lock => return Ok(lock),
        }
    }
}

/// A shim was here. (What can't be read was there too.)
fn was_started(dir: &Path) -> bool {
    dir.join(state::SHIM).exists() || dir.join(state::STATE).exists()
}

fn still_there(dir: &Path, left: &[Identity]) -> WorkloadError {
    WorkloadError::StillThere {
        dir: dir.to_path_buf(),
        pids: left.iter().map(|member| member.pid).collect(),
    }
}
