//! EndpointSlices: where the pods of a Service answer. One slice holds at most 100 endpoints of
//! one address family with the same ports; the Service owns its slices, and those of other
//! managers are left alone (Kubernetes documentation, "EndpointSlices").
//!
//! Pods whose ports differ are in different slices. That is usual here: a pod with the driver
//! `process` shares its host's network, and the agent says in the annotation `atoll.dev/ports`
//! which ports it really has.

mod endpoints;
mod packing;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use self::endpoints::Family;
use super::{
    owners,
    world::{self, Change, Plan, Step, View},
};
use crate::core::{
    kinds::{ENDPOINT_SLICES, PODS, SERVICES},
    object::{self, Name},
    selector::LabelSelector,
};

/// How many endpoints a slice holds.
const SLICE_ENDPOINTS_MAX: usize = 100;
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// What to do about the slices of one Service.
pub(super) fn plan(view: &dyn View, key: &Name) -> Plan {
    let Some(service) = view.get(key.kind, &key.namespace, &key.name) else {
        return Plan::default();
    };
    let Some(selector) = selector(&service) else {
        return Plan::default();
    };
    if service["spec"]["type"] == "ExternalName" || object::is_being_deleted(&service) {
        return Plan::default();
    }
    let mut pods = view.list(&PODS, Some(&key.namespace));
    pods.retain(|pod| owners::selects(&selector, pod));
    let mut slices = view.by_owner(&ENDPOINT_SLICES, object::uid(&service));
    slices.retain(|slice| object::label(slice, MANAGED_BY) == Some(MANAGER));

    let mut steps = Vec::new();
    let mut fresh = Vec::new();
    let families = endpoints::families(&service);
    for slice in &slices {
        let is_wanted = families
            .iter()
            .any(|family| slice["addressType"] == family.name());
        if !is_wanted {
            steps.push(world::delete(&ENDPOINT_SLICES, slice));
        }
    }
    let labels = labels(&service);
    for family in families {
        let groups = endpoints::groups(view, &service, &pods, family);
        let of_family = slices
            .iter()
            .filter(|slice| slice["addressType"] == family.name());
        let packed = packing::pack(of_family.map(AsRef::as_ref).collect(), groups);
        steps.extend(
            packed
                .removed
                .iter()
                .map(|slice| world::delete(&ENDPOINT_SLICES, slice)),
        );
        for (slice, endpoints) in packed.kept {
            let mut object = slice.clone();
            object["endpoints"] = json!(endpoints);
            object["metadata"]["labels"] = labels.clone();
            if object != *slice {
                let kind = &ENDPOINT_SLICES;
                steps.push(Step::Update { kind, object });
            }
        }
        fresh.extend(packed.fresh.into_iter().map(|slice| (family, slice)));
    }
    let is_taken = |name: &str| view.get(&ENDPOINT_SLICES, &key.namespace, name).is_some();
    let names = owners::free_names(&service, is_taken);
    steps.extend(
        fresh
            .into_iter()
            .zip(names)
            .map(|((family, packed), name)| {
                let mut object = new_slice(&service, &labels, family, &name);
                object["ports"] = packed.ports;
                object["endpoints"] = json!(packed.endpoints);
                Step::Create {
                    kind: &ENDPOINT_SLICES,
                    object,
                }
            }),
    );
    Plan::of(steps)
}

/// Which pods it leads to; none: somebody else says where it leads.
fn selector(service: &Value) -> Option<LabelSelector> {
    let labels = service["spec"]["selector"].as_object();
    let labels = labels.filter(|labels| !labels.is_empty());
    labels.map(LabelSelector::from_map)
}

/// Those of the Service, and what says whose the slice is.
fn labels(service: &Value) -> Value {
    let own = service["metadata"]["labels"].as_object();
    let mut labels: Map<String, Value> = own.cloned().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), json!(object::name(service)));
    labels.insert(MANAGED_BY.to_owned(), json!(MANAGER));
    match service["spec"]["clusterIP"] == "None" {
        true => labels.insert(HEADLESS.to_owned(), json!("")),
        false => labels.remove(HEADLESS),
    };
    Value::Object(labels)
}

fn new_slice(service: &Value, labels: &Value, family: Family, name: &str) -> Value {
    json!({
        "apiVersion": ENDPOINT_SLICES.api_version(),
        "kind": ENDPOINT_SLICES.kind,
        "metadata": {
            "name": name,
            "generateName": owners::base_name(service),
            "namespace": object::namespace(service),
            "labels": labels,
            "ownerReferences": [owners::controller_reference(&SERVICES, service)],
        },
        "addressType": family.name(),
    })
}

/// Endpoints by the ports that they have, as JSON; by the uid of their pod.
type Groups = BTreeMap<String, BTreeMap<String, Value>>;

/// Which Services a change is about.
pub(super) fn touched(view: &dyn View, change: &Change<'_>) -> Vec<Name> {
    let mut keys = Vec::new();
    if change.kind == &SERVICES {
        keys.extend(change.name());
    } else if change.kind == &ENDPOINT_SLICES {
        for slice in change.sides() {
            let Some(name) = object::label(slice, SERVICE_NAME) else {
                continue;
            };
            if let Some(service) = view.get(&SERVICES, object::namespace(slice), name) {
                world::push_once(&mut keys, Name::of(&SERVICES, &service));
            }
        }
    } else if change.kind == &PODS {
        let Some(name) = change.name() else {
            return keys;
        };
        for service in view.list(&SERVICES, Some(&name.namespace)) {
            let selector = selector(&service).unwrap_or_else(LabelSelector::nothing);
            if change.sides().any(|pod| owners::selects(&selector, pod)) {
                keys.push(Name::of(&SERVICES, &service));
            }
        }
    }
    keys
}
