//! What was acknowledged is there, at the revision that the acknowledgement named.

use super::timeline::Timeline;
use crate::history::{Answer, History, Op, Outcome};

pub(super) fn check(history: &History, timeline: &Timeline) -> Vec<String> {
    let mut found = Vec::new();
    for (number, call) in history.calls.iter().enumerate() {
        let Outcome::Done { revision, answer } = &call.outcome else {
            continue;
        };
        let written = match (&call.op, answer) {
            (Op::Put { key, value }, _)
            | (Op::Swap { key, value, .. }, Answer::Swap { swapped: true, .. }) => {
                (*key, Some(*value))
            }
            (Op::Delete { key }, Answer::Deleted { before: Some(_) }) => (*key, None),
            _ => continue,
        };
        let there = timeline
            .change(*revision)
            .map(|change| (change.key, change.value));
        if there != Some(written) {
            found.push(format!(
                "call {number} ({:?} through node {}, {} to {} ms) was acknowledged at revision {revision}, where there is {there:?}",
                call.op, call.node, call.invoked_ms, call.returned_ms
            ));
        }
    }
    found
}
