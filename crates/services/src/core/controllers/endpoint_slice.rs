//! EndpointSlices: where the pods of a Service answer. One slice holds at most 100 endpoints of
//! one address family with the same ports; the Service owns its slices, and those of other
//! managers are left alone (Kubernetes documentation, "EndpointSlices").
//!
//! Pods whose ports differ are in different slices. That is usual here: a pod with the driver
//! `process` shares its host's network, and the agent says in the annotation `atoll.dev/ports`
//! which ports it really has.
//!
//! Older clients read Endpoints: a Service with a selector has one of its name, which says the
//! same ([`legacy`]). Where a Service has no selector, its Endpoints are somebody's own, and
//! become slices ([`mirror`]).

mod endpoints;
mod legacy;
mod mirror;
mod packing;
mod slices;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use self::slices::Slices;
use super::{
    owners,
    world::{self, Change, Plan, Step, View},
};
use crate::core::{
    kinds::{ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES},
    object::{self, Name},
    selector::LabelSelector,
};

/// How many endpoints a slice holds.
const SLICE_ENDPOINTS_MAX: usize = 100;
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// What to do about the slices and the Endpoints of one Service.
pub(super) fn plan(view: &dyn View, key: &Name) -> Plan {
    let service = view.get(key.kind, &key.namespace, &key.name);
    let service = service.filter(|service| !object::is_being_deleted(service));
    let mut steps = mirror::steps(view, key, service.as_deref());
    let Some(service) = service.filter(|service| service["spec"]["type"] != "ExternalName") else {
        return Plan::of(steps);
    };
    if let Some(selector) = selector(&service) {
        steps.extend(of_pods(view, &service, &selector));
    }
    Plan::of(steps)
}

fn of_pods(view: &dyn View, service: &Value, selector: &LabelSelector) -> Vec<Step> {
    let mut pods = view.list(&PODS, Some(object::namespace(service)));
    pods.retain(|pod| owners::selects(selector, pod));
    let families = endpoints::families(service);
    let groups = { families.into_iter() }
        .map(|family| (family, endpoints::groups(view, service, &pods, family)));
    let slices = Slices {
        manager: MANAGER,
        kind: &SERVICES,
        owner: service,
        labels: labels(service),
        annotations: None,
    };
    let mut steps = slices.steps(view, groups.collect());
    steps.extend(legacy::step(view, service, &pods));
    steps
}

/// Which pods it leads to; none: somebody else says where it leads.
fn selector(service: &Value) -> Option<LabelSelector> {
    let labels = service["spec"]["selector"].as_object();
    let labels = labels.filter(|labels| !labels.is_empty());
    labels.map(LabelSelector::from_map)
}

/// The labels that a Service hands on, and whether it is headless.
fn own_labels(service: &Value) -> Map<String, Value> {
    let own = service["metadata"]["labels"].as_object();
    let mut labels: Map<String, Value> = own.cloned().unwrap_or_default();
    match service["spec"]["clusterIP"] == "None" {
        true => labels.insert(HEADLESS.to_owned(), json!("")),
        false => labels.remove(HEADLESS),
    };
    labels
}

/// Those of the Service, and what says whose the slice is.
fn labels(service: &Value) -> Map<String, Value> {
    let mut labels = own_labels(service);
    labels.insert(SERVICE_NAME.to_owned(), json!(object::name(service)));
    labels.insert(MANAGED_BY.to_owned(), json!(MANAGER));
    labels
}

/// Endpoints by the ports that they have, as JSON; by [`packing::identity`].
type Groups = BTreeMap<String, BTreeMap<String, Value>>;

/// Which Services a change is about.
pub(super) fn touched(view: &dyn View, change: &Change<'_>) -> Vec<Name> {
    let mut keys = Vec::new();
    if change.kind == &SERVICES {
        keys.extend(change.name());
    } else if change.kind == &ENDPOINTS {
        // Also where there is no Service any more.
        keys.extend(change.name().map(|name| Name {
            kind: &SERVICES,
            ..name
        }));
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
