//! A read of the past is refused if a compaction beyond it was acknowledged before it was asked
//! for, and only if one had been asked for before it was refused.

use atoll_control::core::error::Error;

use super::timeline::Timeline;
use crate::history::{History, Op, Outcome};

pub(super) fn check(history: &History, _: &Timeline) -> Vec<String> {
    let compactions: Vec<(u64, Option<u64>, i64)> = history
        .calls
        .iter()
        .filter_map(|call| match call.op {
            Op::Compact { revision } => {
                let done = matches!(call.outcome, Outcome::Done { .. });
                let returned = call.returned.filter(|_| done);
                Some((call.invoked, returned, revision))
            }
            _ => None,
        })
        .collect();
    let mut found = Vec::new();
    for (number, call) in history.calls.iter().enumerate() {
        let Op::Past { revision } = call.op else {
            continue;
        };
        match call.outcome {
            Outcome::Done { .. } => {
                let before = compactions.iter().find(|(_, returned, compacted)| {
                    returned.is_some_and(|returned| returned < call.invoked)
                        && (1..*compacted).contains(&revision)
                });
                if let Some((_, _, compacted)) = before {
                    found.push(format!(
                        "call {number} read revision {revision}, though {compacted} had been compacted before"
                    ));
                }
            }
            Outcome::Refused(Error::Compacted) => {
                let asked = compactions.iter().any(|(invoked, _, compacted)| {
                    Some(*invoked) < call.returned && revision < *compacted
                });
                if !asked {
                    found.push(format!(
                        "call {number} was told that revision {revision} is compacted, which nobody asked for"
                    ));
                }
            }
            _ => {}
        }
    }
    found
}
