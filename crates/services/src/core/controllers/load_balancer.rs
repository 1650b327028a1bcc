//! Where clients from outside reach Services of type LoadBalancer, and Ingresses:
//! `status.loadBalancer` (Kubernetes API reference). Each node's gateway listens for all of them;
//! a Node's annotations say whether, and at which ports.

use std::{collections::BTreeSet, net::IpAddr};

use serde_json::{Value, json};

use super::world::{self, Change, Plan, Step, View};
use crate::core::{
    kinds::{INGRESSES, NODES, SERVICES},
    object::{self, Name},
};

/// Says that a node's gateway listens at the own ports of Services: `true`.
pub const BALANCES: &str = "atoll.dev/balances";
/// The port at which a node's gateway listens for Ingresses.
pub const HTTP_PORT: &str = "atoll.dev/http-port";
/// The same with TLS.
pub const HTTPS_PORT: &str = "atoll.dev/https-port";

/// What to do about a Service or an Ingress.
pub(super) fn plan(view: &dyn View, key: &Name) -> Plan {
    let Some(found) = view.get(key.kind, &key.namespace, &key.name) else {
        return Plan::default();
    };
    let nodes = view.list(&NODES, None);
    let ready = nodes.iter().filter(|node| is_ready(node));
    let wanted = if key.kind == &INGRESSES {
        ways(ready.map(|node| (address(node), ports(node))))
    } else if is_balanced(&found) {
        let ours = ready.filter(|node| object::annotation(node, BALANCES) == Some("true"));
        ways(ours.map(|node| (address(node), Vec::new())))
    } else if found["spec"]["loadBalancerClass"].is_null() {
        // What it was told when it was one is not so any more.
        json!({})
    } else {
        // It is another one's to balance, and to tell.
        return Plan::default();
    };
    let had = &found["status"]["loadBalancer"];
    if *had == wanted || (had.is_null() && wanted == json!({})) {
        return Plan::default();
    }
    let mut object = (*found).clone();
    object::child_mut(&mut object, "status").insert("loadBalancer".to_owned(), wanted);
    Plan::of(vec![Step::UpdateStatus {
        kind: key.kind,
        object,
    }])
}

/// Whether a Service is one that the nodes' gateways balance.
fn is_balanced(service: &Value) -> bool {
    let spec = &service["spec"];
    spec["type"] == "LoadBalancer" && spec["loadBalancerClass"].is_null()
}

fn is_ready(node: &Value) -> bool {
    let mut conditions = object::items(&node["status"]["conditions"]);
    conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
}

fn address(node: &Value) -> &str {
    let mut addresses = object::items(&node["status"]["addresses"]);
    let internal = addresses.find(|one| one["type"] == "InternalIP");
    internal
        .and_then(|one| one["address"].as_str())
        .unwrap_or_default()
}

fn ports(node: &Value) -> Vec<u16> {
    let ports = [HTTP_PORT, HTTPS_PORT].map(|name| object::annotation(node, name));
    ports
        .into_iter()
        .flatten()
        .filter_map(|port| port.parse().ok())
        .collect()
}

/// Each address once, in order.
fn ways<'a>(nodes: impl Iterator<Item = (&'a str, Vec<u16>)>) -> Value {
    let nodes: BTreeSet<(&str, Vec<u16>)> =
        nodes.filter(|(address, _)| !address.is_empty()).collect();
    let ways = nodes.into_iter().map(|(address, ports)| {
        let mut way = match address.parse::<IpAddr>() {
            Ok(ip) => json!({"ip": ip.to_string()}),
            Err(_) => json!({"hostname": address}),
        };
        let ports = ports
            .iter()
            .map(|port| json!({"port": port, "protocol": "TCP"}));
        let ports: Vec<Value> = ports.collect();
        if !ports.is_empty() {
            way["ports"] = Value::Array(ports);
        }
        way
    });
    match ways.collect::<Vec<Value>>() {
        ways if ways.is_empty() => json!({}),
        ways => json!({"ingress": ways}),
    }
}

/// Whom a change is about.
pub(super) fn touched(view: &dyn View, change: &Change<'_>) -> Vec<Name> {
    let mut keys = Vec::new();
    if change.kind == &SERVICES || change.kind == &INGRESSES {
        keys.extend(change.name());
    }
    let facts = |node: &Value| (is_ready(node), address(node).to_owned(), ports(node));
    let is_news = change.old.map(facts) != change.new.map(facts);
    if change.kind == &NODES && is_news {
        for kind in [&SERVICES, &INGRESSES] {
            for object in view.list(kind, None) {
                world::push_once(&mut keys, Name::of(kind, &object));
            }
        }
    }
    keys
}
