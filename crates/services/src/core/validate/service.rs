//! What leads to pods: Services, EndpointSlices and Endpoints.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    super::{names, status::FieldError},
    ENDPOINTS_MAX, ITEMS_MAX, PORTS_MAX,
    at::{At, Errors},
    container::port_number,
    labels, probe,
};

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const AFFINITY_S_MAX: i64 = 86_400;

fn is_headless(spec: &At<'_>) -> bool {
    spec.child("clusterIP").text() == "None"
}

fn is_reached_outside(spec: &At<'_>) -> bool {
    let kind = spec.child("type").text();
    matches!(kind, "NodePort" | "LoadBalancer")
        || matches!(kind, "" | "ClusterIP") && spec.child("externalIPs").count() > 0
}

/// A Service's spec.
pub(super) fn service(spec: &At<'_>, errors: &mut Errors) {
    let kind = spec.child("type");
    kind.one_of(
        errors,
        &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
    );
    let ports = spec.child("ports");
    if ports.count() == 0 && !is_headless(spec) && kind.text() != "ExternalName" {
        ports.required(errors, "");
    }
    match kind.text() {
        "LoadBalancer" | "NodePort" if is_headless(spec) => {
            let why = format!("may not be set to 'None' for {} services", kind.text());
            let path = format!("{}[0]", spec.child("clusterIPs").path());
            errors.push(FieldError::invalid(path, &json!("None"), why));
        }
        "ExternalName" => external_name(spec, errors),
        _ => {}
    }
    service_ports(spec, errors);
    labels::labels(&spec.child("selector"), errors);
    affinity(spec, errors);
    if kind.text() != "ExternalName" {
        addresses(spec, errors);
    }
    for ip in spec.child("externalIPs").items() {
        ip.named(errors, names::ip);
    }
    only_outside(spec, errors);
    spec.child("internalTrafficPolicy")
        .one_of(errors, &["Cluster", "Local"]);
    let distribution = spec.child("trafficDistribution");
    distribution.one_of(errors, &["PreferClose", "PreferSameNode", "PreferSameZone"]);
}

fn external_name(spec: &At<'_>, errors: &mut Errors) {
    for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        let at = spec.child(field);
        if at.count() > 0 || !at.text().is_empty() {
            at.forbidden(errors, "may not be set for ExternalName services");
        }
    }
    let name = spec.child("externalName");
    let plain = name.text().strip_suffix('.').unwrap_or(name.text());
    if plain.is_empty() {
        return name.required(errors, "");
    }
    for why in names::dns1123_subdomain(plain) {
        name.invalid(errors, why);
    }
}

fn service_ports(spec: &At<'_>, errors: &mut Errors) {
    let ports = spec.child("ports");
    if !ports.at_most(errors, PORTS_MAX) {
        return;
    }
    let is_one = ports.count() == 1;
    let (mut found, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    let mut node_ports = BTreeSet::new();
    for port in ports.items() {
        let (name, protocol) = (port.child("name"), port.child("protocol"));
        if !is_one {
            name.needed(errors);
        }
        name.named_if_any(errors, names::dns1123_label);
        if !name.text().is_empty() && !found.insert(name.text()) {
            name.duplicate(errors);
        }
        let number = port.child("port").number().unwrap_or_default();
        port_number(&port.child("port"), number, errors);
        protocol.one_of(errors, &PROTOCOLS);
        if port.child("targetPort").is_present() {
            probe::port(&port.child("targetPort"), errors);
        }
        port.child("appProtocol")
            .named_if_any(errors, names::qualified_name);
        if !numbers.insert((protocol.text(), number)) {
            let value = json!({"protocol": protocol.value(), "port": number});
            errors.push(FieldError::duplicate(port.path(), &value));
        }
        let node_port = port.child("nodePort");
        let Some(number) = node_port.number().filter(|number| *number != 0) else {
            continue;
        };
        if spec.child("type").text() == "ClusterIP" {
            node_port.forbidden(errors, "may not be used when `type` is 'ClusterIP'");
        }
        port_number(&node_port, number, errors);
        if !node_ports.insert((protocol.text(), number)) {
            node_port.duplicate(errors);
        }
    }
}

fn affinity(spec: &At<'_>, errors: &mut Errors) {
    let (affinity, config) = (
        spec.child("sessionAffinity"),
        spec.child("sessionAffinityConfig"),
    );
    affinity.one_of(errors, &["ClientIP", "None"]);
    if affinity.text() == "None" && config.is_present() {
        config.forbidden(errors, "must not be set when session affinity is None");
    }
    let timeout = config.under(&["clientIP", "timeoutSeconds"]);
    let is_timeout = |seconds: i64| (1..=AFFINITY_S_MAX).contains(&seconds);
    if affinity.text() == "ClientIP" && timeout.number().is_some_and(|s| !is_timeout(s)) {
        timeout.invalid(
            errors,
            format!("must be greater than 0 and less than {AFFINITY_S_MAX}"),
        );
    }
}

fn addresses(spec: &At<'_>, errors: &mut Errors) {
    let (one, all) = (spec.child("clusterIP"), spec.child("clusterIPs"));
    let first = all.items().next().map(|ip| ip.text());
    match (one.text(), first) {
        ("", None) => {}
        ("", Some(_)) => all.invalid(errors, "must be empty when `clusterIP` is not specified"),
        (_, None) => all.required(errors, ""),
        (one, Some(first)) if one != first => {
            all.invalid(errors, "first value must match `clusterIP`");
        }
        _ => {}
    }
    for (index, ip) in all.items().enumerate() {
        if index == 0 && ip.text() == "None" {
            if all.count() > 1 {
                all.invalid(errors, "'None' must be the first and only value");
            }
        } else {
            ip.named(errors, names::ip);
        }
    }
    if all.count() > 2 {
        all.invalid(errors, "may only hold up to 2 values");
    }
    let mut found = BTreeSet::new();
    for family in spec.child("ipFamilies").items() {
        family.one_of(errors, &["IPv4", "IPv6"]);
        if !found.insert(family.text()) {
            family.duplicate(errors);
        }
    }
    let policy = spec.child("ipFamilyPolicy");
    policy.one_of(
        errors,
        &["PreferDualStack", "RequireDualStack", "SingleStack"],
    );
}

/// What makes sense only for services that are reached from outside.
fn only_outside(spec: &At<'_>, errors: &mut Errors) {
    let policy = spec.child("externalTrafficPolicy");
    if is_reached_outside(spec) {
        policy.one_of(errors, &["Cluster", "Local"]);
    } else if !policy.text().is_empty() {
        policy.invalid(errors, "may only be set for externally-accessible services");
    }
    let kind = spec.child("type").text();
    let check = spec.child("healthCheckNodePort");
    if let Some(number) = check.number().filter(|number| *number != 0) {
        if kind != "LoadBalancer" || policy.text() != "Local" {
            let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            check.invalid(errors, why);
        }
        port_number(&check, number, errors);
    }
    if kind == "LoadBalancer" {
        let class = spec.child("loadBalancerClass");
        return class.named_if_any(errors, names::qualified_name);
    }
    let balanced = [
        "allocateLoadBalancerNodePorts",
        "loadBalancerClass",
        "loadBalancerSourceRanges",
    ];
    for field in balanced {
        if spec.child(field).is_present() && *spec.child(field).value() != json!([]) {
            let why = "may only be used when `type` is 'LoadBalancer'";
            spec.child(field).forbidden(errors, why);
        }
    }
}

/// What of a Service can't be changed.
pub(super) fn service_update(spec: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let kinds = [spec, old].map(|one| one.child("type").text());
    let is_named = kinds.contains(&"ExternalName");
    if is_named || is_headless(spec) && is_headless(old) {
        return;
    }
    let told = |field: &str, index: usize| {
        let at = spec.child(field);
        at.at(&format!("{}[{index}]", at.path()))
    };
    let lists = |field: &str| -> [Vec<Value>; 2] {
        [spec, old].map(|one| {
            one.child(field)
                .items()
                .map(|item| item.value().clone())
                .collect()
        })
    };
    let [new_ips, old_ips] = lists("clusterIPs");
    if new_ips.is_empty() && !old_ips.is_empty() {
        told("clusterIPs", 0).invalid(errors, "primary clusterIP can not be unset");
    }
    for (index, (new, old)) in new_ips.iter().zip(&old_ips).enumerate() {
        if new != old {
            told("clusterIPs", index).invalid(errors, "may not change once set");
        }
    }
    if is_headless(spec) != is_headless(old) {
        return;
    }
    let [new_families, old_families] = lists("ipFamilies");
    let primary = (new_families.first(), old_families.first());
    if let (Some(new), Some(old)) = primary
        && new != old
    {
        told("ipFamilies", 0).invalid(errors, "may not change once set");
    }
    let class = spec.child("loadBalancerClass");
    let is_balanced = kinds.iter().all(|kind| *kind == "LoadBalancer");
    if is_balanced && class.value() != old.child("loadBalancerClass").value() {
        class.invalid(errors, "may not change once set");
    }
}

/// An EndpointSlice.
pub(super) fn endpoint_slice(slice: &At<'_>, errors: &mut Errors) {
    let kind = slice.child("addressType");
    if kind.text().is_empty() {
        kind.required(errors, "");
    } else {
        kind.one_of(errors, &["FQDN", "IPv4", "IPv6"]);
    }
    let (endpoints, ports) = (slice.child("endpoints"), slice.child("ports"));
    if endpoints.at_most(errors, ENDPOINTS_MAX) {
        endpoints
            .items()
            .for_each(|one| endpoint(&one, kind.text(), errors));
    }
    if !ports.at_most(errors, PORTS_MAX) {
        return;
    }
    let mut found = BTreeSet::new();
    for port in ports.items() {
        let name = port.child("name");
        name.named_if_any(errors, names::dns1123_label);
        if !found.insert(name.text()) {
            name.duplicate(errors);
        }
        port.child("protocol").one_of(errors, &PROTOCOLS);
        if let Some(number) = port.child("port").number() {
            port_number(&port.child("port"), number, errors);
        }
    }
}

fn endpoint(endpoint: &At<'_>, kind: &str, errors: &mut Errors) {
    const ADDRESSES_MAX: usize = 100;
    let addresses = endpoint.child("addresses");
    if addresses.count() == 0 {
        return addresses.required(errors, "must contain at least 1 address");
    }
    if !addresses.at_most(errors, ADDRESSES_MAX) {
        return;
    }
    for address in addresses.items() {
        match kind {
            "FQDN" => address.named(errors, names::dns1123_subdomain),
            _ => address.named(errors, names::ip),
        }
    }
    endpoint
        .child("hostname")
        .named_if_any(errors, names::dns1123_label);
    endpoint
        .child("nodeName")
        .named_if_any(errors, names::dns1123_subdomain);
}

/// Endpoints. Addresses of a machine's own are good, as in slices: a cluster may have only one.
pub(super) fn endpoints(endpoints: &At<'_>, errors: &mut Errors) {
    let subsets = endpoints.child("subsets");
    if !subsets.at_most(errors, ENDPOINTS_MAX) {
        return;
    }
    for subset in subsets.items() {
        let lists = ["addresses", "notReadyAddresses"].map(|field| subset.child(field));
        if lists.iter().all(|list| list.count() == 0) {
            subset.required(errors, "must specify `addresses` or `notReadyAddresses`");
        }
        for list in lists {
            if list.at_most(errors, ITEMS_MAX) {
                list.items().for_each(|one| subset_address(&one, errors));
            }
        }
        let ports = subset.child("ports");
        if ports.at_most(errors, PORTS_MAX) {
            let is_one = ports.count() == 1;
            ports
                .items()
                .for_each(|port| subset_port(&port, is_one, errors));
        }
    }
}

fn subset_address(address: &At<'_>, errors: &mut Errors) {
    address.child("ip").named(errors, names::ip);
    address
        .child("hostname")
        .named_if_any(errors, names::dns1123_label);
    address
        .child("nodeName")
        .named_if_any(errors, names::dns1123_subdomain);
}

fn subset_port(port: &At<'_>, is_one: bool, errors: &mut Errors) {
    let name = port.child("name");
    if !is_one {
        name.needed(errors);
    }
    name.named_if_any(errors, names::dns1123_label);
    let number = port.child("port").number().unwrap_or_default();
    port_number(&port.child("port"), number, errors);
    port.child("protocol").one_of(errors, &PROTOCOLS);
    port.child("appProtocol")
        .named_if_any(errors, names::qualified_name);
}
