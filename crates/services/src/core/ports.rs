//! Ports of pods whose programs share their machine's network. Two such pods can't both have port
//! 8080 of a machine; one that carries the annotation `atoll.dev/free-ports: "true"` takes any
//! free ports in place of those that its containers declare. The agent finds them, notes them in
//! the annotation `atoll.dev/ports`, from where Services know them, and runs the pod as if it had
//! declared them: `PORT`, and probes, are the real ones.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{object, pod_network};

/// Says that any free ports will do.
pub const FREE: &str = "atoll.dev/free-ports";
/// Says which ones they are: a JSON object from a port's name or declared number to the real one.
pub const REAL: &str = "atoll.dev/ports";

/// Whether any free ports will do for a pod. One with a network of its own has all of them.
pub fn are_free(pod: &Value) -> bool {
    let is_asked = object::annotation(pod, FREE) == Some("true");
    is_asked && wanted(pod) <= PORTS_MAX && !pod_network::has_own(pod)
}

/// The ports that a pod's containers declare: number and name.
fn declared(pod: &Value) -> Vec<(u64, Option<String>)> {
    let ports = object::containers(pod).flat_map(|container| object::items(&container["ports"]));
    ports
        .filter_map(|port| {
            let name = port["name"].as_str().map(str::to_owned);
            Some((port["containerPort"].as_u64()?, name))
        })
        .collect()
}

/// Whether a pod asks for ports of its node.
pub fn has_host_ports(pod: &Value) -> bool {
    let mut ports =
        object::containers(pod).flat_map(|container| object::items(&container["ports"]));
    ports.any(|port| port["hostPort"].as_u64() > Some(0))
}

/// So many ports are found for a pod; one that declares more gets none.
pub const PORTS_MAX: usize = 64;

/// How many ports have to be found for a pod.
pub fn wanted(pod: &Value) -> usize {
    let mut numbers: Vec<u64> = declared(pod)
        .into_iter()
        .map(|(number, _)| number)
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.len()
}

/// The annotation for ports that were found: each declared number gets one, in order.
pub fn note(pod: &Value, found: &[u16]) -> String {
    let mut real: BTreeMap<u64, u16> = BTreeMap::new();
    let mut noted = Map::new();
    let mut left = found.iter();
    for (number, name) in declared(pod) {
        let port = match real.get(&number) {
            Some(port) => *port,
            None => match left.next() {
                Some(port) => *real.entry(number).or_insert(*port),
                None => continue,
            },
        };
        noted.insert(number.to_string(), json!(port));
        if let Some(name) = name {
            noted.insert(name, json!(port));
        }
    }
    Value::Object(noted).to_string()
}

/// The port that a pod's program really listens on, where it declares another one.
pub fn real(pod: &Value, declared: u16) -> u16 {
    let noted = object::annotation(pod, REAL);
    let noted = noted.and_then(|it| serde_json::from_str::<Value>(it).ok());
    let real = noted.and_then(|noted| noted[declared.to_string()].as_u64());
    real.and_then(|port| u16::try_from(port).ok())
        .unwrap_or(declared)
}

/// The pod as it runs: with the real ports that it has; none if they are not known yet.
pub fn with_real(pod: &Value) -> Option<Value> {
    let noted: Map<String, Value> = serde_json::from_str(object::annotation(pod, REAL)?).ok()?;
    let real = |port: &Value| {
        let number = noted.get(&port.as_u64()?.to_string())?.as_u64()?;
        u16::try_from(number).ok().filter(|port| *port > 0)
    };
    if declared(pod)
        .iter()
        .any(|(number, _)| real(&json!(number)).is_none())
    {
        return None;
    }
    let mut running = pod.clone();
    for field in ["initContainers", "containers"] {
        let containers = running["spec"][field].as_array_mut();
        for container in containers.into_iter().flatten() {
            let ports = container["ports"].as_array_mut();
            for port in ports.into_iter().flatten() {
                replace(port, "containerPort", &real);
            }
            for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
                replace_in_handler(container.get_mut(probe), &real);
            }
            for hook in ["postStart", "preStop"] {
                let lifecycle = container.get_mut("lifecycle");
                replace_in_handler(lifecycle.and_then(|it| it.get_mut(hook)), &real);
            }
        }
    }
    Some(running)
}

fn replace_in_handler(handler: Option<&mut Value>, real: &dyn Fn(&Value) -> Option<u16>) {
    let Some(handler) = handler else { return };
    for kind in ["httpGet", "tcpSocket", "grpc"] {
        if let Some(action) = handler.get_mut(kind) {
            replace(action, "port", real);
        }
    }
}

/// Puts the real port in place of a declared number; names stand for the declared port anyway.
fn replace(of: &mut Value, field: &str, real: &dyn Fn(&Value) -> Option<u16>) {
    if let Some(port) = of.get(field).and_then(real)
        && let Some(fields) = of.as_object_mut()
    {
        fields.insert(field.to_owned(), json!(port));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        json!({
            "metadata": {"annotations": {FREE: "true"}},
            "spec": {"containers": [
                {"name": "a", "ports": [{"name": "http", "containerPort": 80}, {"containerPort": 81}],
                    "readinessProbe": {"httpGet": {"port": 80}},
                    "livenessProbe": {"tcpSocket": {"port": "http"}}},
                {"name": "b", "ports": [{"containerPort": 80}],
                    "startupProbe": {"grpc": {"port": 9}}},
            ]},
        })
    }

    #[test]
    fn a_pod_runs_with_the_ports_that_were_found() {
        let mut pod = pod();
        assert!(are_free(&pod));
        let mut apart = pod.clone();
        apart["spec"]["containers"][0]["image"] = json!("web");
        assert!(!are_free(&apart));
        assert_eq!(wanted(&pod), 2);
        assert_eq!(with_real(&pod), None);
        let noted = note(&pod, &[5000, 5001]);
        assert_eq!(noted, r#"{"80":5000,"81":5001,"http":5000}"#);
        pod["metadata"]["annotations"][REAL] = json!(noted);
        let running = with_real(&pod).unwrap();
        let containers = &running["spec"]["containers"];
        assert_eq!(containers[0]["ports"][0]["containerPort"], 5000);
        assert_eq!(containers[0]["ports"][1]["containerPort"], 5001);
        assert_eq!(containers[1]["ports"][0]["containerPort"], 5000);
        assert_eq!(containers[0]["readinessProbe"]["httpGet"]["port"], 5000);
        assert_eq!(containers[0]["livenessProbe"]["tcpSocket"]["port"], "http");
        assert_eq!(containers[1]["startupProbe"]["grpc"]["port"], 9);
    }

    #[test]
    fn host_ports_are_asked_for() {
        let mut pod = pod();
        assert!(!has_host_ports(&pod));
        pod["spec"]["containers"][1]["ports"][0]["hostPort"] = json!(80);
        assert!(has_host_ports(&pod));
        pod["spec"]["containers"][1]["ports"][0]["hostPort"] = json!(0);
        assert!(!has_host_ports(&pod));
    }

    #[test]
    fn a_note_that_says_too_little_or_nonsense_is_none() {
        let mut pod = pod();
        for noted in [
            "{\"80\":5000}",
            "{\"80\":70000,\"81\":1}",
            "[]",
            "x",
            "{\"80\":\"a\",\"81\":1}",
        ] {
            pod["metadata"]["annotations"][REAL] = json!(noted);
            assert_eq!(with_real(&pod), None, "{noted}");
        }
    }
}
