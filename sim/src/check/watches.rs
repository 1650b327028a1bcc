//! A watcher from the first revision on, resumed wherever its node came back, is told of every
//! revision once and in order; and all watchers of the same.

use super::timeline::Timeline;
use crate::history::{Change, History};

/// The first revision that a write can have; an empty keyspace is at the one before.
const FIRST_REVISION: i64 = 2;

pub(super) fn check(history: &History, timeline: &Timeline) -> Vec<String> {
    let mut found = Vec::new();
    for (node, changes) in &history.watched {
        let first = history.watched_from.get(node).copied();
        let first = first.unwrap_or(FIRST_REVISION).max(FIRST_REVISION);
        for (expected, change) in (first..).zip(changes) {
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
            .map(|here| (here, timeline.change(here.revision)))
            .find(|(here, there)| Some(*here) != *there);
        if let Some((here, there)) = differ {
            found.push(format!(
                "the watcher of node {node} was told {here:?}, another {there:?}"
            ));
        }
        let last = |changes: &[Change]| changes.last().map(|change| change.revision);
        let (here, there) = (last(changes), last(&timeline.changes));
        if here != there && !history.retired.contains(node) {
            found.push(format!(
                "the watcher of node {node} was told up to revision {here:?}, another up to {there:?}"
            ));
        }
    }
    found
}
