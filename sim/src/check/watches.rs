//! A watcher from the first revision on, resumed wherever its node came back, is told of every
//! revision once and in order; and all watchers of the same.

use super::timeline::Timeline;
use crate::history::History;

/// The first revision that a write can have; an empty keyspace is at the one before.
const FIRST_REVISION: i64 = 2;

pub(super) fn check(history: &History, timeline: &Timeline) -> Vec<String> {
    let mut found = Vec::new();
    for (node, changes) in &history.watched {
        for (expected, change) in (FIRST_REVISION..).zip(changes) {
            if change.revision != expected {
                found.push(format!(
                    "the watcher of node {node} was told of revision {} where {expected} was to come",
                    change.revision
                ));
                break;
            }
        }
        let differ = changes
            .iter()
            .zip(&timeline.changes)
            .find(|(here, there)| here != there);
        if let Some((here, there)) = differ {
            found.push(format!(
                "the watcher of node {node} was told {here:?}, another {there:?}"
            ));
        }
        if changes.len() < timeline.changes.len() {
            found.push(format!(
                "the watcher of node {node} was told of {} changes, another of {}",
                changes.len(),
                timeline.changes.len()
            ));
        }
    }
    found
}
