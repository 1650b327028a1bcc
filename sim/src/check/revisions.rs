//! Revisions only grow: within a node's life, from one linearizable answer to the next, and by
//! one with each write. Two acknowledged writes never share one.

use std::collections::BTreeMap;

use super::timeline::Timeline;
use crate::history::{Answer, Call, History, Op, Outcome};

pub(super) fn check(history: &History, _: &Timeline) -> Vec<String> {
    let mut found = within_lives(history);
    found.extend(in_real_time(history));
    found.extend(unique(history));
    found
}

fn within_lives(history: &History) -> Vec<String> {
    let mut last = BTreeMap::new();
    let mut found = Vec::new();
    for sighting in &history.sightings {
        let now = (sighting.term, sighting.applied_index, sighting.revision);
        let before = last
            .insert((sighting.node, sighting.boot), now)
            .unwrap_or_default();
        if now.0 < before.0 || now.1 < before.1 || now.2 < before.2 {
            found.push(format!(
                "node {} went back from (term, index, revision) {before:?} to {now:?} without a restart",
                sighting.node
            ));
        }
    }
    found
}

/// The revision of an answer that must be as new as all that came before.
fn linearizable(call: &Call) -> Option<(u64, u64, i64)> {
    let stale = matches!(
        call.op,
        Op::Get {
            serializable: true,
            ..
        } | Op::List { serializable: true }
    );
    let Outcome::Done { revision, .. } = call.outcome else {
        return None;
    };
    (!stale).then_some((call.invoked, call.returned?, revision))
}

/// An answer is never of an older revision than one that was given before it was asked for.
fn in_real_time(history: &History) -> Vec<String> {
    let mut moments = Vec::new();
    for (number, call) in history.calls.iter().enumerate() {
        if let Some((invoked, returned, revision)) = linearizable(call) {
            moments.push((invoked, number, None));
            moments.push((returned, number, Some(revision)));
        }
    }
    moments.sort_unstable();
    let mut newest = (0, 0);
    let mut floors = BTreeMap::new();
    let mut found = Vec::new();
    for (_, number, revision) in moments {
        let Some(revision) = revision else {
            floors.insert(number, newest);
            continue;
        };
        let (floor, of) = floors[&number];
        if revision < floor {
            found.push(format!(
                "call {number} was answered at revision {revision}, though call {of} had been answered at {floor} before it began"
            ));
        }
        newest = newest.max((revision, number));
    }
    found
}

fn unique(history: &History) -> Vec<String> {
    let mut writers = BTreeMap::new();
    let mut found = Vec::new();
    for (number, call) in history.calls.iter().enumerate() {
        let Outcome::Done { revision, answer } = &call.outcome else {
            continue;
        };
        let wrote = matches!(
            answer,
            Answer::Put { .. }
                | Answer::Deleted { before: Some(_) }
                | Answer::Swap { swapped: true, .. }
        );
        if wrote && let Some(other) = writers.insert(*revision, number) {
            found.push(format!(
                "calls {other} and {number} both wrote revision {revision}"
            ));
        }
    }
    found
}
