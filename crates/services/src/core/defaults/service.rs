//! The defaults of what leads to pods: services, endpoint slices, network policies.

use serde_json::{Value, json};

use super::{Object, absent, child, is_absent, items, present, text};

/// How long `ClientIP` affinity lasts: three hours.
const AFFINITY_S: i64 = 10_800;

/// A Service.
pub(super) fn service(object: &mut Object) {
    let Some(spec) = child(object, "spec") else {
        return;
    };
    text(spec, "type", "ClusterIP");
    affinity(spec);
    for port in items(spec, "ports") {
        text(port, "protocol", "TCP");
        let target = port.get("targetPort");
        let is_open = target.is_none_or(|to| to.is_null() || *to == 0 || *to == "");
        if let Some(number) = port.get("port").filter(|_| is_open).cloned() {
            port.insert("targetPort".to_owned(), number);
        }
    }
    let kind = spec
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let is_reached_outside = matches!(kind.as_str(), "NodePort" | "LoadBalancer")
        || kind == "ClusterIP" && !is_absent(spec, "externalIPs");
    if is_reached_outside {
        text(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        absent(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
    if kind != "ExternalName" {
        text(spec, "internalTrafficPolicy", "Cluster");
        text(spec, "ipFamilyPolicy", "SingleStack");
        if is_absent(spec, "ipFamilies") {
            spec.insert("ipFamilies".to_owned(), json!(["IPv4"]));
        }
        cluster_ips(spec);
    }
}

fn affinity(spec: &mut Object) {
    text(spec, "sessionAffinity", "None");
    if spec.get("sessionAffinity") == Some(&json!("None")) {
        spec.remove("sessionAffinityConfig");
    }
    if spec.get("sessionAffinity") == Some(&json!("ClientIP"))
        && let Some(config) = child(spec, "sessionAffinityConfig")
        && let Some(client) = child(config, "clientIP")
    {
        absent(client, "timeoutSeconds", json!(AFFINITY_S));
    }
}

/// The one address and the first of several are the same.
fn cluster_ips(spec: &mut Object) {
    let one = spec
        .get("clusterIP")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !one.is_empty() && is_absent(spec, "clusterIPs") {
        let list = json!([one]);
        spec.insert("clusterIPs".to_owned(), list);
        return;
    }
    let first = spec.get("clusterIPs").and_then(|list| list.get(0)).cloned();
    if let Some(first) = first.filter(|_| is_absent(spec, "clusterIP")) {
        spec.insert("clusterIP".to_owned(), first);
    }
}

/// An EndpointSlice.
pub(super) fn endpoint_slice(object: &mut Object) {
    for port in items(object, "ports") {
        absent(port, "name", json!(""));
        text(port, "protocol", "TCP");
    }
}

/// Endpoints.
pub(super) fn endpoints(object: &mut Object) {
    let ports = items(object, "subsets").flat_map(|subset| items(subset, "ports"));
    for port in ports {
        text(port, "protocol", "TCP");
    }
}

/// A NetworkPolicy: it is about what comes in, and about what goes out if it says so.
pub(super) fn network_policy(object: &mut Object) {
    let Some(spec) = present(object, "spec") else {
        return;
    };
    for rules in ["ingress", "egress"] {
        let ports = items(spec, rules).flat_map(|rule| items(rule, "ports"));
        for port in ports {
            text(port, "protocol", "TCP");
        }
    }
    if is_absent(spec, "policyTypes") {
        let types = if is_absent(spec, "egress") {
            json!(["Ingress"])
        } else {
            json!(["Ingress", "Egress"])
        };
        spec.insert("policyTypes".to_owned(), types);
    }
}
