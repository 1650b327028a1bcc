use serde_json::json;

use super::*;
use crate::core::quantity;

/// A pod of one container, with all that it can refer to.
fn ran(container: Value) -> Result<ContainerRun, ConfigError> {
    ran_in(json!({}), container, None)
}

fn ran_in(
    spec: Value,
    container: Value,
    assigned_port: Option<u16>,
) -> Result<ContainerRun, ConfigError> {
    let mut container = container;
    container["name"] = json!("app");
    if container["command"].is_null() {
        container["command"] = json!(["run"]);
    }
    let mut pod = json!({
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "u1",
            "labels": {"a/b": "l"}, "annotations": {"n": "a"},
        },
        "spec": {"nodeName": "n1", "serviceAccountName": "sa"},
    });
    let more = spec.as_object().unwrap().clone();
    pod["spec"].as_object_mut().unwrap().extend(more);
    pod["spec"]["containers"] = json!([container]);
    let allocatable = [("cpu".to_owned(), quantity::parse("3500m").unwrap())];
    let node = Node {
        name: "n1".to_owned(),
        ips: vec!["10.0.0.1".to_owned()],
        allocatable: allocatable.into(),
    };
    let lookup = |kind: &str, name: &str| match (kind, name) {
        ("ConfigMap", "conf") => Some(Arc::new(json!({
            "metadata": {"name": "conf"}, "data": {"k": "v", "x=y": "no", "raw": "$(k)"},
        }))),
        ("Secret", "keys") => Some(Arc::new(json!({
            "metadata": {"name": "keys"}, "data": {"pass": "aHVzaA==", "bad": "/w=="},
        }))),
        _ => None,
    };
    let service = |namespace: &str, name: &str, ip: &str| {
        Arc::new(json!({
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterIP": ip, "ports": [
                {"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP", "name": "dns-x"},
            ]},
        }))
    };
    let services = [
        service("shop", "my-db.x", "10.1.0.1"),
        service("shop", "headless", "None"),
        service("other", "far", "10.1.0.2"),
        service("default", "kubernetes", "10.1.0.3"),
    ];
    let ips = ["10.2.0.1".to_owned(), "fd00::1".to_owned()];
    let around = Surroundings {
        node: &node,
        ips: &ips,
        lookup: &lookup,
        services: &services,
        image: None,
        assigned_port,
    };
    run(&pod, "app", &around)
}

fn value_from(from: Value) -> Result<Option<String>, String> {
    let container = json!({"env": [{"name": "V", "valueFrom": from}]});
    let run = ran(container).map_err(|error| error.to_string())?;
    Ok(run.env.get("V").cloned())
}

fn told(value: &str) -> Result<Option<String>, String> {
    Ok(Some(value.to_owned()))
}

#[test]
fn names_are_replaced_and_dollars_escaped() {
    let known = |name: &str| (name == "A").then_some("1");
    let cases = [
        ("$(A)-$(A)", "1-1"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(B)", "$(B)"),
        ("$A", "$A"),
        ("$(A", "$(A"),
        ("5$", "5$"),
        ("$$", "$"),
        ("$()", "$()"),
        ("\u{e4}$(A)\u{e4}", "\u{e4}1\u{e4}"),
    ];
    for (text, want) in cases {
        assert_eq!(expand(text, known).as_deref(), Some(want), "{text}");
    }
}

#[test]
fn expansions_have_a_bound() {
    let mut env = vec![json!({"name": "V0", "value": "x".repeat(1000)})];
    for n in 1..40 {
        let value = format!("$(V{0})$(V{0})", n - 1);
        env.push(json!({"name": format!("V{n}"), "value": value}));
    }
    let error = ran(json!({ "env": env })).unwrap_err();
    assert_eq!(error.to_string(), "variable V8 is longer than 131072 bytes");
}

#[test]
fn command_and_arguments_know_the_whole_environment() {
    let run = ran(json!({
        "command": ["$(CMD)", "$(PORT)"], "args": ["$(NO)"], "workingDir": "/w",
        "env": [
            {"name": "CMD", "value": "serve"},
            {"name": "EARLY", "value": "$(LATE)"},
            {"name": "LATE", "value": "$(CMD)"},
        ],
        "ports": [{"containerPort": 8080}, {"containerPort": 9090}],
    }));
    let run = run.unwrap();
    assert_eq!(run.argv, ["serve", "8080", "$(NO)"]);
    assert_eq!(run.cwd.as_deref(), Some("/w"));
    assert_eq!(
        run.env["EARLY"], "$(LATE)",
        "only what comes before is known"
    );
    assert_eq!(run.env["LATE"], "serve");
}

#[test]
fn without_a_command_nothing_runs() {
    let error = ran(json!({"command": [], "args": ["x"]})).unwrap_err();
    assert_eq!(error.to_string(), "no command specified");
    let pod = json!({"spec": {"containers": []}});
    assert!(!needs_port(&pod, "app"));
}

#[test]
fn every_container_has_a_port() {
    let port =
        |container: Value| ran_in(json!({}), container, Some(4000)).unwrap().env["PORT"].clone();
    assert_eq!(port(json!({})), "4000");
    assert_eq!(port(json!({"ports": [{"containerPort": 0}]})), "4000");
    assert_eq!(port(json!({"ports": [{"containerPort": 80}]})), "80");
    assert_eq!(port(json!({"env": [{"name": "PORT", "value": "5"}]})), "5");
    let pod = |ports: Value| json!({"spec": {"containers": [{"name": "app", "ports": ports}]}});
    assert!(needs_port(&pod(json!([])), "app"));
    assert!(!needs_port(&pod(json!([{"containerPort": 80}])), "app"));
}

#[test]
fn fields_of_the_pod() {
    let cases = [
        ("metadata.name", "web"),
        ("metadata.namespace", "shop"),
        ("metadata.uid", "u1"),
        ("metadata.labels['a/b']", "l"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['n']", "a"),
        ("spec.nodeName", "n1"),
        ("spec.serviceAccountName", "sa"),
        ("status.hostIP", "10.0.0.1"),
        ("status.podIP", "10.2.0.1"),
        ("status.podIPs", "10.2.0.1,fd00::1"),
    ];
    for (path, want) in cases {
        assert_eq!(
            value_from(json!({"fieldRef": {"fieldPath": path}})),
            told(want),
            "{path}"
        );
    }
    let unknown = value_from(json!({"fieldRef": {"fieldPath": "spec.x"}}));
    assert_eq!(unknown, Err("unsupported fieldPath: spec.x".to_owned()));
}

#[test]
fn config_maps_and_secrets() {
    let conf = |key: &str| json!({"configMapKeyRef": {"name": "conf", "key": key}});
    let secret = |name: &str, key: &str| json!({"secretKeyRef": {"name": name, "key": key}});
    assert_eq!(value_from(conf("k")), told("v"));
    assert_eq!(
        value_from(conf("raw")),
        told("$(k)"),
        "what is referred to is not expanded"
    );
    let no_key = "couldn't find key z in ConfigMap shop/conf".to_owned();
    assert_eq!(value_from(conf("z")), Err(no_key));
    assert_eq!(value_from(secret("keys", "pass")), told("hush"));
    assert_eq!(
        value_from(secret("none", "k")),
        Err("secret \"none\" not found".to_owned())
    );
    assert_eq!(
        value_from(secret("keys", "bad")),
        Err("key bad in Secret keys is not text".to_owned())
    );
    for name in ["conf", "none"] {
        let optional = json!({"configMapKeyRef": {"name": name, "key": "z", "optional": true}});
        assert_eq!(value_from(optional), Ok(None));
    }
}

#[test]
fn whole_objects_come_in_with_their_prefix() {
    let run = ran(json!({
        "envFrom": [
            {"configMapRef": {"name": "conf"}, "prefix": "C_"},
            {"configMapRef": {"name": "none", "optional": true}},
        ],
        "env": [{"name": "C_k", "value": "mine, $(C_k)"}],
    }));
    let run = run.unwrap();
    assert_eq!(run.env["C_k"], "mine, v");
    assert!(!run.env.contains_key("C_x=y"), "no name of a variable");
    let missing = ran(json!({"envFrom": [{"configMapRef": {"name": "none"}}]}));
    assert_eq!(
        missing.unwrap_err().to_string(),
        "configmap \"none\" not found"
    );
    let bad = ran(json!({"envFrom": [{"secretRef": {"name": "keys"}}]}));
    assert!(matches!(bad, Err(ConfigError::NotText { .. })));
}

#[test]
fn resources_are_told_in_their_divisor_rounded_up() {
    let of = |resource: &str, divisor: &str| {
        let from = json!({"resourceFieldRef": {"resource": resource, "divisor": divisor}});
        let container = json!({
            "resources": {"limits": {"memory": "1Gi"}, "requests": {"cpu": "250m"}},
            "env": [{"name": "V", "valueFrom": from}],
        });
        ran(container)
            .map(|run| run.env["V"].clone())
            .map_err(|error| error.to_string())
    };
    let told = |text: &str| Ok(text.to_owned());
    assert_eq!(of("limits.memory", "1Mi"), told("1024"));
    assert_eq!(of("limits.memory", "0"), told("1073741824"));
    assert_eq!(of("requests.cpu", "1"), told("1"));
    assert_eq!(of("requests.cpu", "1m"), told("250"));
    assert_eq!(of("limits.cpu", "1"), told("4"), "what the node has");
    assert_eq!(of("requests.memory", "1"), told("0"));
    assert!(of("memory", "1").is_err());
    assert!(of("limits.cpu", "x").is_err());
}

#[test]
fn services_of_the_namespace_and_of_the_api_are_told() {
    let env = ran(json!({})).unwrap().env;
    let cases = [
        ("MY_DB_X_SERVICE_HOST", "10.1.0.1"),
        ("MY_DB_X_SERVICE_PORT", "80"),
        ("MY_DB_X_SERVICE_PORT_DNS_X", "53"),
        ("MY_DB_X_PORT", "tcp://10.1.0.1:80"),
        ("MY_DB_X_PORT_53_UDP", "udp://10.1.0.1:53"),
        ("MY_DB_X_PORT_53_UDP_PROTO", "udp"),
        ("MY_DB_X_PORT_53_UDP_PORT", "53"),
        ("MY_DB_X_PORT_53_UDP_ADDR", "10.1.0.1"),
        ("KUBERNETES_SERVICE_HOST", "10.1.0.3"),
    ];
    for (name, want) in cases {
        assert_eq!(env.get(name).map(String::as_str), Some(want), "{name}");
    }
    let is_foreign = |name: &&String| name.starts_with("FAR") || name.starts_with("HEADLESS");
    assert_eq!(env.keys().find(is_foreign), None);
    let env = ran_in(json!({"enableServiceLinks": false}), json!({}), None)
        .unwrap()
        .env;
    let names: Vec<&String> = env.keys().collect();
    assert!(
        names.iter().all(|name| name.starts_with("KUBERNETES_")),
        "{names:?}"
    );
}
