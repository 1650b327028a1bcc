//! Nodes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    AGE, Column, NAME, Printer,
    age::age,
    cells::{NONE, UNKNOWN, condition, items, joined, text, text_or},
};
use crate::core::object::name;

/// The label of a role is this and the role.
const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
/// The label whose value is a role.
const ROLE: &str = "kubernetes.io/role";

pub(super) static NODES: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Status", "Whether it is ready and takes pods."),
        Column::text("Roles", "Its roles, as its labels tell."),
        AGE,
        Column::text("Version", "The version of its agent."),
        Column::text("Internal-IP", "Its address inside the cluster.").wide(),
        Column::text("External-IP", "Its address for the outside.").wide(),
        Column::text("OS-Image", "Its operating system.").wide(),
        Column::text("Kernel-Version", "The version of its kernel.").wide(),
        Column::text("Container-Runtime", "What runs its containers.").wide(),
    ],
    cells,
};

fn cells(node: &Value, now_ms: u64) -> Vec<Value> {
    let info = &node["status"]["nodeInfo"];
    vec![
        name(node).into(),
        status(node).into(),
        roles(node).into(),
        age(node, now_ms),
        text(&info["kubeletVersion"]).into(),
        address(node, "InternalIP").into(),
        address(node, "ExternalIP").into(),
        text_or(&info["osImage"], UNKNOWN).into(),
        text_or(&info["kernelVersion"], UNKNOWN).into(),
        text_or(&info["containerRuntimeVersion"], UNKNOWN).into(),
    ]
}

fn status(node: &Value) -> String {
    let ready = match condition(node, "Ready") {
        Some(ready) if ready["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    match node["spec"]["unschedulable"] == true {
        true => format!("{ready},SchedulingDisabled"),
        false => ready.to_owned(),
    }
}

fn roles(node: &Value) -> String {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let roles: BTreeSet<&str> = labels
        .map(|(key, value)| match key.strip_prefix(ROLE_PREFIX) {
            Some(role) => role,
            None if key == ROLE => text(value),
            None => "",
        })
        .filter(|role| !role.is_empty())
        .collect();
    match roles.is_empty() {
        true => NONE.to_owned(),
        false => joined(roles),
    }
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    let mut addresses = items(&node["status"]["addresses"]).iter();
    let found = addresses.find(|address| address["type"] == kind);
    found.map_or(NONE, |address| text(&address["address"]))
}
