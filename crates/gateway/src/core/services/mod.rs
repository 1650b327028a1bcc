//! What Services, their EndpointSlices and Ingresses ask of a gateway: for each port a listener at
//! the Service's own address, and for node ports one at the node's; behind them a cluster of the
//! endpoints that are ready (Kubernetes documentation, "Virtual IPs and Service Proxies"). Host
//! ports of pods have a listener at the node that runs them (`host_ports.rs`). Each
//! path of an Ingress is a route to a Service's cluster, from the HTTP listeners of all
//! (`ingress.rs`).
//!
//! Objects come in as JSON that has been validated; what is not as it should be is left out, and
//! told where people wrote it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use serde_json::Value;

use super::{
    config::{
        Backend, Cluster, Config, ENDPOINTS_MAX, Endpoint, HashKey, Listener, Policy, Protocol,
    },
    sources::{NETWORKS_MAX, Sources},
};

mod annotations;
mod backend_tls;
mod health;
mod host_ports;
mod ingress;
mod matches;
mod secrets;
#[cfg(test)]
mod tests;
mod wishes;
mod written;

pub(super) use annotations::{balancer, hash_key, rate_key, realm};
pub(super) use backend_tls::{backend_name, service_name};
use wishes::Wishes;

pub use ingress::ROUTES_MAX;
pub(super) use matches::method;
pub(super) use secrets::with_cause;

/// So many listeners a gateway opens for Services; more are left out.
pub const LISTENERS_MAX: usize = 10_000;
/// So many problems are told; more are left out.
pub const PROBLEMS_MAX: usize = 100;

/// The objects of a cluster that a gateway has to do with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Objects<'a> {
    /// Of kind Service.
    pub services: &'a [Arc<Value>],
    /// Of kind EndpointSlice.
    pub slices: &'a [Arc<Value>],
    /// Of kind Ingress.
    pub ingresses: &'a [Arc<Value>],
    /// Of kind Secret: at least those that Ingresses name.
    pub secrets: &'a [Arc<Value>],
    /// Of kind Pod: at least those of this node that have host ports, and no other node's.
    pub pods: &'a [Arc<Value>],
}

/// Where a node listens for those from outside. Hosts are names or addresses, in brackets if
/// they are of version 6.
#[derive(Clone, Debug)]
pub struct Doors {
    /// For node ports, and for host ports of pods that name no other address.
    pub host: String,
    /// For ports of Services of type LoadBalancer; `None`: their node ports have to do, since
    /// programs of the node may want the same ports for themselves.
    pub balancer: Option<String>,
    /// For Ingresses: `host:port`.
    pub http: String,
    /// For Ingresses with TLS: `host:port`; `None`: there is no TLS.
    pub https: Option<String>,
}

/// What was made of objects.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// What the gateway is to do.
    pub config: Config,
    /// What people have to mend, each with the object that it stands in.
    pub problems: Vec<String>,
}

impl Made {
    fn tell(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }
}

/// Namespace and name.
type Key<'a> = (&'a str, &'a str);

/// Objects by their names.
pub(super) struct Index<'a> {
    services: BTreeMap<Key<'a>, &'a Value>,
    secrets: BTreeMap<Key<'a>, &'a Value>,
}

impl<'a> Index<'a> {
    pub(super) fn new(objects: &Objects<'a>) -> Self {
        let by_name = |list: &'a [Arc<Value>]| list.iter().map(|it| (key(it), &**it)).collect();
        Index {
            services: by_name(objects.services),
            secrets: by_name(objects.secrets),
        }
    }

    /// The name of the cluster of a Service's port, which is named or numbered.
    pub(super) fn cluster(&self, service: Key<'_>, port: Port<'_>) -> Option<String> {
        let found = self.services.get(&service)?;
        let mut ports = list(&found["spec"]["ports"]);
        let port = match port {
            Port::Name(name) => ports.find(|it| it["name"] == name),
            Port::Number(number) => ports.find(|it| it["port"] == number),
        };
        let (namespace, name) = service;
        let number = port_number(&port?["port"])?;
        Some(cluster_name(namespace, name, number))
    }
}

/// A port of a Service.
#[derive(Clone, Copy, Debug)]
pub(super) enum Port<'a> {
    Name(&'a str),
    Number(u64),
}

fn key(object: &Value) -> Key<'_> {
    let meta = &object["metadata"];
    (text(&meta["namespace"]), text(&meta["name"]))
}

fn cluster_name(namespace: &str, service: &str, port: u16) -> String {
    format!("{namespace}/{service}/{port}")
}

/// What a gateway does for Services and Ingresses.
pub fn config(objects: &Objects<'_>, doors: &Doors) -> Made {
    let mut by_service: BTreeMap<Key<'_>, Vec<&Value>> = BTreeMap::new();
    for slice in objects.slices {
        let labels = &slice["metadata"]["labels"];
        if let Some(service) = labels["kubernetes.io/service-name"].as_str() {
            let key = (text(&slice["metadata"]["namespace"]), service);
            by_service.entry(key).or_default().push(slice);
        }
    }
    let mut made = Made::default();
    let index = Index::new(objects);
    for service in objects.services {
        let slices = by_service.get(&key(service));
        add(
            &mut made,
            service,
            slices.map_or(&[][..], Vec::as_slice),
            &index,
            doors,
        );
    }
    for pod in objects.pods {
        host_ports::add(&mut made, pod, doors);
    }
    ingress::add(&mut made, objects.ingresses, &index, doors);
    made
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn add(made: &mut Made, service: &Value, slices: &[&Value], index: &Index<'_>, doors: &Doors) {
    let spec = &service["spec"];
    if spec["type"] == "ExternalName" {
        return;
    }
    let (namespace, name) = key(service);
    let from_outside = sources(made, service);
    let wishes = Wishes::of(service, index);
    for problem in &wishes.problems {
        made.tell(format!("Service {namespace}/{name}: {problem}"));
    }
    for port in list(&spec["ports"]) {
        let Some(number) = port_number(&port["port"]) else {
            continue;
        };
        if port["protocol"].as_str().is_some_and(|it| it != "TCP") {
            continue;
        }
        let cluster = cluster_name(namespace, name, number);
        let config = &mut made.config;
        // Before the listeners, which name it.
        let mut served = served(spec, port, slices);
        wishes.change(&mut served);
        config.clusters.insert(cluster.clone(), served);
        for (name, address, is_outside) in ways(spec, port, number, &cluster, doors) {
            if config.listeners.len() == LISTENERS_MAX {
                return;
            }
            let protocol = Protocol::Tcp {
                cluster: cluster.clone(),
            };
            let mut listener = Listener::new(&name, &address, protocol);
            if is_outside {
                listener.sources = from_outside.clone();
            }
            config.listeners.push(listener);
        }
    }
}

/// The cluster of a Service's port.
fn served(spec: &Value, port: &Value, slices: &[&Value]) -> Cluster {
    Cluster {
        endpoints: endpoints(slices, text(&port["name"])),
        backend: match text(&port["appProtocol"]) {
            "kubernetes.io/h2c" => Backend::Http2,
            _ => Backend::Http1,
        },
        policy: match text(&spec["sessionAffinity"]) {
            "ClientIP" => Policy::Maglev(HashKey::Source),
            _ => Policy::LeastRequests,
        },
        ..Cluster::default()
    }
}

/// Where a port of a Service is listened for: a name, an address, and whether it is for those
/// from outside.
fn ways(
    spec: &Value,
    port: &Value,
    number: u16,
    cluster: &str,
    doors: &Doors,
) -> Vec<(String, String, bool)> {
    let mut ways = Vec::new();
    let own = text(&spec["clusterIP"]);
    if own.parse::<IpAddr>().is_ok() {
        ways.push((cluster.to_owned(), format!("{own}:{number}"), false));
    }
    if let Some(node_port) = port_number(&port["nodePort"]) {
        let name = format!("{cluster} node port {node_port}");
        ways.push((name, format!("{}:{node_port}", doors.host), true));
    }
    let is_balanced = spec["type"] == "LoadBalancer" && spec["loadBalancerClass"].is_null();
    if let Some(host) = doors.balancer.as_ref().filter(|_| is_balanced) {
        let name = format!("{cluster} load balancer");
        ways.push((name, format!("{host}:{number}"), true));
    }
    ways
}

/// Who may come from outside (`spec.loadBalancerSourceRanges`). One that can't be read allows
/// nobody instead of everybody.
fn sources(made: &mut Made, service: &Value) -> Sources {
    let ranges = list(&service["spec"]["loadBalancerSourceRanges"]).take(NETWORKS_MAX);
    let mut sources = Sources::default();
    let mut is_asked = false;
    for range in ranges {
        is_asked = true;
        match text(range).trim().parse() {
            Ok(network) => sources.allow.push(network),
            Err(error) => {
                let (namespace, name) = key(service);
                made.tell(format!(
                    "Service {namespace}/{name}: spec.loadBalancerSourceRanges: {error}"
                ));
            }
        }
    }
    if is_asked && sources.allow.is_empty() {
        let all = ["0.0.0.0/0", "::/0"];
        sources.deny = all.map(|it| it.parse().expect("it is a network")).to_vec();
    }
    sources
}

fn port_number(value: &Value) -> Option<u16> {
    let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
    number.filter(|number| *number > 0)
}

/// Those that answer for a port of a Service; while none is ready, those that still serve although
/// they are ending.
fn endpoints(slices: &[&Value], port: &str) -> Vec<Endpoint> {
    let (mut ready, mut ending) = (Vec::new(), Vec::new());
    for slice in slices {
        let number = list(&slice["ports"])
            .find(|it| text(&it["name"]) == port)
            .and_then(|it| port_number(&it["port"]));
        let Some(number) = number else { continue };
        for endpoint in list(&slice["endpoints"]) {
            let conditions = &endpoint["conditions"];
            // Nothing said is ready.
            let is_ready = conditions["ready"] != false;
            let serves = conditions["serving"].as_bool().unwrap_or(is_ready);
            let addresses = list(&endpoint["addresses"]).filter_map(|it| text(it).parse().ok());
            let found = addresses.map(|ip| Endpoint {
                zone: endpoint["zone"].as_str().map(str::to_owned),
                ..Endpoint::new(SocketAddr::new(ip, number))
            });
            match (is_ready, serves) {
                (true, _) => ready.extend(found),
                (false, true) => ending.extend(found.map(|it| Endpoint {
                    is_draining: true,
                    ..it
                })),
                (false, false) => {}
            }
        }
    }
    let mut chosen = if ready.is_empty() { ending } else { ready };
    chosen.sort_by_key(|endpoint| endpoint.address);
    chosen.dedup_by_key(|endpoint| endpoint.address);
    chosen.truncate(ENDPOINTS_MAX);
    chosen
}
