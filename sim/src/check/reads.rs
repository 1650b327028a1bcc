//! An answer holds what the revision in its header held, all keys of it: reads of old states
//! too, and what writes tell of before.

use super::timeline::Timeline;
use crate::history::{Answer, Found, History, Op, Outcome};

pub(super) fn check(history: &History, timeline: &Timeline) -> Vec<String> {
    let mut found = Vec::new();
    for (number, call) in history.calls.iter().enumerate() {
        let Outcome::Done { revision, answer } = &call.outcome else {
            continue;
        };
        let call_revision = *revision;
        let one = |key, revision| timeline.at(key, revision).into_iter().collect();
        let (told, was): (Vec<Found>, Vec<Found>) = match (&call.op, answer) {
            (Op::Get { key, .. }, Answer::Read(told)) => (told.clone(), one(*key, *revision)),
            (Op::List { .. }, Answer::Read(told)) => (told.clone(), timeline.all(*revision)),
            (Op::Past { revision }, Answer::Read(told)) => {
                // Zero and less ask for the present.
                let at = if *revision > 0 {
                    *revision
                } else {
                    call_revision
                };
                (told.clone(), timeline.all(at))
            }
            (Op::Compact { .. }, Answer::Compacted) => continue,
            (Op::Put { key, .. }, Answer::Put { before })
            | (
                Op::Delete { key },
                Answer::Deleted {
                    before: before @ Some(_),
                },
            ) => (before.iter().copied().collect(), one(*key, revision - 1)),
            (Op::Delete { key }, Answer::Deleted { before: None }) => {
                (Vec::new(), one(*key, *revision))
            }
            (Op::Swap { key, expect, .. }, Answer::Swap { swapped: true, .. }) => {
                let was: Vec<Found> = one(*key, revision - 1);
                if was.first().map(|found| found.value) == *expect {
                    continue;
                }
                (Vec::new(), was)
            }
            (Op::Swap { key, .. }, Answer::Swap { current, .. }) => {
                (current.iter().copied().collect(), one(*key, *revision))
            }
            _ => {
                found.push(format!("call {number} ({:?}) got {answer:?}", call.op));
                continue;
            }
        };
        if told != was {
            found.push(format!(
                "call {number} ({:?} through node {}) at revision {revision} told {told:?} where there was {was:?}",
                call.op, call.node
            ));
        }
    }
    found
}
