use proptest::prelude::*;
use serde_json::json;

use super::{super::kinds, *};

/// A kind that is not served yet.
fn kind(group: &'static str, version: &'static str, name: &'static str) -> Kind {
    Kind {
        group,
        version,
        kind: name,
        plural: "",
        singular: "",
        short_names: &[],
        is_namespaced: true,
        is_in_all: false,
        type_name: "",
        subresources: &[],
    }
}

fn defaulted(kind: &Kind, mut object: Value) -> Value {
    default(kind, &mut object);
    let mut again = object.clone();
    default(kind, &mut again);
    assert_eq!(again, object, "a second time changes nothing");
    object
}

#[test]
fn a_pod_gets_all_that_is_left_open() {
    let pod = defaulted(
        &kinds::PODS,
        json!({"spec": {
            "containers": [{
                "name": "a",
                "image": "nginx",
                "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": 1, "memory": "1024Mi"}, "requests": {"cpu": "0.5"}},
                "livenessProbe": {"httpGet": {"port": 80}},
                "startupProbe": {"grpc": {"port": 81}, "periodSeconds": 3},
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            }],
            "volumes": [
                {"name": "e"},
                {"name": "c", "configMap": {"name": "c"}},
                {"name": "s", "secret": {"secretName": "s", "defaultMode": 256}},
                {"name": "h", "hostPath": {"path": "/h"}},
                {"name": "p", "projected": {"sources": [
                    {"serviceAccountToken": {"path": "t"}},
                    {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
                ]}},
            ],
        }}),
    );
    let expected = json!({"spec": {
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
        "schedulerName": "default-scheduler",
        "enableServiceLinks": true,
        "serviceAccount": "default",
        "serviceAccountName": "default",
        "priority": 0,
        "preemptionPolicy": "PreemptLowerPriority",
        "containers": [{
            "name": "a",
            "image": "nginx",
            "imagePullPolicy": "Always",
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "ports": [{"containerPort": 80, "protocol": "TCP"}],
            "resources": {
                "limits": {"cpu": "1", "memory": "1Gi"},
                "requests": {"cpu": "500m", "memory": "1Gi"},
            },
            "livenessProbe": {
                "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
            },
            "startupProbe": {
                "grpc": {"port": 81, "service": ""},
                "timeoutSeconds": 1, "periodSeconds": 3, "successThreshold": 1, "failureThreshold": 3,
            },
            "env": [{"name": "A", "valueFrom": {
                "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"},
            }}],
        }],
        "volumes": [
            {"name": "e", "emptyDir": {}},
            {"name": "c", "configMap": {"name": "c", "defaultMode": 420}},
            {"name": "s", "secret": {"secretName": "s", "defaultMode": 256}},
            {"name": "h", "hostPath": {"path": "/h", "type": ""}},
            {"name": "p", "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}},
                {"downwardAPI": {"items": [
                    {"path": "n", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}},
                ]}},
            ]}},
        ],
    }});
    assert_eq!(pod, expected);
}

#[test]
fn a_pod_keeps_what_was_written() {
    let spec = json!({
        "dnsPolicy": "Default",
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "schedulerName": "mine",
        "securityContext": {"runAsUser": 1},
        "serviceAccount": "old",
        "enableServiceLinks": false,
        "hostNetwork": true,
        "priorityClassName": "high",
        "containers": [{"name": "a", "image": "host", "ports": [{"containerPort": 80, "hostPort": 0}]}],
    });
    let pod = defaulted(&kinds::PODS, json!({"spec": spec}));
    for field in [
        "dnsPolicy",
        "restartPolicy",
        "terminationGracePeriodSeconds",
        "schedulerName",
    ] {
        assert_eq!(pod["spec"][field], spec[field]);
    }
    assert_eq!(pod["spec"]["securityContext"], spec["securityContext"]);
    assert_eq!(pod["spec"]["enableServiceLinks"], false);
    assert_eq!(pod["spec"]["serviceAccountName"], "old");
    assert!(pod["spec"].get("priority").is_none(), "its class decides");
    let container = &pod["spec"]["containers"][0];
    assert_eq!(
        container["imagePullPolicy"], "IfNotPresent",
        "a program of the machine"
    );
    assert_eq!(container["ports"][0]["hostPort"], 80);
}

#[test]
fn deployments_roll_and_their_templates_are_no_pods() {
    let template = json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "1"}}}]}});
    let object = json!({"spec": {"template": template}});
    let deployment = defaulted(&kinds::DEPLOYMENTS, object);
    let spec = &deployment["spec"];
    let rolling = json!({"maxUnavailable": "25%", "maxSurge": "25%"});
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": rolling});
    assert_eq!(spec["strategy"], strategy);
    assert_eq!(spec["replicas"], 1);
    assert_eq!(spec["revisionHistoryLimit"], 10);
    assert_eq!(spec["progressDeadlineSeconds"], 600);
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["restartPolicy"], "Always");
    assert!(pod.get("enableServiceLinks").is_none());
    assert!(pod.get("serviceAccountName").is_none());
    assert!(pod["containers"][0]["resources"].get("requests").is_none());

    let recreate = json!({"spec": {"replicas": 0, "strategy": {"type": "Recreate"}}});
    let deployment = defaulted(&kinds::DEPLOYMENTS, recreate);
    assert_eq!(deployment["spec"]["replicas"], 0);
    assert_eq!(deployment["spec"]["strategy"], json!({"type": "Recreate"}));
}

#[test]
fn services_have_a_type_and_addresses() {
    let ports = json!([{"port": 80}, {"port": 81, "targetPort": "web", "protocol": "UDP"}]);
    let service = defaulted(
        &kinds::SERVICES,
        json!({"spec": {"ports": ports, "clusterIP": "None"}}),
    );
    let expected = json!({"spec": {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ipFamilyPolicy": "SingleStack",
        "ipFamilies": ["IPv4"],
        "clusterIP": "None",
        "clusterIPs": ["None"],
        "ports": [
            {"port": 80, "targetPort": 80, "protocol": "TCP"},
            {"port": 81, "targetPort": "web", "protocol": "UDP"},
        ],
    }});
    assert_eq!(service, expected);

    let outside = json!({"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP"}});
    let service = defaulted(&kinds::SERVICES, outside);
    assert_eq!(service["spec"]["externalTrafficPolicy"], "Cluster");
    assert_eq!(service["spec"]["allocateLoadBalancerNodePorts"], true);
    let timeout = &service["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"];
    assert_eq!(*timeout, 10_800);

    let name = json!({"spec": {"type": "ExternalName", "externalName": "a.b"}});
    let service = defaulted(&kinds::SERVICES, name);
    let spec = json!({"type": "ExternalName", "externalName": "a.b", "sessionAffinity": "None"});
    assert_eq!(service["spec"], spec);
}

#[test]
fn other_kinds() {
    // A kind, an object, and where what comes to be.
    let spec = |spec: Value| json!({"spec": spec});
    let labelled = json!({"template": {"metadata": {"labels": {"a": "b"}}}});
    let table = [
        (
            kind("apps", "v1", "StatefulSet"),
            spec(json!({})),
            "/spec/podManagementPolicy",
            json!("OrderedReady"),
        ),
        (
            kind("apps", "v1", "StatefulSet"),
            spec(json!({})),
            "/spec/updateStrategy/rollingUpdate/partition",
            json!(0),
        ),
        (
            kind("apps", "v1", "DaemonSet"),
            spec(json!({})),
            "/spec/updateStrategy/rollingUpdate/maxUnavailable",
            json!(1),
        ),
        (
            kind("batch", "v1", "Job"),
            spec(json!({})),
            "/spec/completions",
            json!(1),
        ),
        (
            kind("batch", "v1", "Job"),
            spec(json!({"parallelism": 3})),
            "/spec/completions",
            json!(null),
        ),
        (
            kind("batch", "v1", "Job"),
            spec(json!({})),
            "/spec/backoffLimit",
            json!(6),
        ),
        (
            kind("batch", "v1", "Job"),
            spec(json!({"backoffLimitPerIndex": 1})),
            "/spec/backoffLimit",
            json!(i32::MAX),
        ),
        (
            kind("batch", "v1", "Job"),
            spec(labelled.clone()),
            "/metadata/labels/a",
            json!("b"),
        ),
        (
            kind("batch", "v1", "Job"),
            spec(json!({"podFailurePolicy": {}})),
            "/spec/podReplacementPolicy",
            json!("Failed"),
        ),
        (
            kind("batch", "v1", "CronJob"),
            spec(json!({})),
            "/spec/concurrencyPolicy",
            json!("Allow"),
        ),
        (
            kind("batch", "v1", "CronJob"),
            spec(json!({})),
            "/spec/jobTemplate/spec/template/spec/dnsPolicy",
            json!("ClusterFirst"),
        ),
        (
            kind("", "v1", "ReplicationController"),
            spec(labelled),
            "/spec/selector/a",
            json!("b"),
        ),
        (
            kind("", "v1", "Secret"),
            json!({}),
            "/type",
            json!("Opaque"),
        ),
        (
            kind("autoscaling", "v2", "HorizontalPodAutoscaler"),
            spec(json!({})),
            "/spec/metrics/0/resource/name",
            json!("cpu"),
        ),
        (
            kind("", "v1", "Endpoints"),
            json!({"subsets": [{"ports": [{"port": 80}]}]}),
            "/subsets/0/ports/0/protocol",
            json!("TCP"),
        ),
        (
            kind("networking.k8s.io", "v1", "NetworkPolicy"),
            spec(json!({})),
            "/spec/policyTypes/0",
            json!("Ingress"),
        ),
        (
            kind("scheduling.k8s.io", "v1", "PriorityClass"),
            json!({}),
            "/preemptionPolicy",
            json!("PreemptLowerPriority"),
        ),
        (
            kind("", "v1", "Namespace"),
            json!({"metadata": {"name": "n"}}),
            "/metadata/labels/kubernetes.io~1metadata.name",
            json!("n"),
        ),
        (
            kind("", "v1", "Node"),
            json!({"status": {"capacity": {"cpu": "2000m"}}}),
            "/status/allocatable/cpu",
            json!("2"),
        ),
        (
            kind("discovery.k8s.io", "v1", "EndpointSlice"),
            json!({"ports": [{"port": 1}]}),
            "/ports/0/protocol",
            json!("TCP"),
        ),
    ];
    for (kind, object, pointer, expected) in table {
        let object = defaulted(&kind, object);
        let found = object.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(*found, expected, "{} {pointer}", kind.kind);
    }
}

/// Objects with the fields that defaults look at, and anything in them.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        Just(json!("")),
        Just(json!("x")),
        any::<i32>().prop_map(|number| json!(number)),
    ];
    let names = [
        "metadata",
        "spec",
        "template",
        "status",
        "containers",
        "volumes",
        "resources",
        "limits",
        "requests",
        "ports",
        "httpGet",
        "livenessProbe",
        "strategy",
        "rollingUpdate",
        "env",
        "projected",
        "sources",
        "labels",
        "selector",
        "name",
        "capacity",
        "type",
    ];
    leaf.prop_recursive(6, 64, 4, move |inner| {
        let map =
            prop::collection::btree_map(prop::sample::select(names.to_vec()), inner.clone(), 0..4);
        prop_oneof![
            map.prop_map(|map| json!(map)),
            prop::collection::vec(inner, 0..3).prop_map(|list| json!(list)),
        ]
    })
}

proptest! {
    #[test]
    fn no_object_makes_it_panic(object in anything(), index in 0_usize..5) {
        let kinds = [&kinds::PODS, &kinds::DEPLOYMENTS, &kinds::SERVICES, &kinds::NODES, &kinds::NAMESPACES];
        defaulted(kinds[index], object);
    }
}
