//! `hostPort`: ports of this node that lead to containers of pods which run here and have an
//! address of their own. A pod whose address is the node's has its ports on the machine already.
//!
//! A listener is known by its pod and its address, so that connections and their endpoint are the
//! same ones whatever else about the pod changes.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::{Doors, LISTENERS_MAX, Made, key, list, port_number, text};
use crate::core::config::{Cluster, Endpoint, Listener, Protocol};

/// Adds the listeners for a pod of this node.
pub(super) fn add(made: &mut Made, pod: &Value, doors: &Doors) {
    let Some(own) = own_address(pod) else { return };
    let (namespace, name) = key(pod);
    for port in ports(pod) {
        let (Some(outside), Some(inside)) = (
            port_number(&port["hostPort"]),
            port_number(&port["containerPort"]),
        ) else {
            continue;
        };
        let host = match text(&port["hostIP"]).parse() {
            Ok(IpAddr::V4(ip)) => ip.to_string(),
            Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
            Err(_) => doors.host.clone(),
        };
        let address = format!("{host}:{outside}");
        let name = format!("pod {namespace}/{name} host port {address}");
        let config = &mut made.config;
        let is_known = config.clusters.contains_key(&name);
        if is_known || config.listeners.len() == LISTENERS_MAX {
            continue;
        }
        let cluster = Cluster {
            endpoints: vec![Endpoint::new(SocketAddr::new(own, inside))],
            ..Cluster::default()
        };
        config.clusters.insert(name.clone(), cluster);
        let protocol = Protocol::Tcp {
            cluster: name.clone(),
        };
        config
            .listeners
            .push(Listener::new(&name, &address, protocol));
    }
}

/// The address of a pod that has another one than its node, as long as it runs.
fn own_address(pod: &Value) -> Option<IpAddr> {
    let status = &pod["status"];
    let is_over = matches!(text(&status["phase"]), "Succeeded" | "Failed");
    if is_over || pod["spec"]["hostNetwork"] == true {
        return None;
    }
    let own = text(&status["podIP"]).parse().ok()?;
    let node: Option<IpAddr> = text(&status["hostIP"]).parse().ok();
    node.filter(|node| *node != own).map(|_| own)
}

/// The ports of TCP that a pod's containers declare, those of sidecars, too.
fn ports(pod: &Value) -> impl Iterator<Item = &Value> {
    let spec = &pod["spec"];
    let is_sidecar = |it: &&Value| it["restartPolicy"] == "Always";
    let sidecars = list(&spec["initContainers"]).filter(is_sidecar);
    let all = list(&spec["containers"]).chain(sidecars);
    all.flat_map(|container| list(&container["ports"]))
        .filter(|port| port["protocol"].as_str().is_none_or(|it| it == "TCP"))
}
