use super::*;

fn pod(ports: Value) -> Value {
    json!({
        "metadata": {"namespace": "default", "name": "p"},
        "spec": {"containers": [{"name": "c", "ports": ports}]},
        "status": {"phase": "Running", "hostIP": "192.0.2.1", "podIP": "10.1.0.5"},
    })
}

/// Where it is listened, and where that leads.
fn led(pods: Vec<Value>) -> Vec<(String, String)> {
    let pods: Vec<_> = pods.into_iter().map(Arc::new).collect();
    let objects = Objects {
        pods: &pods,
        ..Objects::default()
    };
    let config = config(&objects, &doors()).config;
    config.check().unwrap();
    let listeners = config.listeners.iter().map(|listener| {
        let Protocol::Tcp { cluster } = &listener.protocol else {
            panic!("it is no HTTP")
        };
        let endpoints = &config.clusters[cluster].endpoints;
        (listener.address.clone(), endpoints[0].address.to_string())
    });
    listeners.collect()
}

fn way(from: &str, to: &str) -> (String, String) {
    (from.to_owned(), to.to_owned())
}

#[test]
fn host_ports_lead_to_pods_with_addresses_of_their_own() {
    let ports = json!([
        {"containerPort": 80, "hostPort": 8080},
        {"containerPort": 81, "hostPort": 8081, "hostIP": "192.0.2.1", "protocol": "TCP"},
        {"containerPort": 82, "hostPort": 8082, "hostIP": "2001:db8::1"},
        {"containerPort": 53, "hostPort": 53, "protocol": "UDP"},
        {"containerPort": 83},
        {"containerPort": 84, "hostPort": 0},
    ]);
    let expected = [
        way("127.0.0.1:8080", "10.1.0.5:80"),
        way("192.0.2.1:8081", "10.1.0.5:81"),
        way("[2001:db8::1]:8082", "10.1.0.5:82"),
    ];
    assert_eq!(led(vec![pod(ports)]), expected);
}

#[test]
fn a_pod_with_its_node_s_address_has_its_ports_already() {
    let own = pod(json!([{"containerPort": 80, "hostPort": 8080}]));
    assert_eq!(led(vec![own.clone()]).len(), 1);
    for (field, value) in [
        ("/status/podIP", json!("192.0.2.1")),
        ("/status/podIP", json!("")),
        ("/status/hostIP", Value::Null),
        ("/status/phase", json!("Succeeded")),
        ("/status/phase", json!("Failed")),
    ] {
        let mut other = own.clone();
        *other.pointer_mut(field).unwrap() = value;
        assert!(led(vec![other]).is_empty(), "{field}");
    }
    let mut shared = own.clone();
    shared["spec"]["hostNetwork"] = json!(true);
    assert!(led(vec![shared]).is_empty());
}

#[test]
fn sidecars_have_host_ports_and_none_counts_twice() {
    let port = json!([{"containerPort": 80, "hostPort": 8080}]);
    let mut two = pod(port.clone());
    two["spec"]["initContainers"] = json!([
        {"name": "before", "ports": [{"containerPort": 90, "hostPort": 9090}]},
        {"name": "twice", "restartPolicy": "Always", "ports": port},
        {"name": "beside", "restartPolicy": "Always",
            "ports": [{"containerPort": 91, "hostPort": 9091}]},
    ]);
    let expected = [
        way("127.0.0.1:8080", "10.1.0.5:80"),
        way("127.0.0.1:9091", "10.1.0.5:91"),
    ];
    assert_eq!(led(vec![two]), expected);
    // Two pods that want the same: who listens first has it, and the other one is told.
    let mut other = pod(json!([{"containerPort": 80, "hostPort": 8080}]));
    other["metadata"]["name"] = json!("q");
    let same = led(vec![
        pod(json!([{"containerPort": 80, "hostPort": 8080}])),
        other,
    ]);
    assert_eq!(same.len(), 2);
}
