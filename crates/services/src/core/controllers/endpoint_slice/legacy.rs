//! The Endpoints of a Service: its pods as one object, as clients read it that know no slices.
//! Addresses with the same ports are one subset; those that don't answer yet are apart. Pods that
//! are being stopped are left out, and so is what is over [`ADDRESSES_MAX`] ("Service",
//! "Over-capacity endpoints").

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};

use super::endpoints::{self, Family};
use crate::core::{
    controllers::{
        owners, pods,
        world::{Step, View},
    },
    kinds::{ENDPOINTS, SERVICES},
    object,
};

/// How many addresses are told.
const ADDRESSES_MAX: usize = 1_000;
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";

/// Whether Endpoints were made here, for a Service that had a selector.
pub(super) fn is_made_here(endpoints: &Value) -> bool {
    object::label(endpoints, MANAGED_BY) == Some(MANAGER)
}

/// Makes it so that the Service's Endpoints tell of these pods.
pub(super) fn step(view: &dyn View, service: &Value, pods: &[Arc<Value>]) -> Option<Step> {
    let (namespace, name) = (object::namespace(service), object::name(service));
    let (told, is_truncated) = truncated(subsets(service, pods));
    let kind = &ENDPOINTS;
    let Some(found) = view.get(kind, namespace, name) else {
        let mut object = json!({
            "apiVersion": kind.api_version(),
            "kind": kind.kind,
            "metadata": {"name": name, "namespace": namespace},
        });
        fill(&mut object, service, told, is_truncated);
        return Some(Step::Create { kind, object });
    };
    let controller = object::controller(&found);
    if controller.is_some_and(|owner| owner["uid"] != object::uid(service)) {
        return None;
    }
    let mut object = (*found).clone();
    fill(&mut object, service, told, is_truncated);
    (object != *found).then_some(Step::Update { kind, object })
}

fn fill(object: &mut Value, service: &Value, subsets: Vec<Subset>, is_truncated: bool) {
    let mut labels = super::own_labels(service);
    labels.insert(MANAGED_BY.to_owned(), json!(MANAGER));
    let others = owners::owners(object).filter(|owner| owner["uid"] != object::uid(service));
    let own = owners::controller_reference(&SERVICES, service);
    let all: Vec<Value> = others.cloned().chain([own]).collect();
    let meta = object::meta_mut(object);
    meta.insert("labels".to_owned(), Value::Object(labels));
    meta.insert("ownerReferences".to_owned(), Value::Array(all));
    let annotations = meta.entry("annotations").or_insert_with(|| json!({}));
    if let Some(annotations) = annotations.as_object_mut() {
        match is_truncated {
            true => annotations.insert(OVER_CAPACITY.to_owned(), json!("truncated")),
            false => annotations.remove(OVER_CAPACITY),
        };
        if annotations.is_empty() {
            meta.remove("annotations");
        }
    }
    let fields = object.as_object_mut().expect("an object of the API");
    match subsets.is_empty() {
        true => fields.remove("subsets"),
        false => {
            let subsets = subsets.into_iter().map(Subset::told).collect();
            fields.insert("subsets".to_owned(), subsets)
        }
    };
}

/// Addresses with the same ports.
struct Subset {
    ports: Value,
    ready: Vec<Value>,
    unready: Vec<Value>,
}

impl Subset {
    fn told(self) -> Value {
        let mut subset = Map::new();
        for (field, list) in [
            ("addresses", Value::Array(self.ready)),
            ("notReadyAddresses", Value::Array(self.unready)),
            ("ports", self.ports),
        ] {
            if list.as_array().is_some_and(|list| !list.is_empty()) {
                subset.insert(field.to_owned(), list);
            }
        }
        Value::Object(subset)
    }
}

fn subsets(service: &Value, pods: &[Arc<Value>]) -> Vec<Subset> {
    let family = match service["spec"]["ipFamilies"][0] == "IPv6" {
        true => Family::V6,
        false => Family::V4,
    };
    let is_published = service["spec"]["publishNotReadyAddresses"] == true;
    let needs_ports = object::items(&service["spec"]["ports"]).next().is_some();
    let mut by_ports: BTreeMap<String, Subset> = BTreeMap::new();
    for pod in pods {
        let is_going = object::is_being_deleted(pod) && !is_published;
        if pods::has_ended(pod) || is_going {
            continue;
        }
        let Some(ip) = endpoints::address(pod, family) else {
            continue;
        };
        let ports = ports(service, pod);
        if needs_ports && ports == json!([]) {
            continue;
        }
        let subset = by_ports.entry(ports.to_string()).or_insert(Subset {
            ports,
            ready: Vec::new(),
            unready: Vec::new(),
        });
        let list = match is_published || pods::is_ready(pod) {
            true => &mut subset.ready,
            false => &mut subset.unready,
        };
        list.push(address(service, pod, ip));
    }
    let mut subsets: Vec<Subset> = by_ports.into_values().collect();
    for subset in &mut subsets {
        for list in [&mut subset.ready, &mut subset.unready] {
            list.sort_by_cached_key(|one| (one["ip"].to_string(), one["targetRef"].to_string()));
        }
    }
    subsets
}

/// A name that is empty is not there, unlike in slices.
fn ports(service: &Value, pod: &Value) -> Value {
    let mut ports = endpoints::ports(service, pod);
    for port in ports.as_array_mut().into_iter().flatten() {
        if let Some(fields) = port.as_object_mut()
            && fields.get("name").is_some_and(|name| name == "")
        {
            fields.remove("name");
        }
    }
    ports
}

fn address(service: &Value, pod: &Value, ip: &str) -> Value {
    let mut address = json!({"ip": ip, "targetRef": endpoints::target(pod)});
    let node = pod["spec"]["nodeName"].as_str();
    if let Some(node) = node.filter(|node| !node.is_empty()) {
        address["nodeName"] = json!(node);
    }
    if let Some(hostname) = endpoints::hostname(service, pod) {
        address["hostname"] = json!(hostname);
    }
    address
}

/// Leaves out what is too much, of each subset about the same part: first of those that are not
/// ready. Says whether it was too much.
fn truncated(mut subsets: Vec<Subset>) -> (Vec<Subset>, bool) {
    let ready: usize = subsets.iter().map(|subset| subset.ready.len()).sum();
    let unready: usize = subsets.iter().map(|subset| subset.unready.len()).sum();
    if ready + unready <= ADDRESSES_MAX {
        return (subsets, false);
    }
    let lists = subsets.iter_mut().map(|subset| &mut subset.unready);
    cut(lists, unready, ADDRESSES_MAX.saturating_sub(ready));
    let lists = subsets.iter_mut().map(|subset| &mut subset.ready);
    cut(lists, ready, ADDRESSES_MAX);
    subsets.retain(|subset| !subset.ready.is_empty() || !subset.unready.is_empty());
    (subsets, true)
}

fn cut<'a>(lists: impl Iterator<Item = &'a mut Vec<Value>>, total: usize, most: usize) {
    let mut left = most;
    for list in lists {
        let part = (list.len() * most).div_ceil(total.max(1));
        list.truncate(part.min(left));
        left -= list.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subset(ready: usize, unready: usize) -> Subset {
        Subset {
            ports: json!([]),
            ready: vec![json!({}); ready],
            unready: vec![json!({}); unready],
        }
    }

    #[test]
    fn what_is_too_much_is_left_out_of_each_subset_those_first_that_are_not_ready() {
        for (before, after) in [
            (vec![(600, 400)], None),
            (vec![(600, 401)], Some(vec![(600, 400)])),
            (
                vec![(500, 100), (400, 300)],
                Some(vec![(500, 25), (400, 75)]),
            ),
            (vec![(1_000, 1), (0, 2)], Some(vec![(1_000, 0)])),
            (vec![(1_500, 5), (500, 0)], Some(vec![(750, 0), (250, 0)])),
            (
                vec![(1, 0), (1, 0), (1_000, 0)],
                Some(vec![(1, 0), (1, 0), (998, 0)]),
            ),
        ] {
            let subsets = before
                .iter()
                .map(|(ready, unready)| subset(*ready, *unready));
            let (told, is_truncated) = truncated(subsets.collect());
            let told: Vec<(usize, usize)> = { told.iter() }
                .map(|subset| (subset.ready.len(), subset.unready.len()))
                .collect();
            assert_eq!(is_truncated, after.is_some(), "{before:?}");
            assert_eq!(told, after.unwrap_or(before));
        }
    }
}
