//! How programs are reached: services, their endpoints, ingresses.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    AGE, Column, NAME, Printer,
    age::age,
    cells::{NONE, UNKNOWN, UNSET, few, items, joined, labels, number, text, text_or},
};
use crate::core::object::name;

pub(super) static SERVICES: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Type", "From where it is reached."),
        Column::text("Cluster-IP", "Its address inside the cluster."),
        Column::text("External-IP", "Its addresses for the outside."),
        Column::text("Port(s)", "Its ports."),
        AGE,
        Column::text("Selector", "Which pods it leads to.").wide(),
    ],
    cells: |service, now_ms| {
        let spec = &service["spec"];
        let cluster_ip = text_or(&spec["clusterIPs"][0], text_or(&spec["clusterIP"], NONE));
        vec![
            name(service).into(),
            text(&spec["type"]).into(),
            cluster_ip.into(),
            external_ip(service).into(),
            service_ports(spec).into(),
            age(service, now_ms),
            labels(&spec["selector"]).into(),
        ]
    },
};

pub(super) static ENDPOINTS: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Endpoints", "Addresses and ports of its pods."),
        AGE,
    ],
    cells: |object, now_ms| {
        vec![
            name(object).into(),
            endpoints(object).into(),
            age(object, now_ms),
        ]
    },
};

pub(super) static ENDPOINT_SLICES: Printer = Printer {
    columns: &[
        NAME,
        Column::text("AddressType", "What its addresses are."),
        Column::text("Ports", "The ports of every endpoint."),
        Column::text("Endpoints", "The addresses."),
        AGE,
    ],
    cells: |slice, now_ms| {
        let ports = items(&slice["ports"])
            .iter()
            .map(|port| match port["port"].as_i64() {
                Some(number) => number.to_string(),
                None => port["name"].as_str().unwrap_or("*").to_owned(),
            });
        let endpoints = items(&slice["endpoints"]).iter();
        let addresses = endpoints.flat_map(|endpoint| items(&endpoint["addresses"]));
        vec![
            name(slice).into(),
            text(&slice["addressType"]).into(),
            few_or_unset(ports.collect()).into(),
            few_or_unset(addresses.map(|address| text(address).to_owned()).collect()).into(),
            age(slice, now_ms),
        ]
    },
};

pub(super) static INGRESSES: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Class", "The class of controllers that serve it."),
        Column::text("Hosts", "The hosts whose requests it takes."),
        Column::text("Address", "Where it is reached."),
        Column::text("Ports", "Its ports; 443 if it has TLS."),
        AGE,
    ],
    cells: |ingress, now_ms| {
        let spec = &ingress["spec"];
        let has_tls = !items(&spec["tls"]).is_empty();
        vec![
            name(ingress).into(),
            text_or(&spec["ingressClassName"], NONE).into(),
            hosts(spec).into(),
            balancer(ingress).into(),
            if has_tls { "80, 443" } else { "80" }.into(),
            age(ingress, now_ms),
        ]
    },
};

fn few_or_unset(all: Vec<String>) -> String {
    match few(&all) {
        none if none.is_empty() => UNSET.to_owned(),
        told => told,
    }
}

/// What a load balancer has been given, in order.
fn balancer(object: &Value) -> String {
    let given = items(&object["status"]["loadBalancer"]["ingress"]).iter();
    let given: BTreeSet<&str> = given
        .map(|one| text_or(&one["ip"], text(&one["hostname"])))
        .filter(|address| !address.is_empty())
        .collect();
    joined(given)
}

fn external_ip(service: &Value) -> String {
    let spec = &service["spec"];
    let external = joined(items(&spec["externalIPs"]).iter().map(text));
    let balancer = balancer(service);
    match (text(&spec["type"]), external.as_str(), balancer.as_str()) {
        ("ExternalName", ..) => text(&spec["externalName"]).to_owned(),
        ("ClusterIP" | "NodePort", "", _) => NONE.to_owned(),
        ("ClusterIP" | "NodePort", ..) => external,
        ("LoadBalancer", "", "") => "<pending>".to_owned(),
        ("LoadBalancer", "", _) => balancer,
        ("LoadBalancer", _, "") => external,
        ("LoadBalancer", ..) => format!("{balancer},{external}"),
        _ => UNKNOWN.to_owned(),
    }
}

fn service_ports(spec: &Value) -> String {
    let port = |port: &Value| {
        let (number, protocol) = (number(&port["port"]), text_or(&port["protocol"], "TCP"));
        match port["nodePort"].as_i64() {
            Some(node_port) if node_port > 0 => format!("{number}:{node_port}/{protocol}"),
            _ => format!("{number}/{protocol}"),
        }
    };
    let ports: Vec<String> = items(&spec["ports"]).iter().map(port).collect();
    match ports.is_empty() {
        true => NONE.to_owned(),
        false => ports.join(","),
    }
}

/// `10.0.0.1:80`, `[fd00::1]:80`, or addresses alone where there are no ports.
fn endpoints(object: &Value) -> String {
    let subsets = items(&object["subsets"]);
    if subsets.is_empty() {
        return NONE.to_owned();
    }
    let mut all = Vec::new();
    for subset in subsets {
        let addresses: Vec<&str> = items(&subset["addresses"])
            .iter()
            .map(|address| text(&address["ip"]))
            .collect();
        let ports = items(&subset["ports"]);
        if ports.is_empty() {
            all.extend(addresses.iter().map(|&address| address.to_owned()));
        }
        for port in ports {
            let port = number(&port["port"]);
            all.extend(addresses.iter().map(|address| match address.contains(':') {
                true => format!("[{address}]:{port}"),
                false => format!("{address}:{port}"),
            }));
        }
    }
    few(&all)
}

fn hosts(spec: &Value) -> String {
    let rules = items(&spec["rules"]).iter().map(|rule| text(&rule["host"]));
    let hosts: Vec<String> = rules
        .filter(|host| !host.is_empty())
        .map(str::to_owned)
        .collect();
    match hosts.is_empty() {
        true => "*".to_owned(),
        false => few(&hosts),
    }
}
