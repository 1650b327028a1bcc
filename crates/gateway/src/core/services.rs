//! What Services and their EndpointSlices ask of a gateway: for each port a listener at the
//! Service's own address, and for node ports one at the node's; behind them a cluster of the
//! endpoints that are ready (Kubernetes documentation, "Virtual IPs and Service Proxies").
//!
//! Objects come in as JSON that has been validated; what is not as it should be is left out.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use serde_json::Value;

use super::config::{
    Cluster, Config, ENDPOINTS_MAX, Endpoint, HashKey, Listener, ListenerLimits, Policy, Protocol,
};

/// So many listeners a gateway opens for Services; more are left out.
pub const LISTENERS_MAX: usize = 10_000;

/// What a gateway does for Services. `host` is where a node listens for those from outside: a
/// name or an address, in brackets if it is of version 6.
pub fn config(services: &[Arc<Value>], slices: &[Arc<Value>], host: &str) -> Config {
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
        add(&mut config, service, key, slices, host);
    }
    config
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
        let made = Cluster {
            endpoints: endpoints(slices, text(&port["name"])),
            policy: match text(&spec["sessionAffinity"]) {
                "ClientIP" => Policy::Maglev(HashKey::Source),
                _ => Policy::LeastRequests,
            },
            ..Cluster::default()
        };
        config.clusters.insert(cluster, made);
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
        let config = config(&[Arc::new(service)], &slices, "127.0.0.1");
        config.check().unwrap();
        config
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
