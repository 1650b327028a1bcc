mod pods;

use serde_json::{Value, json};

use super::*;
use crate::core::{kinds, time::parse_rfc3339};

fn now_ms() -> u64 {
    parse_rfc3339("2026-01-02T00:10:00Z").unwrap()
}

/// A kind that is not served yet.
fn kind(group: &'static str, plural: &'static str) -> Kind {
    Kind {
        group,
        version: "v1",
        kind: "",
        plural,
        singular: "",
        short_names: &[],
        is_namespaced: true,
        is_in_all: false,
        type_name: "",
        subresources: &[],
    }
}

fn rows(kind: &Kind, objects: &[&Value]) -> Vec<Vec<String>> {
    let table = table(kind, objects, now_ms(), Include::None, &json!({}));
    let cell = |cell: &Value| {
        cell.as_str()
            .map_or_else(|| cell.to_string(), str::to_owned)
    };
    let row = |row: &Value| row["cells"].as_array().unwrap().iter().map(cell).collect();
    table["rows"].as_array().unwrap().iter().map(row).collect()
}

/// The cells of one object, as `-o wide` shows them.
fn told(kind: &Kind, mut object: Value) -> String {
    let meta = object
        .as_object_mut()
        .unwrap()
        .entry("metadata")
        .or_insert(json!({}));
    meta["name"] = "it".into();
    meta["creationTimestamp"] = "2026-01-02T00:00:00Z".into();
    rows(kind, &[&object])[0].join(" | ")
}

#[test]
fn durations_have_two_or_three_figures() {
    let known = [
        (-2, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (599, "9m59s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (4 * 3600 + 60, "4h1m"),
        (8 * 3600 + 60, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (51 * 3600, "2d3h"),
        (8 * 86_400 + 3600, "8d"),
        (729 * 86_400, "729d"),
        (730 * 86_400, "2y"),
        (770 * 86_400, "2y40d"),
        (8 * 365 * 86_400 + 86_400, "8y"),
    ];
    for (seconds, text) in known {
        assert_eq!(human_duration(seconds), text, "{seconds}");
    }
}

#[test]
fn a_table_has_columns_and_as_much_of_the_objects_as_is_asked_for() {
    let object = json!({ "metadata": { "name": "a", "uid": "u" }, "data": { "k": "v" } });
    let of = |include| {
        table(
            &kinds::CONFIG_MAPS,
            &[&object],
            0,
            include,
            &json!({ "resourceVersion": "7" }),
        )
    };
    let by_default = of(Include::parse("").unwrap());
    assert_eq!(by_default["kind"], "Table");
    assert_eq!(by_default["metadata"]["resourceVersion"], "7");
    assert_eq!(by_default["columnDefinitions"][0]["format"], "name");
    assert_eq!(by_default["columnDefinitions"][1]["name"], "Data");
    assert_eq!(by_default["rows"][0]["cells"], json!(["a", 1, "<unknown>"]));
    let expected = json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    });
    assert_eq!(by_default["rows"][0]["object"], expected);
    assert_eq!(of(Include::Object)["rows"][0]["object"], object);
    assert_eq!(of(Include::None)["rows"][0]["object"], Value::Null);
    assert_eq!(Include::parse("All"), None);
}

#[test]
fn every_kind_has_as_many_cells_as_columns() {
    let mut others: Vec<Kind> = [
        ("apps", "statefulsets"),
        ("apps", "daemonsets"),
        ("apps", "controllerrevisions"),
        ("batch", "jobs"),
        ("batch", "cronjobs"),
        ("networking.k8s.io", "ingresses"),
        ("autoscaling", "horizontalpodautoscalers"),
        ("policy", "poddisruptionbudgets"),
        ("", "replicationcontrollers"),
        ("", "secrets"),
        ("", "endpoints"),
        ("scheduling.k8s.io", "priorityclasses"),
        ("nobody.example", "things"),
    ]
    .map(|(group, plural)| kind(group, plural))
    .into();
    others.push(kind("", "things"));
    for kind in kinds::KINDS.iter().copied().chain(&others) {
        for object in [
            json!({}),
            json!({ "metadata": 1, "spec": [], "status": "x" }),
        ] {
            let table = table(kind, &[&object], now_ms(), Include::None, &json!({}));
            let columns = table["columnDefinitions"].as_array().unwrap().len();
            let cells = table["rows"][0]["cells"].as_array().unwrap().len();
            assert_eq!(cells, columns, "{}", kind.plural);
        }
    }
}

#[test]
fn nodes_tell_their_roles_and_addresses() {
    let node = json!({
        "metadata": { "labels": {
            "node-role.kubernetes.io/worker": "",
            "node-role.kubernetes.io/control-plane": "",
            "kubernetes.io/role": "edge",
            "other": "x",
        } },
        "spec": { "unschedulable": true },
        "status": {
            "conditions": [{ "type": "Ready", "status": "Unknown" }],
            "addresses": [
                { "type": "Hostname", "address": "h" },
                { "type": "InternalIP", "address": "10.0.0.1" },
            ],
            "nodeInfo": { "kubeletVersion": "v1.37.0", "osImage": "Debian" },
        },
    });
    assert_eq!(
        told(&kinds::NODES, node),
        "it | NotReady,SchedulingDisabled | control-plane,edge,worker | 10m | v1.37.0 | 10.0.0.1 \
         | <none> | Debian | <unknown> | <unknown>"
    );
    assert_eq!(
        rows(&kinds::NODES, &[&json!({})])[0][1..4],
        ["Unknown", "<none>", "<unknown>"]
    );
}

fn with_template(mut spec: Value, status: Value) -> Value {
    spec["template"] = json!({ "spec": {
        "containers": [{ "name": "a", "image": "i:1" }, { "name": "b", "image": "j" }],
        "nodeSelector": { "disk": "ssd" },
    } });
    json!({ "spec": spec, "status": status })
}

#[test]
fn workloads_tell_counts_images_and_selectors() {
    let selector = json!({
        "matchLabels": { "app": "web" },
        "matchExpressions": [
            { "key": "tier", "operator": "In", "values": ["b", "a"] },
            { "key": "zone", "operator": "NotIn", "values": ["z"] },
            { "key": "aged", "operator": "Exists" },
            { "key": "old", "operator": "DoesNotExist" },
        ],
    });
    let deployment = with_template(
        json!({ "replicas": 3, "selector": selector }),
        json!({ "readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1 }),
    );
    assert_eq!(
        told(&kinds::DEPLOYMENTS, deployment),
        "it | 2/3 | 3 | 1 | 10m | a,b | i:1,j | aged,app=web,!old,tier in (a,b),zone notin (z)"
    );
    let set = with_template(
        json!({ "replicas": 3, "selector": {} }),
        json!({ "replicas": 2, "readyReplicas": 1 }),
    );
    let expected = "it | 3 | 2 | 1 | 10m | a,b | i:1,j | <none>";
    assert_eq!(told(&kinds::REPLICA_SETS, set.clone()), expected);
    assert_eq!(
        told(&kind("apps", "statefulsets"), set.clone()),
        "it | 1/3 | 10m | a,b | i:1,j"
    );
    let controller = with_template(
        json!({ "replicas": 1, "selector": { "a": "b", "c": "d" } }),
        json!({}),
    );
    assert_eq!(
        told(&kind("", "replicationcontrollers"), controller),
        "it | 1 | 0 | 0 | 10m | a,b | i:1,j | a=b,c=d"
    );
    let daemons = with_template(
        json!({ "selector": { "matchLabels": { "d": "1" } } }),
        json!({ "desiredNumberScheduled": 5, "currentNumberScheduled": 4, "numberReady": 3,
            "updatedNumberScheduled": 2, "numberAvailable": 1 }),
    );
    assert_eq!(
        told(&kind("apps", "daemonsets"), daemons),
        "it | 5 | 4 | 3 | 2 | 1 | disk=ssd | 10m | a,b | i:1,j | d=1"
    );
    let revision = json!({
        "metadata": { "ownerReferences": [
            { "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "controller": true },
        ] },
        "revision": 4,
    });
    let expected = "it | statefulset.apps/db | 4 | 10m";
    assert_eq!(
        told(&kind("apps", "controllerrevisions"), revision),
        expected
    );
}

#[test]
fn jobs_tell_how_they_stand() {
    let job = |spec: Value, status: Value| {
        let told = told(
            &kind("batch", "jobs"),
            json!({ "spec": spec, "status": status }),
        );
        told.split(" | ")
            .skip(1)
            .take(3)
            .collect::<Vec<_>>()
            .join(" | ")
    };
    let start = "2026-01-02T00:08:00Z";
    assert_eq!(
        job(json!({ "completions": 3 }), json!({ "succeeded": 1 })),
        "Running | 1/3 | "
    );
    assert_eq!(
        job(json!({ "parallelism": 2 }), json!({ "startTime": start })),
        "Running | 0/1 of 2 | 2m"
    );
    let done = json!({
        "succeeded": 1,
        "startTime": start,
        "completionTime": "2026-01-02T00:08:07Z",
        "conditions": [{ "type": "Complete", "status": "True" }],
    });
    assert_eq!(
        job(json!({ "completions": 1 }), done),
        "Complete | 1/1 | 7s"
    );
    let paused = json!({ "conditions": [
        { "type": "Failed", "status": "False" }, { "type": "Suspended", "status": "True" },
    ] });
    assert_eq!(job(json!({}), paused), "Suspended | 0/1 | ");
    let cron = json!({
        "spec": { "schedule": "*/5 * * * *", "suspend": false, "jobTemplate": { "spec": {} } },
        "status": { "active": [{}], "lastScheduleTime": "2026-01-02T00:09:30Z" },
    });
    assert_eq!(
        told(&kind("batch", "cronjobs"), cron),
        "it | */5 * * * * | <none> | False | 1 | 30s | 10m |  |  | <none>"
    );
}

#[test]
fn services_tell_addresses_and_ports() {
    let service = |spec: Value, status: Value| {
        let told = told(&kinds::SERVICES, json!({ "spec": spec, "status": status }));
        told.split(" | ")
            .skip(1)
            .take(4)
            .collect::<Vec<_>>()
            .join(" | ")
    };
    let ports = json!([{ "port": 80, "protocol": "TCP" }, { "port": 53, "nodePort": 30053, "protocol": "UDP" }]);
    let balanced = json!({ "loadBalancer": { "ingress": [{ "hostname": "b.example" }, { "ip": "1.2.3.4" }] } });
    let cases = [
        (
            json!({ "type": "ClusterIP", "clusterIPs": ["10.0.0.7"], "ports": ports }),
            json!({}),
            "ClusterIP | 10.0.0.7 | <none> | 80/TCP,53:30053/UDP",
        ),
        (
            json!({ "type": "NodePort", "clusterIP": "None", "externalIPs": ["9.9.9.9", "8.8.8.8"] }),
            json!({}),
            "NodePort | None | 9.9.9.9,8.8.8.8 | <none>",
        ),
        (
            json!({ "type": "LoadBalancer" }),
            json!({}),
            "LoadBalancer | <none> | <pending> | <none>",
        ),
        (
            json!({ "type": "LoadBalancer", "externalIPs": ["9.9.9.9"] }),
            balanced,
            "LoadBalancer | <none> | 1.2.3.4,b.example,9.9.9.9 | <none>",
        ),
        (
            json!({ "type": "ExternalName", "externalName": "x.example" }),
            json!({}),
            "ExternalName | <none> | x.example | <none>",
        ),
    ];
    for (spec, status, expected) in cases {
        assert_eq!(service(spec, status), expected);
    }
}

#[test]
fn endpoints_name_the_first_three() {
    let slice = json!({
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 80 }, { "name": "any" }, {}],
        "endpoints": [{ "addresses": ["1", "2"] }, { "addresses": ["3", "4", "5"] }],
    });
    assert_eq!(
        told(&kinds::ENDPOINT_SLICES, slice),
        "it | IPv4 | 80,any,* | 1,2,3 + 2 more... | 10m"
    );
    let empty = json!({ "addressType": "IPv6" });
    assert_eq!(
        told(&kinds::ENDPOINT_SLICES, empty),
        "it | IPv6 | <unset> | <unset> | 10m"
    );
    let endpoints = json!({ "subsets": [
        { "addresses": [{ "ip": "10.0.0.1" }, { "ip": "fd00::1" }], "ports": [{ "port": 80 }] },
        { "addresses": [{ "ip": "10.0.0.2" }] },
    ] });
    assert_eq!(
        told(&kind("", "endpoints"), endpoints),
        "it | 10.0.0.1:80,[fd00::1]:80,10.0.0.2 | 10m"
    );
    assert_eq!(told(&kind("", "endpoints"), json!({})), "it | <none> | 10m");
}

#[test]
fn ingresses_tell_hosts() {
    let ingress = json!({ "spec": {
        "ingressClassName": "edge",
        "rules": [{ "host": "a" }, { "host": "b" }, { "host": "c" }, { "host": "d" }],
        "tls": [{}],
    } });
    let kind = kind("networking.k8s.io", "ingresses");
    assert_eq!(
        told(&kind, ingress),
        "it | edge | a,b,c + 1 more... |  | 80, 443 | 10m"
    );
    assert_eq!(told(&kind, json!({})), "it | <none> | * |  | 80 | 10m");
}

#[test]
fn autoscalers_tell_metrics() {
    let scaler = json!({
        "spec": {
            "scaleTargetRef": { "kind": "Deployment", "name": "web" },
            "maxReplicas": 9,
            "metrics": [
                { "type": "Resource", "resource": { "name": "cpu", "target": { "averageUtilization": 80 } } },
                { "type": "External", "external": { "target": { "averageValue": "30" } } },
                { "type": "Pods", "pods": { "target": { "averageValue": 1 } } },
            ],
        },
        "status": { "currentReplicas": 2, "currentMetrics": [
            { "type": "Resource", "resource": { "current": { "averageUtilization": 40 } } },
        ] },
    });
    assert_eq!(
        told(&kind("autoscaling", "horizontalpodautoscalers"), scaler),
        "it | Deployment/web | cpu: 40%/80%, <unknown>/30 (avg) + 1 more... | <unset> | 9 | 2 | 10m"
    );
    let budget =
        json!({ "spec": { "minAvailable": "50%" }, "status": { "disruptionsAllowed": 1 } });
    assert_eq!(
        told(&kind("policy", "poddisruptionbudgets"), budget),
        "it | 50% | N/A | 1 | 10m"
    );
}

#[test]
fn small_objects_tell_little() {
    let cases = [
        (
            kind("", "secrets"),
            json!({ "type": "Opaque", "data": { "a": "", "b": "" } }),
            "it | Opaque | 2 | 10m",
        ),
        (
            kind("", "namespaces"),
            json!({ "status": { "phase": "Active" } }),
            "it | Active | 10m",
        ),
        (kind("", "serviceaccounts"), json!({}), "it | 10m"),
        (
            kind("coordination.k8s.io", "leases"),
            json!({ "spec": { "holderIdentity": "n1" } }),
            "it | n1 | 10m",
        ),
        (
            kind("scheduling.k8s.io", "priorityclasses"),
            json!({ "value": 1000, "preemptionPolicy": "Never" }),
            "it | 1000 | false | 10m | Never",
        ),
        (
            kind("x.example", "things"),
            json!({}),
            "it | 2026-01-02T00:00:00Z",
        ),
    ];
    for (kind, object, expected) in cases {
        assert_eq!(told(&kind, object), expected);
    }
}

#[test]
fn events_tell_when_and_to_what() {
    let event = json!({
        "type": "Warning",
        "reason": "BackOff",
        "message": " again\n",
        "involvedObject": { "kind": "Pod", "name": "p", "fieldPath": "spec.containers{a}" },
        "source": { "component": "agent", "host": "n1" },
        "firstTimestamp": "2026-01-02T00:00:00Z",
        "lastTimestamp": "2026-01-02T00:09:00Z",
        "count": 7,
    });
    assert_eq!(
        told(&kinds::EVENTS, event),
        "60s | Warning | BackOff | pod/p | spec.containers{a} | agent, n1 | again | 10m | 7 | it"
    );
    let event = json!({
        "eventTime": "2026-01-02T00:05:00.000000Z",
        "involvedObject": { "kind": "Node" },
        "reportingComponent": "scheduler",
    });
    assert_eq!(
        told(&kinds::EVENTS, event.clone()),
        "5m |  |  | node |  | scheduler |  | 5m | 1 | it"
    );
    let mut series = event;
    series["series"] = json!({ "count": 3, "lastObservedTime": "2026-01-02T00:09:58.000000Z" });
    assert!(told(&kinds::EVENTS, series).starts_with("2s | "));
}
