//! Variables that tell where services are: `WEB_SERVICE_HOST`, `WEB_SERVICE_PORT`, and those of
//! container links (Kubernetes' "Service", "Environment variables").

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use crate::core::object::{self, name, namespace};

/// The service of the API itself, which all pods know.
const API: (&str, &str) = ("default", "kubernetes");

/// Of all services that a pod is told of.
pub(super) fn variables(pod: &Value, services: &[Arc<Value>]) -> BTreeMap<String, String> {
    let has_links = pod["spec"]["enableServiceLinks"] != false;
    let is_api = |service: &Value| (namespace(service), name(service)) == API;
    let is_own = |service: &Value| has_links && namespace(service) == namespace(pod);
    let mut env = BTreeMap::new();
    // A service of the pod's own namespace goes over the API's.
    for service in services.iter().filter(|service| is_api(service)) {
        add(&mut env, service);
    }
    for service in services.iter().filter(|service| is_own(service)) {
        add(&mut env, service);
    }
    env
}

fn add(env: &mut BTreeMap<String, String>, service: &Value) {
    let ip = service["spec"]["clusterIP"].as_str().unwrap_or_default();
    if ip.is_empty() || ip == "None" {
        return;
    }
    let own = variable(name(service));
    let mut set = |name: String, value: String| env.insert(name, value);
    for (at, port) in object::items(&service["spec"]["ports"]).enumerate() {
        let number = port["port"].as_i64().unwrap_or(0);
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        let low = protocol.to_lowercase();
        let url = format!("{low}://{ip}:{number}");
        if at == 0 {
            set(format!("{own}_SERVICE_HOST"), ip.to_owned());
            set(format!("{own}_SERVICE_PORT"), number.to_string());
            set(format!("{own}_PORT"), url.clone());
        }
        if let Some(name) = port["name"].as_str().filter(|name| !name.is_empty()) {
            set(
                format!("{own}_SERVICE_PORT_{}", variable(name)),
                number.to_string(),
            );
        }
        let link = format!("{own}_PORT_{number}_{}", protocol.to_uppercase());
        set(format!("{link}_PROTO"), low);
        set(format!("{link}_PORT"), number.to_string());
        set(format!("{link}_ADDR"), ip.to_owned());
        set(link, url);
    }
}

/// `my-db.x` as `MY_DB_X`; no variable begins with a digit.
fn variable(name: &str) -> String {
    let name = name.to_uppercase().replace(['-', '.'], "_");
    match name.starts_with(|first: char| first.is_ascii_digit()) {
        true => format!("_{name}"),
        false => name,
    }
}
