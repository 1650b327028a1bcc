//! Endpoints that somebody wrote for a Service without a selector, as slices: so that who reads
//! slices finds them. The Endpoints own the slices (Kubernetes documentation, "EndpointSlices",
//! "EndpointSlice mirroring").

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::{Groups, MANAGED_BY, SERVICE_NAME, endpoints::Family, legacy, packing, slices::Slices};
use crate::core::{
    controllers::world::{Step, View},
    kinds::ENDPOINTS,
    object::{self, Name},
};

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// The label that says that nothing is to be done about Endpoints.
const SKIPS: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Endpoints that have it say who leads, and lead nowhere.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// How many addresses of a subset are taken.
const SUBSET_ADDRESSES_MAX: usize = 1_000;
/// Annotations that are about the Endpoints alone.
const OWN_ANNOTATIONS: [&str; 2] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "endpoints.kubernetes.io/last-change-trigger-time",
];

/// What to do about the slices that mirror the Endpoints of a Service's name.
pub(super) fn steps(view: &dyn View, key: &Name, service: Option<&Value>) -> Vec<Step> {
    let endpoints = view.get(&ENDPOINTS, &key.namespace, &key.name);
    let is_somebodys = |it: &Value| !object::is_being_deleted(it) && !legacy::is_made_here(it);
    // The slices of Endpoints that are gone are gone with them.
    let Some(endpoints) = endpoints.filter(|it| is_somebodys(it)) else {
        return Vec::new();
    };
    let mut labels = fields(&endpoints, "labels");
    labels.insert(SERVICE_NAME.to_owned(), json!(key.name));
    labels.insert(MANAGED_BY.to_owned(), json!(MANAGER));
    let mut annotations = fields(&endpoints, "annotations");
    annotations.retain(|name, _| !OWN_ANNOTATIONS.contains(&name.as_str()));
    let slices = Slices {
        manager: MANAGER,
        kind: &ENDPOINTS,
        owner: &endpoints,
        labels,
        annotations: Some(annotations),
    };
    let wanted = match is_mirrored(service, &endpoints) {
        true => groups(&endpoints),
        false => Vec::new(),
    };
    slices.steps(view, wanted)
}

fn is_mirrored(service: Option<&Value>, endpoints: &Value) -> bool {
    let has_selector = |service: &Value| super::selector(service).is_some();
    service.is_some_and(|it| it["spec"]["type"] != "ExternalName" && !has_selector(it))
        && object::label(endpoints, SKIPS) != Some("true")
        && object::annotation(endpoints, LEADER).is_none()
}

fn fields(object: &Value, field: &str) -> Map<String, Value> {
    let fields = object["metadata"][field].as_object();
    fields.cloned().unwrap_or_default()
}

/// The addresses of all subsets; those of one family and with the same ports are one group.
fn groups(endpoints: &Value) -> Vec<(Family, Groups)> {
    let mut all = [(Family::V4, Groups::new()), (Family::V6, Groups::new())];
    for subset in object::items(&endpoints["subsets"]) {
        let ports: Value = object::items(&subset["ports"]).map(port).collect();
        let of = |field: &str, is_ready: bool| {
            object::items(&subset[field]).filter_map(move |one| endpoint(one, is_ready))
        };
        let addresses = of("addresses", true).chain(of("notReadyAddresses", false));
        for (family, endpoint) in addresses.take(SUBSET_ADDRESSES_MAX) {
            let (_, groups) = &mut all[usize::from(family == Family::V6)];
            let group = groups.entry(ports.to_string()).or_default();
            // One that is ready as well is ready.
            group
                .entry(packing::identity(&endpoint))
                .or_insert(endpoint);
        }
    }
    let all = all.into_iter().filter(|(_, groups)| !groups.is_empty());
    all.collect()
}

fn port(port: &Value) -> Value {
    let mut told = json!({
        "name": port["name"].as_str().unwrap_or_default(),
        "port": port["port"],
        "protocol": port["protocol"].as_str().unwrap_or("TCP"),
    });
    if let Some(application) = port["appProtocol"].as_str() {
        told["appProtocol"] = json!(application);
    }
    told
}

fn endpoint(address: &Value, is_ready: bool) -> Option<(Family, Value)> {
    let ip: IpAddr = address["ip"].as_str()?.parse().ok()?;
    let family = match ip {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    };
    let mut endpoint = json!({
        "addresses": [ip.to_string()],
        "conditions": {"ready": is_ready},
    });
    for field in ["targetRef", "nodeName", "hostname"] {
        if let Some(value) = address.get(field).filter(|value| !value.is_null()) {
            endpoint[field] = value.clone();
        }
    }
    Some((family, endpoint))
}
