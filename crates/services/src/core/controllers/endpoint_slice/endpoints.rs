//! One pod as an endpoint: its address, its ports, and whether it answers.

use std::{net::IpAddr, sync::Arc};

use serde_json::{Map, Value, json};

use super::{Groups, packing};
use crate::core::{
    controllers::{pods, world::View},
    kinds::NODES,
    object,
};

/// The ports that a pod's containers really have, as JSON: from a port's name or `containerPort`
/// to a number.
const REAL_PORTS: &str = "atoll.dev/ports";
const ZONE: &str = "topology.kubernetes.io/zone";

/// What an address looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// As `addressType` says it, and `ipFamilies`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }

    fn has(self, address: &str) -> bool {
        match address.parse() {
            Ok(IpAddr::V4(_)) => self == Family::V4,
            Ok(IpAddr::V6(_)) => self == Family::V6,
            Err(_) => false,
        }
    }
}

/// The families that a Service has addresses of.
pub(super) fn families(service: &Value) -> Vec<Family> {
    let named = service["spec"]["ipFamilies"].as_array();
    let is_named = |family: &Family| {
        named.is_some_and(|named| named.iter().any(|name| *name == family.name()))
    };
    let families = [Family::V4, Family::V6];
    let families: Vec<Family> = families.into_iter().filter(is_named).collect();
    match families.is_empty() {
        true => vec![Family::V4],
        false => families,
    }
}

/// The endpoints of all pods of a Service, by their ports. If there are none, one group of none:
/// so that a slice says so.
pub(super) fn groups(
    view: &dyn View,
    service: &Value,
    pods: &[Arc<Value>],
    family: Family,
) -> Groups {
    let mut groups = Groups::new();
    for pod in pods {
        if pods::has_ended(pod) {
            continue;
        }
        let Some(address) = address(pod, family) else {
            continue;
        };
        let group = groups.entry(ports(service, pod).to_string()).or_default();
        let endpoint = endpoint(view, service, pod, address);
        group.insert(packing::identity(&endpoint), endpoint);
    }
    if groups.is_empty() {
        groups.insert(json!([]).to_string(), Default::default());
    }
    groups
}

/// A pod's address of a family.
pub(super) fn address(pod: &Value, family: Family) -> Option<&str> {
    let more = pod["status"]["podIPs"].as_array().into_iter().flatten();
    let all = more.map(|one| &one["ip"]).chain([&pod["status"]["podIP"]]);
    all.filter_map(Value::as_str)
        .find(|address| family.has(address))
}

fn endpoint(view: &dyn View, service: &Value, pod: &Value, address: &str) -> Value {
    let is_terminating = object::is_being_deleted(pod);
    let is_serving = pods::is_ready(pod);
    let is_published = service["spec"]["publishNotReadyAddresses"] == true;
    let mut endpoint = json!({
        "addresses": [address],
        "conditions": {
            "ready": is_published || (is_serving && !is_terminating),
            "serving": is_published || is_serving,
            "terminating": is_terminating,
        },
        "targetRef": target(pod),
    });
    if let Some(node) = text(pod, "nodeName") {
        endpoint["nodeName"] = json!(node);
        let node = view.get(&NODES, "", node);
        let zone = node.as_deref().and_then(|node| object::label(node, ZONE));
        if let Some(zone) = zone {
            endpoint["zone"] = json!(zone);
        }
    }
    if let Some(hostname) = hostname(service, pod) {
        endpoint["hostname"] = json!(hostname);
    }
    endpoint
}

/// What names a pod.
pub(super) fn target(pod: &Value) -> Value {
    json!({
        "kind": "Pod",
        "namespace": object::namespace(pod),
        "name": object::name(pod),
        "uid": object::uid(pod),
    })
}

/// What a pod is called among those of the Service, if it is called something.
pub(super) fn hostname<'a>(service: &Value, pod: &'a Value) -> Option<&'a str> {
    let is_among = text(pod, "subdomain") == Some(object::name(service));
    text(pod, "hostname").filter(|_| is_among)
}

fn text<'a>(pod: &'a Value, field: &str) -> Option<&'a str> {
    let text = pod["spec"][field].as_str();
    text.filter(|text| !text.is_empty())
}

/// The Service's ports, as this pod has them; those that it has not are left out.
pub(super) fn ports(service: &Value, pod: &Value) -> Value {
    let wanted = service["spec"]["ports"].as_array().into_iter().flatten();
    let ports = wanted.filter_map(|wanted| {
        let protocol = wanted["protocol"].as_str().unwrap_or("TCP");
        let mut port = json!({
            "name": wanted["name"].as_str().unwrap_or_default(),
            "port": number(wanted, protocol, pod)?,
            "protocol": protocol,
        });
        if let Some(application) = wanted["appProtocol"].as_str() {
            port["appProtocol"] = json!(application);
        }
        Some(port)
    });
    ports.collect()
}

/// The number of a Service's port in a pod.
fn number(wanted: &Value, protocol: &str, pod: &Value) -> Option<u64> {
    let target = match &wanted["targetPort"] {
        Value::Null => &wanted["port"],
        target => target,
    };
    let container = container_port(target, protocol, pod);
    let number = match target.as_u64() {
        Some(number) => number,
        None => container?["containerPort"].as_u64()?,
    };
    let real = object::annotation(pod, REAL_PORTS)
        .and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
    let name = container.and_then(|port| port["name"].as_str());
    let real = real.as_ref().and_then(|real| {
        let by_name = name.and_then(|name| real.get(name));
        by_name.or_else(|| real.get(&number.to_string()))
    });
    let real = real.and_then(Value::as_u64);
    Some(
        real.filter(|port| (1..=65_535).contains(port))
            .unwrap_or(number),
    )
}

fn container_port<'a>(target: &Value, protocol: &str, pod: &'a Value) -> Option<&'a Value> {
    let containers = pod["spec"]["containers"].as_array()?;
    let mut ports = containers
        .iter()
        .flat_map(|container| container["ports"].as_array().into_iter().flatten());
    ports.find(|port| {
        let is_named = target.is_string() && port["name"] == *target;
        let is_numbered = target.is_number() && port["containerPort"] == *target;
        (is_named || is_numbered) && port["protocol"].as_str().unwrap_or("TCP") == protocol
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(annotation: Option<&str>) -> Value {
        let mut pod = json!({"spec": {"containers": [
            {"ports": [{"containerPort": 9000, "protocol": "UDP", "name": "web"}]},
            {"ports": [{"containerPort": 8080, "name": "web"}, {"containerPort": 8081}]},
        ]}});
        if let Some(annotation) = annotation {
            pod["metadata"]["annotations"] = json!({REAL_PORTS: annotation});
        }
        pod
    }

    #[test]
    fn ports_are_found_by_name_and_number_and_overridden_by_the_agent() {
        let by_name = json!({"port": 80, "targetPort": "web"});
        let by_number = json!({"port": 80, "targetPort": 8080});
        let other = json!({"port": 8081});
        let unknown = json!({"port": 80, "targetPort": "admin"});
        let undeclared = json!({"port": 80, "targetPort": 7000});
        for (wanted, annotation, expected) in [
            (&by_name, None, Some(8080)),
            (&by_number, None, Some(8080)),
            (&other, None, Some(8081)),
            (&unknown, None, None),
            (&undeclared, None, Some(7000)),
            (&by_name, Some(r#"{"web": 31000}"#), Some(31000)),
            (&by_number, Some(r#"{"web": 31000}"#), Some(31000)),
            (&by_name, Some(r#"{"8080": 31001}"#), Some(31001)),
            (&other, Some(r#"{"8081": 31002}"#), Some(31002)),
            (&undeclared, Some(r#"{"7000": 31003}"#), Some(31003)),
            (&by_name, Some(r#"{"web": 70000}"#), Some(8080)),
            (&by_name, Some("no JSON"), Some(8080)),
        ] {
            let found = number(wanted, "TCP", &pod(annotation));
            assert_eq!(found, expected, "{wanted} {annotation:?}");
        }
        assert_eq!(number(&by_name, "UDP", &pod(None)), Some(9000));
    }
}
