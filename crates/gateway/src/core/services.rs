//! What Services, their EndpointSlices and Ingresses ask of a gateway: for each port a listener at
//! the Service's own address, and for node ports one at the node's; behind them a cluster of the
//! endpoints that are ready (Kubernetes documentation, "Virtual IPs and Service Proxies"). Each
//! path of an Ingress is a route to a Service's cluster, from one HTTP listener for all.
//!
//! Objects come in as JSON that has been validated; what is not as it should be is left out.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use serde_json::Value;

use super::config::{
    Backend, Cluster, Config, ENDPOINTS_MAX, Endpoint, HashKey, HostMatch, Listener,
    ListenerLimits, PathMatch, Policy, Protocol, Route,
};

/// So many listeners a gateway opens for Services; more are left out.
pub const LISTENERS_MAX: usize = 10_000;

/// So many routes a gateway has; more are left out.
pub const ROUTES_MAX: usize = 10_000;
/// The listener of all Ingresses.
const HTTP: &str = "http";

/// Where a node listens for those from outside.
#[derive(Clone, Debug)]
pub struct Doors {
    /// For node ports: a name or an address, in brackets if it is of version 6.
    pub host: String,
    /// For Ingresses: `host:port`.
    pub http: String,
}

/// What a gateway does for Services and Ingresses.
pub fn config(
    services: &[Arc<Value>],
    slices: &[Arc<Value>],
    ingresses: &[Arc<Value>],
    doors: &Doors,
) -> Config {
    let mut by_service: BTreeMap<(&str, &str), Vec<&Value>> = BTreeMap::new();
    for slice in slices {
        let labels = &slice["metadata"]["labels"];
        if let Some(service) = labels["kubernetes.io/service-name"].as_str() {
            let key = (text(&slice["metadata"]["namespace"]), service);
            by_service.entry(key).or_default().push(slice);
        }
    }
    let mut config = Config::default();
    for service in services {
        let meta = &service["metadata"];
        let key = (text(&meta["namespace"]), text(&meta["name"]));
        let slices = by_service.get(&key).map_or(&[][..], Vec::as_slice);
        add(&mut config, service, key, slices, &doors.host);
    }
    for ingress in ingresses {
        let namespace = text(&ingress["metadata"]["namespace"]);
        add_routes(&mut config, services, ingress, namespace);
    }
    if !config.routes.is_empty() {
        config.listeners.push(Listener {
            name: HTTP.to_owned(),
            address: doors.http.clone(),
            protocol: Protocol::Http {
                tls: None,
                trusts_forwarded: false,
            },
            expects_proxy_header: false,
            limits: ListenerLimits::default(),
        });
    }
    config
}

/// The routes of an Ingress; what leads to a Service that is not there leads nowhere.
fn add_routes(config: &mut Config, services: &[Arc<Value>], ingress: &Value, namespace: &str) {
    let spec = &ingress["spec"];
    let mut routes = Vec::new();
    for rule in list(&spec["rules"]) {
        let host = match text(&rule["host"]) {
            "" => HostMatch::Any,
            host => match host.strip_prefix("*.") {
                Some(rest) => HostMatch::Wildcard(rest.to_owned()),
                None => HostMatch::Exact(host.to_owned()),
            },
        };
        for path in list(&rule["http"]["paths"]) {
            let at = match text(&path["path"]) {
                "" => "/",
                at => at,
            };
            let matched = match text(&path["pathType"]) {
                "Exact" => PathMatch::Exact(at.to_owned()),
                _ => PathMatch::Prefix(at.to_owned()),
            };
            routes.push((host.clone(), matched, &path["backend"]));
        }
    }
    if spec["defaultBackend"].is_object() {
        let all = PathMatch::Prefix("/".to_owned());
        routes.push((HostMatch::Any, all, &spec["defaultBackend"]));
    }
    for (host, path, backend) in routes {
        let cluster = cluster_of(services, namespace, &backend["service"]);
        let cluster = cluster.filter(|name| config.clusters.contains_key(name));
        if let Some(cluster) = cluster
            && config.routes.len() < ROUTES_MAX
        {
            config.routes.push(Route {
                host,
                path,
                headers: Vec::new(),
                method: None,
                cluster,
            });
        }
    }
}

/// The name of the cluster of a Service's port, which is named or numbered.
fn cluster_of(services: &[Arc<Value>], namespace: &str, backend: &Value) -> Option<String> {
    let name = text(&backend["name"]);
    let is_it = |service: &&Arc<Value>| {
        let meta = &service["metadata"];
        meta["namespace"] == namespace && meta["name"] == name
    };
    let service = services.iter().find(is_it)?;
    let wanted = &backend["port"];
    let mut ports = list(&service["spec"]["ports"]);
    let port = match wanted["name"].as_str() {
        Some(wanted) => ports.find(|port| port["name"] == wanted),
        None => ports.find(|port| port["port"] == wanted["number"]),
    };
    let number = port_number(&port?["port"])?;
    Some(format!("{namespace}/{name}/{number}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn add(
    config: &mut Config,
    service: &Value,
    (namespace, name): (&str, &str),
    slices: &[&Value],
    host: &str,
) {
    let spec = &service["spec"];
    if spec["type"] == "ExternalName" {
        return;
    }
    let own = text(&spec["clusterIP"]);
    for port in list(&spec["ports"]) {
        let Some(number) = port_number(&port["port"]) else {
            continue;
        };
        if port["protocol"]
            .as_str()
            .is_some_and(|protocol| protocol != "TCP")
        {
            continue;
        }
        let cluster = format!("{namespace}/{name}/{number}");
        let made = Cluster {
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
        };
        // Before the listeners, which name it.
        config.clusters.insert(cluster.clone(), made);
        let mut addresses = Vec::new();
        if own.parse::<std::net::IpAddr>().is_ok() {
            addresses.push((cluster.clone(), format!("{own}:{number}")));
        }
        if let Some(node_port) = port_number(&port["nodePort"]) {
            let listener = format!("{cluster} node port {node_port}");
            addresses.push((listener, format!("{host}:{node_port}")));
        }
        for (name, address) in addresses {
            if config.listeners.len() == LISTENERS_MAX {
                return;
            }
            config.listeners.push(Listener {
                name,
                address,
                protocol: Protocol::Tcp {
                    cluster: cluster.clone(),
                },
                expects_proxy_header: false,
                limits: ListenerLimits::default(),
            });
        }
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service() -> Value {
        json!({
            "metadata": {"namespace": "default", "name": "web"},
            "spec": {"clusterIP": "127.64.0.9", "ports": [
                {"name": "http", "port": 80, "nodePort": 30080, "protocol": "TCP"},
                {"name": "dns", "port": 53, "protocol": "UDP"},
            ]},
        })
    }

    fn slice(endpoints: Value) -> Value {
        json!({
            "metadata": {"namespace": "default",
                "labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": endpoints,
        })
    }

    fn made(service: Value, slices: Vec<Value>) -> Config {
        let slices: Vec<_> = slices.into_iter().map(Arc::new).collect();
        let config = config(&[Arc::new(service)], &slices, &[], &doors());
        config.check().unwrap();
        config
    }

    fn doors() -> Doors {
        Doors {
            host: "127.0.0.1".to_owned(),
            http: "127.0.0.1:8080".to_owned(),
        }
    }

    #[test]
    fn paths_of_ingresses_lead_to_services() {
        let backend = |port: Value| json!({"service": {"name": "web", "port": port}});
        let ingress = json!({
            "metadata": {"namespace": "default", "name": "i"},
            "spec": {
                "defaultBackend": backend(json!({"number": 80})),
                "rules": [
                    {"host": "a.example", "http": {"paths": [
                        {"path": "/x", "pathType": "Exact", "backend": backend(json!({"name": "http"}))},
                        {"path": "/y", "pathType": "Prefix", "backend": backend(json!({"number": 9}))},
                    ]}},
                    {"host": "*.b.example", "http": {"paths": [
                        {"pathType": "Prefix", "backend": backend(json!({"number": 80}))}]}},
                ],
            },
        });
        let service = Arc::new(service());
        let made = config(&[service], &[], &[Arc::new(ingress)], &doors());
        made.check().unwrap();
        let told: Vec<_> = made
            .routes
            .iter()
            .map(|it| (it.host.clone(), it.path.clone()))
            .collect();
        let all = PathMatch::Prefix("/".to_owned());
        assert_eq!(
            told,
            [
                (
                    HostMatch::Exact("a.example".to_owned()),
                    PathMatch::Exact("/x".to_owned())
                ),
                (HostMatch::Wildcard("b.example".to_owned()), all.clone()),
                (HostMatch::Any, all),
            ]
        );
        assert_eq!(made.listeners.last().unwrap().address, "127.0.0.1:8080");
    }

    fn told(config: &Config) -> Vec<String> {
        let cluster = &config.clusters["default/web/80"];
        cluster
            .endpoints
            .iter()
            .map(|it| it.address.to_string())
            .collect()
    }

    #[test]
    fn a_service_has_a_listener_for_each_way_in() {
        let config = made(service(), vec![slice(json!([{"addresses": ["10.0.0.1"]}]))]);
        let addresses: Vec<_> = config.listeners.iter().map(|it| &*it.address).collect();
        assert_eq!(addresses, ["127.64.0.9:80", "127.0.0.1:30080"]);
        assert_eq!(told(&config), ["10.0.0.1:8080"]);
        let mut headless = service();
        headless["spec"]["clusterIP"] = json!("None");
        headless["spec"]["ports"][0]["nodePort"] = Value::Null;
        assert!(made(headless, Vec::new()).listeners.is_empty());
    }

    #[test]
    fn who_is_not_ready_gets_nothing_unless_nobody_is() {
        let ready = json!({"addresses": ["10.0.0.1"], "conditions": {"ready": true}});
        let ending = json!({"addresses": ["10.0.0.2"],
            "conditions": {"ready": false, "serving": true, "terminating": true}});
        let down = json!({"addresses": ["10.0.0.3"], "conditions": {"ready": false}});
        let all = slice(json!([ready, ending, down]));
        assert_eq!(told(&made(service(), vec![all])), ["10.0.0.1:8080"]);
        let few = slice(json!([ending, down]));
        assert_eq!(told(&made(service(), vec![few])), ["10.0.0.2:8080"]);
    }

    #[test]
    fn endpoints_of_several_slices_have_ports_of_their_own() {
        let one = slice(json!([{"addresses": ["127.0.0.1"]}]));
        let mut other = one.clone();
        other["ports"][0]["port"] = json!(8081);
        let config = made(service(), vec![one.clone(), other, one]);
        assert_eq!(told(&config), ["127.0.0.1:8080", "127.0.0.1:8081"]);
    }

    #[test]
    fn affinity_is_by_address() {
        let mut sticky = service();
        sticky["spec"]["sessionAffinity"] = json!("ClientIP");
        let config = made(sticky, Vec::new());
        let policy = &config.clusters["default/web/80"].policy;
        assert_eq!(*policy, Policy::Maglev(HashKey::Source));
    }
}
