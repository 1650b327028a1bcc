//! How attempts ended, from what their shims have written.

use std::{collections::BTreeSet, path::PathBuf};

use atoll_world::{
    tree,
    workload::{self, State},
};

use super::places::Places;
use crate::core::agent::{AttemptId, Exit, Found, MESSAGE_BYTES_MAX};

/// Where a program leaves its last words, in the folder where it starts.
pub(super) const LAST_WORDS: &str = "termination-log";
/// Ended by whoever looks after the machine.
const CODE_LOST: i32 = 137;

/// How an attempt ended; none if it has not.
pub(super) fn exit(places: &Places, id: &AttemptId) -> Option<Exit> {
    let state = workload::look(&places.attempt(id));
    let exit = match state {
        Ok(State::Exited(exited)) => Exit {
            code: exited.code,
            signal: exited.signal.and_then(|signal| u8::try_from(signal).ok()),
            is_oom: exited.oom_killed,
            is_fenced: exited.message == workload::LEASE_ENDED,
            message: match exited.message.is_empty() {
                true => last_words(places, id),
                false => exited.message,
            },
            started_ms: exited.started_ms.unwrap_or(exited.finished_ms),
            finished_ms: exited.finished_ms,
        },
        Ok(State::Lost(lost)) if lost.is_gone => Exit {
            code: CODE_LOST,
            signal: None,
            is_oom: false,
            is_fenced: false,
            message: lost.message,
            started_ms: lost.started_ms.unwrap_or(lost.found_ms),
            finished_ms: lost.found_ms,
        },
        Ok(_) => return None,
        Err(error) => {
            tracing::debug!(%id, %error, "a container can't be looked at");
            return None;
        }
    };
    Some(exit)
}

fn last_words(places: &Places, id: &AttemptId) -> String {
    let path = places.work(&id.uid, &id.container).join(LAST_WORDS);
    let bytes_max = u64::try_from(MESSAGE_BYTES_MAX).unwrap_or(u64::MAX);
    match tree::lies(&path) {
        tree::Lies::File => {
            let read = tree::read_file(&path, bytes_max).ok().flatten();
            String::from_utf8_lossy(&read.unwrap_or_default()).into_owned()
        }
        _ => String::new(),
    }
}

/// The folders of images that attempts were started with.
///
/// # Errors
/// Why it can't be told.
pub(super) fn used_images(places: &Places) -> Result<BTreeSet<Vec<PathBuf>>, String> {
    let mut used = BTreeSet::new();
    for id in places.attempts() {
        let layers = workload::layers(&places.attempt(&id)).map_err(|error| error.to_string())?;
        if !layers.is_empty() {
            used.insert(layers);
        }
    }
    Ok(used)
}

/// What is there from before.
pub(super) fn found(places: &Places) -> Vec<Found> {
    let attempts = places.attempts().into_iter();
    attempts.filter_map(|id| found_one(places, id)).collect()
}

fn found_one(places: &Places, id: AttemptId) -> Option<Found> {
    let dir = places.attempt(&id);
    let state = match workload::look(&dir) {
        Ok(State::Running(running)) => Ok(running.started_ms),
        Ok(State::Starting) => {
            // Nobody waits for it any more.
            if let Err(error) = workload::kill(&dir) {
                tracing::warn!(%id, %error, "a container has not ended yet");
            }
            Err(exit(places, &id)?)
        }
        Ok(State::NotStarted) => return None,
        _ => Err(exit(places, &id)?),
    };
    Some(Found { id, state })
}
