//! Where the volumes of each ordinal are: on the node that had its pod last. The set itself says
//! so, in an annotation, and so outlives its pods.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{COMPONENT, PLACES, identity, numbers::Numbers};
use crate::core::{
    controllers::world::{self, Event, Step, View},
    kinds::{NODES, STATEFUL_SETS},
    object,
};

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

/// The places as they are, and what tells and writes that if the set says something else.
pub(super) fn review(
    view: &dyn View,
    set: &Value,
    numbers: &Numbers,
    members: &BTreeMap<i64, Arc<Value>>,
) -> (Places, Vec<Step>) {
    if !numbers.has_claims {
        return (Places::new(), Vec::new());
    }
    let was = read(set);
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
    let mut lost: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    places.retain(|ordinal, node| {
        let is_there = is_there(node);
        if !is_there {
            lost.entry(node.clone()).or_default().push(*ordinal);
        }
        is_there
    });
    let mut steps = Vec::new();
    if places != was {
        steps.push(write(set, &places));
        steps.extend(lost.iter().map(|(node, lost)| tell_loss(set, node, lost)));
    }
    (places, steps)
}

fn write(set: &Value, places: &Places) -> Step {
    let mut object = set.clone();
    let annotations = object::child_mut(&mut object["metadata"], "annotations");
    match places.is_empty() {
        true => annotations.remove(PLACES),
        false => annotations.insert(PLACES.to_owned(), json!(json!(places).to_string())),
    };
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
        let Step::Update { object, .. } = write(&set, &places) else {
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
