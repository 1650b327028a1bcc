//! A write has its effect once, whatever was repeated on its way; one that was refused, or whose
//! condition failed, never. Every value names its write, so each may appear once.

use std::collections::{BTreeMap, BTreeSet};

use super::timeline::Timeline;
use crate::history::{Answer, History, Op, Outcome};

pub(super) fn check(history: &History, timeline: &Timeline) -> Vec<String> {
    let mut found = Vec::new();
    let mut revisions = BTreeMap::new();
    for change in &timeline.changes {
        let Some(value) = change.value else { continue };
        if let Some(first) = revisions.insert(value, change.revision) {
            found.push(format!(
                "value {value} was written at revision {first} and again at {}",
                change.revision
            ));
        }
    }
    let mut asked = BTreeSet::new();
    for call in &history.calls {
        let (Op::Put { value, .. } | Op::Swap { value, .. }) = call.op else {
            continue;
        };
        asked.insert(value);
        let denied = match &call.outcome {
            Outcome::Refused(_) => true,
            Outcome::Done { answer, .. } => matches!(answer, Answer::Swap { swapped: false, .. }),
            Outcome::Unknown => false,
        };
        if denied && let Some(revision) = revisions.get(&value) {
            found.push(format!(
                "value {value} was denied and is at revision {revision}"
            ));
        }
    }
    let strays = revisions.keys().filter(|value| !asked.contains(value));
    found.extend(strays.map(|value| format!("nobody wrote value {value}")));
    found
}
