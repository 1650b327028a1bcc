//! The end of a workload: as its shim took note of it, or found by the node in its place.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{
    Exited, Lost, Pauses, State, VERSION, WorkloadError,
    members::Members,
    now_ms,
    proc::{self, Identity},
    spec::Spec,
    state::{self, ExitFile, ShimFile, StateFile},
};

/// Waiting for another who only looks at the lock, or for the kernel to let go of a shim.
pub(super) const LOCK_WAIT: Duration = Duration::from_millis(200);
/// Waiting for the kernel to end what was killed, where no shim does it.
const SETTLE_WAIT: Duration = Duration::from_secs(5);
/// The exit code of what was killed (SIGKILL), as shells have it.
pub(super) const CODE_KILLED: i32 = 137;
/// As much of what a shim printed is told.
const SHIM_MESSAGE_BYTES_MAX: usize = 1000;

/// How a workload ended, if it has.
pub(super) fn ended(dir: &Path) -> Option<State> {
    let exit: ExitFile = state::read(dir, state::EXIT)?;
    if let Some(file) = state::read::<ShimFile>(dir, state::SHIM) {
        file.shim.reap();
    }
    Some(if exit.lost {
        State::Lost(Lost {
            started_ms: exit.started_ms,
            found_ms: exit.finished_ms,
            is_gone: true,
            message: exit.message,
        })
    } else {
        State::Exited(Exited {
            code: exit.code,
            signal: exit.signal,
            oom_killed: exit.oom_killed,
            started_ms: exit.started_ms,
            finished_ms: exit.finished_ms,
            message: exit.message,
            log_dropped_bytes: exit.log_dropped_bytes,
        })
    })
}

/// Ends what is left of a workload whose shim is gone, and takes note of it in its place.
pub(super) fn settle(dir: &Path) -> Result<State, WorkloadError> {
    let state: Option<StateFile> = state::read(dir, state::STATE);
    let mut lost = Lost {
        started_ms: state.map(|state| state.started_ms),
        found_ms: now_ms(),
        is_gone: false,
        message: lost_message(dir),
    };
    let Some(_lock) = state::lock(dir)? else {
        return Ok(ended(dir).unwrap_or(State::Lost(lost)));
    };
    if let Some(state) = ended(dir) {
        return Ok(state);
    }
    reap_shim(dir);
    lost.is_gone = end_all(&members(dir));
    if lost.is_gone {
        let exit = ExitFile {
            version: VERSION,
            code: CODE_KILLED,
            started_ms: lost.started_ms,
            finished_ms: lost.found_ms,
            message: lost.message.clone(),
            lost: true,
            ..ExitFile::default()
        };
        // If that fails now, the next look comes to the same result.
        let _ = state::write(dir, state::EXIT, &exit);
    }
    Ok(State::Lost(lost))
}

fn end_all(members: &Members) -> bool {
    let deadline = Instant::now() + SETTLE_WAIT;
    let mut pauses = Pauses::new();
    let mut seen: Vec<Identity> = members.main.into_iter().collect();
    loop {
        let left = members.list();
        seen.extend(left.iter());
        if left.is_empty() || Instant::now() > deadline {
            // Where we are the system's first process, orphans are our children.
            for member in seen {
                member.reap();
            }
            return left.is_empty();
        }
        members.kill();
        pauses.pause();
    }
}

pub(super) fn reap_shim(dir: &Path) {
    let Some(ShimFile { shim, .. }) = state::read(dir, state::SHIM) else {
        return;
    };
    let deadline = Instant::now() + LOCK_WAIT;
    let mut pauses = Pauses::new();
    while !shim.reap() && Instant::now() < deadline {
        pauses.pause();
    }
}

/// Who belongs to the workload of a directory, from its files.
pub(super) fn members(dir: &Path) -> Members {
    let spec: Option<Spec> = state::read(dir, state::SPEC);
    let shim: Option<ShimFile> = state::read(dir, state::SHIM);
    let state: Option<StateFile> = state::read(dir, state::STATE);
    // Numbers from before the machine was restarted say nothing.
    let is_of_now = is_of_this_boot(shim.as_ref());
    Members {
        group: spec.map(|spec| spec.cgroup_of()).unwrap_or_default(),
        main: state.map(|state| state.main).filter(|_| is_of_now),
        mark: shim
            .as_ref()
            .and_then(|file| file.mark)
            .filter(|_| is_of_now),
        shim: shim.map(|file| file.shim).filter(|_| is_of_now),
    }
}

fn is_of_this_boot(shim: Option<&ShimFile>) -> bool {
    shim.is_none_or(|file| file.boot_id == proc::boot_id())
}

fn lost_message(dir: &Path) -> String {
    if is_of_this_boot(state::read(dir, state::SHIM).as_ref()) {
        format!(
            "the shim is gone, and the program with it: {}",
            shim_message(dir)
        )
    } else {
        "the machine was restarted".to_owned()
    }
}

/// The beginning of what the shim printed.
pub(super) fn shim_message(dir: &Path) -> String {
    let printed = state::read_bytes(dir, state::SHIM_ERRORS).unwrap_or_default();
    let printed = &printed[..printed.len().min(SHIM_MESSAGE_BYTES_MAX)];
    let message = String::from_utf8_lossy(printed).trim().to_owned();
    if message.is_empty() {
        "it ended without a word".to_owned()
    } else {
        message
    }
}
