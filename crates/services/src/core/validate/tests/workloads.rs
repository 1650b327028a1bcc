//! What makes pods, and what is about them.

use super::*;

fn workload() -> Value {
    json!({
        "metadata": {"name": "d", "namespace": "n"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c"}]}},
        },
    })
}

fn spec(spec: Value) -> Value {
    json!({"spec": spec})
}

#[test]
fn deployments() {
    let rolling = |rolling: Value| spec(json!({"strategy": {"rollingUpdate": rolling}}));
    check(
        &kinds::DEPLOYMENTS,
        &workload(),
        &[
            (spec(json!({"replicas": 10_000})), &[]),
            (
                spec(json!({"replicas": -1, "minReadySeconds": -1})),
                &[
                    "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                    "spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0",
                ],
            ),
            (
                spec(json!({"replicas": 10_001})),
                &["spec.replicas: Invalid value: 10001: must be less than or equal to 10000"],
            ),
            (
                spec(json!({"selector": null})),
                &[
                    "spec.selector: Required value",
                    "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
                ],
            ),
            (
                spec(json!({"selector": {"matchLabels": null}})),
                &["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
            ),
            (
                spec(json!({"selector": {"matchLabels": {"a": "c"}}})),
                &[
                    "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
                ],
            ),
            (
                spec(json!({"selector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}})),
                &[
                    "spec.selector.matchExpressions[0].operator: Invalid value: \"Is\": not a valid selector operator",
                    "spec.selector: Invalid value: {\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Is\"}],\"matchLabels\":{\"a\":\"b\"}}: invalid label selector",
                ],
            ),
            (
                rolling(json!({"maxUnavailable": 0, "maxSurge": "50%"})),
                &[],
            ),
            (
                rolling(json!({"maxUnavailable": 0, "maxSurge": "0%"})),
                &[
                    "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
                ],
            ),
            (
                rolling(json!({"maxUnavailable": "101%"})),
                &[
                    "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
                ],
            ),
            (
                rolling(json!({"maxSurge": "x"})),
                &[
                    "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"x\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
                ],
            ),
            (
                spec(json!({"strategy": {"type": "Recreate", "rollingUpdate": {}}})),
                &[
                    "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
                ],
            ),
            (
                spec(json!({"strategy": {"type": "X"}})),
                &[
                    "spec.strategy: Unsupported value: {\"type\":\"X\"}: supported values: \"Recreate\", \"RollingUpdate\"",
                ],
            ),
            (
                spec(json!({"progressDeadlineSeconds": 5, "minReadySeconds": 5})),
                &[
                    "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds",
                ],
            ),
            (
                spec(
                    json!({"template": {"spec": {"restartPolicy": "Never", "activeDeadlineSeconds": 1}}}),
                ),
                &[
                    "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
                    "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
                ],
            ),
            (
                spec(json!({"template": {"spec": {"containers": null}}})),
                &["spec.template.spec.containers: Required value"],
            ),
        ],
    );
    let other = json!({"selector": {"matchLabels": {"c": "d"}}, "template": {"metadata": {"labels": {"c": "d"}}}});
    check_update(
        &kinds::DEPLOYMENTS,
        &workload(),
        &[
            (
                spec(json!({"replicas": 2, "template": {"spec": {"containers": [{"name": "x"}]}}})),
                &[],
            ),
            (
                spec(other),
                &[
                    "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\",\"c\":\"d\"}}: field is immutable",
                ],
            ),
        ],
    );
}

#[test]
fn sets() {
    check(
        &kinds::REPLICA_SETS,
        &workload(),
        &[(
            spec(json!({"selector": {"matchLabels": null}})),
            &["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
        )],
    );
    let claims = json!([{"metadata": {"name": "data"}}]);
    let mount = json!([{"name": "data", "mountPath": "/d"}]);
    let container = json!([{"name": "c", "volumeMounts": mount}]);
    let stateful = kind("apps", "StatefulSet");
    check(
        &stateful,
        &workload(),
        &[
            (
                spec(
                    json!({"volumeClaimTemplates": claims, "template": {"spec": {"containers": container}}}),
                ),
                &[],
            ),
            (
                spec(json!({"template": {"spec": {"containers": container}}})),
                &["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\""],
            ),
            (
                spec(
                    json!({"podManagementPolicy": "X", "updateStrategy": {"rollingUpdate": {"partition": -1}}}),
                ),
                &[
                    "spec.podManagementPolicy: Invalid value: \"X\": must be 'OrderedReady' or 'Parallel'",
                    "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0",
                ],
            ),
        ],
    );
    check_update(
        &stateful,
        &workload(),
        &[
            (spec(json!({"replicas": 3})), &[]),
            (
                spec(json!({"serviceName": "s"})),
                &[
                    "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
                ],
            ),
        ],
    );
    check(
        &kind("apps", "DaemonSet"),
        &workload(),
        &[
            (
                spec(json!({"updateStrategy": {"rollingUpdate": {"maxSurge": 1}}})),
                &[
                    "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero",
                ],
            ),
            (
                spec(json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0}}})),
                &[
                    "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
                ],
            ),
        ],
    );
    let plain = patched(
        workload(),
        &spec(json!({"selector": {"matchLabels": null, "a": "b"}})),
    );
    check(
        &kind("", "ReplicationController"),
        &plain,
        &[(
            spec(json!({"selector": {"a": "c"}})),
            &[
                "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
            ],
        )],
    );
}

#[test]
fn ingresses_budgets_scalers_priorities() {
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    let path = json!({"path": "/", "pathType": "Prefix", "backend": backend});
    let rule = |path: &Value| json!([{"host": "a.b", "http": {"paths": [path]}}]);
    let meta = json!({"name": "x", "namespace": "n"});
    check(
        &kind("networking.k8s.io", "Ingress"),
        &json!({"metadata": meta, "spec": {"rules": rule(&path)}}),
        &[
            (
                spec(json!({"rules": null})),
                &["spec: Invalid value: {}: either `defaultBackend` or `rules` must be specified"],
            ),
            (
                spec(json!({"rules": rule(&json!({"path": "a", "backend": backend}))})),
                &[
                    "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified",
                    "spec.rules[0].http.paths[0].path: Invalid value: \"a\": must be an absolute path",
                ],
            ),
            (
                spec(
                    json!({"rules": rule(&patched(path, &json!({"backend": {"service": {"port": {"name": "web"}}}})))}),
                ),
                &[
                    "spec.rules[0].http.paths[0].backend.service.port: Invalid value: {\"name\":\"web\",\"number\":80}: cannot set both port name & port number",
                ],
            ),
            (
                spec(json!({"rules": [{"host": "10.0.0.1"}]})),
                &[
                    "spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address",
                ],
            ),
        ],
    );
    check(
        &kind("policy", "PodDisruptionBudget"),
        &json!({"metadata": meta, "spec": {"minAvailable": 1}}),
        &[(
            spec(json!({"maxUnavailable": "x"})),
            &[
                "spec: Invalid value: {\"maxUnavailable\":\"x\",\"minAvailable\":1}: minAvailable and maxUnavailable cannot be both set",
                "spec.maxUnavailable: Invalid value: \"x\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
            ],
        )],
    );
    let target = json!({"kind": "Deployment", "name": "d"});
    check(
        &kind("autoscaling", "HorizontalPodAutoscaler"),
        &json!({"metadata": meta, "spec": {"maxReplicas": 3, "scaleTargetRef": target}}),
        &[(
            spec(json!({"minReplicas": 4, "scaleTargetRef": {"name": null}})),
            &[
                "spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`",
                "spec.scaleTargetRef.name: Required value",
            ],
        )],
    );
    let cpu = |target: Value| json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
    let share = json!({"type": "Utilization", "averageUtilization": 50});
    let rules = |rules: Value| spec(json!({"behavior": {"scaleDown": rules}}));
    let policy = json!({"type": "Pods", "value": 1, "periodSeconds": 60});
    check(
        &kind("autoscaling", "HorizontalPodAutoscaler"),
        &json!({"metadata": meta, "spec": {"maxReplicas": 3, "scaleTargetRef": target, "metrics": cpu(share.clone()),
            "behavior": {"scaleUp": {"policies": [policy], "selectPolicy": "Max", "tolerance": "0.05"}}}}),
        &[
            (
                spec(
                    json!({"metrics": cpu(json!({"type": "Share", "averageUtilization": 0, "averageValue": "-1"}))}),
                ),
                &[
                    "spec.metrics[0].resource.target.type: Invalid value: \"Share\": must be either Utilization, Value, or AverageValue",
                    "spec.metrics[0].resource.target.averageValue: Invalid value: \"-1\": must be positive",
                    "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0",
                    "spec.metrics[0].resource.target.averageValue: Forbidden: may not set both a target raw value and a target utilization",
                ],
            ),
            (
                spec(json!({"metrics": cpu(json!({"type": "Utilization"}))})),
                &[
                    "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization",
                ],
            ),
            (
                spec(
                    json!({"metrics": [{"type": "Pods", "resource": {"name": "cpu", "target": share}}, {"type": "Disk"}, {}]}),
                ),
                &[
                    "spec.metrics[0].pods: Required value: must populate information for the given metric source",
                    "spec.metrics[0].resource: Forbidden: must populate the given metric source only",
                    "spec.metrics[1].type: Unsupported value: \"Disk\": supported values: \"ContainerResource\", \"External\", \"Object\", \"Pods\", \"Resource\"",
                    "spec.metrics[2].type: Required value: must specify a metric source type",
                ],
            ),
            (
                spec(
                    json!({"metrics": [{"type": "External", "external": {"metric": {"name": ""}, "target": {"type": "Value"}}}]}),
                ),
                &[
                    "spec.metrics[0].external.metric.name: Required value: must specify a metric name",
                    "spec.metrics[0].external.target.averageValue: Required value: must set either a target value for metric or a per-pod target",
                ],
            ),
            (
                rules(
                    json!({"stabilizationWindowSeconds": 3601, "selectPolicy": "Best", "policies": [], "tolerance": "-1"}),
                ),
                &[
                    "spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
                    "spec.behavior.scaleDown.selectPolicy: Unsupported value: \"Best\": supported values: \"Disabled\", \"Max\", \"Min\"",
                    "spec.behavior.scaleDown.policies: Required value: must specify at least one Policy",
                    "spec.behavior.scaleDown.tolerance: Invalid value: \"-1\": must be greater than or equal to 0",
                ],
            ),
            (
                rules(json!({"policies": [{"type": "Nodes", "value": 0, "periodSeconds": 1801}]})),
                &[
                    "spec.behavior.scaleDown.policies[0].type: Unsupported value: \"Nodes\": supported values: \"Percent\", \"Pods\"",
                    "spec.behavior.scaleDown.policies[0].value: Invalid value: 0: must be greater than zero",
                    "spec.behavior.scaleDown.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
                ],
            ),
        ],
    );
    let priority = kind("scheduling.k8s.io", "PriorityClass");
    let good = json!({"metadata": meta, "value": 7});
    check(
        &priority,
        &good,
        &[(
            json!({"value": 1_000_000_001}),
            &["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
        )],
    );
    check_update(
        &priority,
        &good,
        &[(
            json!({"value": 8}),
            &["value: Forbidden: may not be changed in an update."],
        )],
    );
}
