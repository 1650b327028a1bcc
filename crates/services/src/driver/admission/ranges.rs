//! Ranges of addresses for Nodes' pods. A Node that is made gets the first free one, or the one that
//! it asks for; it keeps it as long as it is there.

use atoll_control::api::ControlApi;
use serde_json::{Map, Value, json};

use super::{RANGES, Settings, exhausted, invalid};
use crate::{
    core::{
        object::{self, Name},
        pod_network::RANGE_BITS,
        status::{Failure, FieldError},
    },
    driver::{agent::SIMULATED, store::Store},
};

/// Sees to it that a Node has a range. One whose pods are simulated needs none.
pub(super) async fn choose<C: ControlApi>(
    store: &Store<C>,
    settings: &Settings,
    name: &Name,
    old: &Value,
    node: &mut Value,
) -> Result<(), Failure> {
    let asked = range(node).unwrap_or_default().to_owned();
    if !asked.is_empty() {
        let is_new = range(old) != Some(asked.as_str());
        if is_new && !settings.pods.has(&asked) {
            let network = settings.pods.all();
            let why = format!("it has to be a range of {RANGE_BITS} bits in {network}");
            let error = FieldError::invalid("spec.podCIDRs", &json!([asked]), why);
            return Err(invalid(name, error));
        }
        set(node, &asked);
        return Ok(());
    }
    if object::label(node, SIMULATED).is_some() {
        return Ok(());
    }
    for range in settings.pods.ranges() {
        let range = range.to_string();
        if store.value(key(&range).into()).await?.is_none() {
            set(node, &range);
            return Ok(());
        }
    }
    Err(exhausted("range of addresses", "node"))
}

/// The key that stands for what a Node has.
pub(super) fn reserved(node: &Value) -> Option<String> {
    range(node).map(key)
}

/// A range stays, where the new state does not say otherwise.
pub(super) fn carry(old: &Value, new: &mut Value) {
    if let Some(had) = range(old)
        && range(new).is_none()
    {
        set(new, had);
    }
}

/// The end of the range is clear from its beginning, and is no part of a key.
fn key(range: &str) -> String {
    let first = range.split('/').next().unwrap_or_default();
    format!("{RANGES}{first}")
}

fn range(node: &Value) -> Option<&str> {
    let range = node["spec"]["podCIDR"].as_str();
    range.filter(|range| !range.is_empty())
}

fn set(node: &mut Value, range: &str) {
    let spec: &mut Map<String, Value> = object::child_mut(node, "spec");
    spec.insert("podCIDR".to_owned(), json!(range));
    spec.insert("podCIDRs".to_owned(), json!([range]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_has_is_reserved_and_kept() {
        let old = json!({"spec": {"podCIDR": "10.244.3.0/24"}});
        let reserved = reserved(&old);
        assert_eq!(
            reserved.as_deref(),
            Some("/atoll/services/ranges/10.244.3.0")
        );
        let mut new = json!({"spec": {"unschedulable": true}});
        carry(&old, &mut new);
        assert_eq!(new["spec"]["podCIDR"], "10.244.3.0/24");
        assert_eq!(new["spec"]["podCIDRs"], json!(["10.244.3.0/24"]));
    }
}
