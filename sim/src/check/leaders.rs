//! In one term there is one leader (election safety, Raft figure 3).

use std::collections::BTreeMap;

use super::timeline::Timeline;
use crate::history::History;

pub(super) fn check(history: &History, _: &Timeline) -> Vec<String> {
    let mut leaders = BTreeMap::new();
    let mut found = Vec::new();
    for sighting in &history.sightings {
        let Some(leader) = sighting.leader else {
            continue;
        };
        let known = leaders.entry(sighting.term).or_insert(leader);
        if *known != leader {
            found.push(format!(
                "in term {} both {known} and {leader} lead",
                sighting.term
            ));
        }
    }
    found
}
