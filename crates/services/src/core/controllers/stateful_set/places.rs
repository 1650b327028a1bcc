//! Where the volumes of each ordinal are: on the node that had its pod last. The set itself says
//! so, in an annotation, and so outlives its pods. Another one says since when nodes are gone: a
//! node whose object was deleted makes it anew, with the data still there.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{COMPONENT, PLACES, PLACES_GONE, identity, numbers::Numbers};
use crate::core::{
    controllers::world::{self, Event, Step, View},
    kinds::{NODES, STATEFUL_SETS},
    object,
    time::{format_rfc3339, parse_rfc3339},
};

/// After so long without its object a node does not come back with its data: many times as long
/// as one that runs takes to make it anew.
const GONE_MS: u64 = 60_000;
/// How many pods an event names.
const NAMED_MAX: usize = 10;

/// The node of each ordinal whose volumes are somewhere.
pub(super) type Places = BTreeMap<i64, String>;

/// What the set says.
pub(super) fn read(set: &Value) -> Places {
    let text = object::annotation(set, PLACES).unwrap_or_default();
    let all: BTreeMap<String, String> = serde_json::from_str(text).unwrap_or_default();
    let places = all.into_iter();
    places
        .filter_map(|(ordinal, node)| Some((ordinal.parse().ok()?, node)))
        .collect()
}

/// Since when nodes that have places are gone, in milliseconds since the epoch.
type Gone = BTreeMap<String, u64>;

fn read_gone(set: &Value) -> Gone {
    let text = object::annotation(set, PLACES_GONE).unwrap_or_default();
    let all: BTreeMap<String, String> = serde_json::from_str(text).unwrap_or_default();
    let since = all.into_iter();
    since
        .filter_map(|(node, at)| Some((node, parse_rfc3339(&at)?)))
        .collect()
}

/// What there is to say of places.
#[derive(Default)]
pub(super) struct Review {
    /// As they are.
    pub(super) places: Places,
    /// What tells and writes that, if the set says something else.
    pub(super) steps: Vec<Step>,
    /// When a node may be gone for good.
    pub(super) again_in_ms: Option<u64>,
}

/// Looks where everything is.
pub(super) fn review(
    view: &dyn View,
    set: &Value,
    numbers: &Numbers,
    members: &BTreeMap<i64, Arc<Value>>,
    now_ms: u64,
) -> Review {
    if !numbers.has_claims {
        return Review::default();
    }
    let (was, was_gone) = (read(set), read_gone(set));
    let is_there = |node: &str| view.get(&NODES, "", node).is_some();
    let mut places = was.clone();
    for (ordinal, pod) in members {
        let node = pod["spec"]["nodeName"].as_str();
        if let Some(node) = node.filter(|node| !node.is_empty() && is_there(node)) {
            places.insert(*ordinal, node.to_owned());
        }
    }
    if numbers.drops_claims {
        let is_kept =
            |ordinal: &i64| numbers.ordinals.contains(ordinal) || members.contains_key(ordinal);
        places.retain(|ordinal, _| is_kept(ordinal));
    }
    let mut gone = Gone::new();
    let mut lost: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    places.retain(|ordinal, node| {
        if is_there(node) {
            return true;
        }
        let since_ms = was_gone
            .get(node)
            .map_or(now_ms, |at_ms| *at_ms.min(&now_ms));
        let is_kept = now_ms < since_ms.saturating_add(GONE_MS);
        match is_kept {
            true => drop(gone.insert(node.clone(), since_ms)),
            false => lost.entry(node.clone()).or_default().push(*ordinal),
        }
        is_kept
    });
    let mut steps = Vec::new();
    if places != was || gone.keys().ne(was_gone.keys()) {
        steps.push(write(set, &places, &gone));
        steps.extend(lost.iter().map(|(node, lost)| tell_loss(set, node, lost)));
    }
    let ends = gone.values().map(|at_ms| at_ms.saturating_add(GONE_MS));
    Review {
        places,
        steps,
        again_in_ms: ends.min().map(|at_ms| at_ms.saturating_sub(now_ms)),
    }
}

fn write(set: &Value, places: &Places, gone: &Gone) -> Step {
    let mut object = set.clone();
    let annotations = object::child_mut(&mut object["metadata"], "annotations");
    let since = gone
        .iter()
        .map(|(node, at_ms)| (node, format_rfc3339(*at_ms)));
    let since: BTreeMap<&String, String> = since.collect();
    let texts = [
        (PLACES, !places.is_empty(), json!(places)),
        (PLACES_GONE, !gone.is_empty(), json!(since)),
    ];
    for (annotation, is_there, value) in texts {
        match is_there {
            true => annotations.insert(annotation.to_owned(), json!(value.to_string())),
            false => annotations.remove(annotation),
        };
    }
    Step::Update {
        kind: &STATEFUL_SETS,
        object,
    }
}

fn tell_loss(set: &Value, node: &str, lost: &[i64]) -> Step {
    let named = lost.iter().take(NAMED_MAX);
    let mut named: Vec<String> = named
        .map(|ordinal| identity::pod_name(set, *ordinal))
        .collect();
    if lost.len() > NAMED_MAX {
        named.push(format!("{} more", lost.len() - NAMED_MAX));
    }
    let message = format!(
        "Node {node} is gone, and with it the volumes of {}",
        named.join(", ")
    );
    let about = world::reference(&STATEFUL_SETS, set);
    Event::warning(COMPONENT, about, "VolumesLost", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written_and_nonsense_is_none() {
        let set = json!({"metadata": {"name": "web"}});
        let places = Places::from([(2, "n1".to_owned()), (10, "n2".to_owned())]);
        let Step::Update { object, .. } = write(&set, &places, &Gone::new()) else {
            panic!("a step that writes it");
        };
        let text = object::annotation(&object, PLACES);
        assert_eq!(text, Some(r#"{"10":"n2","2":"n1"}"#));
        assert_eq!(read(&object), places);
        for text in ["", "x", "[]", r#"{"0":1}"#] {
            let set = json!({"metadata": {"annotations": {PLACES: text}}});
            assert_eq!(read(&set), Places::new(), "{text}");
        }
    }
}
