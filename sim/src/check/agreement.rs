//! Replicas that applied the same entries are the same (state machine safety, Raft figure 3):
//! one applied index has one revision, one revision has one hash, on every node, at any time.

use std::collections::BTreeMap;

use super::timeline::Timeline;
use crate::history::History;

pub(super) fn check(history: &History, _: &Timeline) -> Vec<String> {
    let mut found = Vec::new();
    let mut revisions = BTreeMap::new();
    for sighting in &history.sightings {
        let (revision, node) = *revisions
            .entry(sighting.applied_index)
            .or_insert((sighting.revision, sighting.node));
        if revision != sighting.revision {
            found.push(format!(
                "after entry {}, node {node} is at revision {revision} and node {} at {}",
                sighting.applied_index, sighting.node, sighting.revision
            ));
        }
    }
    let mut hashes = BTreeMap::new();
    for hash in &history.hashes {
        let (known, node) = *hashes
            .entry((hash.revision, hash.compacted))
            .or_insert((hash.hash, hash.node));
        if known != hash.hash {
            found.push(format!(
                "at revision {} node {node} has hash {known:08x} and node {} {:08x}",
                hash.revision, hash.node, hash.hash
            ));
        }
    }
    found
}
