//! The containers of pods.

use super::*;

pub(super) fn pod() -> Value {
    json!({
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {"containers": [{"name": "a"}]},
    })
}

/// A pod of one container that is a bit different.
pub(super) fn with(container: Value) -> Value {
    json!({"spec": {"containers": [patched(json!({"name": "a"}), &container)]}})
}

/// Errors of the only container, told from it on.
fn check_container(table: &[(Value, &[&str])]) {
    for (container, expected) in table {
        let mut object = patched(pod(), &with(container.clone()));
        defaults::default(&kinds::PODS, &mut object);
        let expected: Vec<String> = expected
            .iter()
            .map(|one| format!("spec.containers[0].{one}"))
            .collect();
        assert_eq!(
            texts(&create(&kinds::PODS, &object)),
            expected,
            "{container}"
        );
    }
}

#[test]
fn containers() {
    let label = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    let name = format!("spec.containers[0].name: Invalid value: \"A\": {label}");
    let many: Vec<Value> = (0..65)
        .map(|index| json!({"name": format!("a{index}")}))
        .collect();
    check(
        &kinds::PODS,
        &pod(),
        &[
            (
                json!({"spec": {"containers": null}}),
                &["spec.containers: Required value"],
            ),
            (
                json!({"spec": {"containers": [{}]}}),
                &["spec.containers[0].name: Required value"],
            ),
            (with(json!({"name": "A"})), &[&name]),
            (
                json!({"spec": {
                    "containers": [{"name": "a"}, {"name": "a"}],
                    "initContainers": [{"name": "a"}],
                }}),
                &[
                    "spec.containers[1].name: Duplicate value: \"a\"",
                    "spec.initContainers[0].name: Duplicate value: \"a\"",
                ],
            ),
            (
                json!({"spec": {"containers": many}}),
                &["spec.containers: Too many: 65: must have at most 64 items"],
            ),
            (
                json!({"spec": {"initContainers": [{"name": "i", "livenessProbe": {"tcpSocket": {"port": 1}}}]}}),
                &[
                    "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
                ],
            ),
            (
                json!({"spec": {"initContainers": [
                    {"name": "i", "restartPolicy": "Always", "livenessProbe": {"tcpSocket": {"port": 1}}},
                ]}}),
                &[],
            ),
            (
                json!({"spec": {"ephemeralContainers": [{"name": "e"}]}}),
                &["spec.ephemeralContainers: Forbidden: cannot be set on create"],
            ),
        ],
    );
    check_container(&[
        (json!({"image": ""}), &[]),
        (
            json!({"image": " nginx"}),
            &["image: Invalid value: \" nginx\": must not have leading or trailing whitespace"],
        ),
        (
            json!({"imagePullPolicy": "Soon"}),
            &[
                "imagePullPolicy: Unsupported value: \"Soon\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
            ],
        ),
        (
            json!({"securityContext": {"runAsUser": -1}}),
            &[
                "securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
            ],
        ),
    ]);
}

#[test]
fn ports() {
    check_container(&[
        (
            json!({"ports": [{"name": "web", "containerPort": 80}]}),
            &[],
        ),
        (
            json!({"ports": [{}]}),
            &["ports[0].containerPort: Required value"],
        ),
        (
            json!({"ports": [{"containerPort": 65536, "hostPort": -1, "protocol": "X"}]}),
            &[
                "ports[0].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive",
                "ports[0].hostPort: Invalid value: -1: must be between 1 and 65535, inclusive",
                "ports[0].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            ],
        ),
        (
            json!({"ports": [{"name": "a", "containerPort": 1}, {"name": "a", "containerPort": 2}]}),
            &["ports[1].name: Duplicate value: \"a\""],
        ),
        (
            json!({"ports": [{"containerPort": 1, "hostPort": 9}, {"containerPort": 2, "hostPort": 9}]}),
            &["ports[1].hostPort: Duplicate value: \"TCP//9\""],
        ),
    ]);
    let port = json!({"containerPort": 80, "hostPort": 81});
    check(
        &kinds::PODS,
        &pod(),
        &[(
            patched(
                with(json!({"ports": [port]})),
                &json!({"spec": {"hostNetwork": true}}),
            ),
            &[
                "spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true",
            ],
        )],
    );
}

#[test]
fn environments() {
    let field = json!({"fieldRef": {"fieldPath": "metadata.name"}});
    let key = json!({"configMapKeyRef": {"name": "c", "key": "k"}});
    let many: Vec<Value> = (0..=ENV_MAX)
        .map(|index| json!({"name": format!("A{index}")}))
        .collect();
    check_container(&[
        (
            json!({"env": [{"name": "A", "value": "b"}, {"name": "A", "valueFrom": key}]}),
            &[],
        ),
        (
            json!({"env": [{"value": "b"}]}),
            &["env[0].name: Required value"],
        ),
        (
            json!({"env": [{"name": "A=B"}]}),
            &[
                "env[0].name: Invalid value: \"A=B\": a valid environment variable name must consist only of printable ASCII characters other than '='",
            ],
        ),
        (
            json!({"env": many}),
            &["env: Too many: 1001: must have at most 1000 items"],
        ),
        (
            json!({"env": [{"name": "A", "valueFrom": {}}]}),
            &[
                "env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
            ],
        ),
        (
            json!({"env": [{"name": "A", "value": "b", "valueFrom": field}]}),
            &[
                "env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
            ],
        ),
        (
            json!({"env": [{"name": "A", "valueFrom": patched(field, &key)}]}),
            &[
                "env[0].valueFrom: Invalid value: \"\": may not have more than one field specified at a time",
            ],
        ),
        (
            json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]}),
            &[
                "env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"spec.x\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"",
            ],
        ),
        (
            json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}}]}),
            &[],
        ),
        (
            json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x['a']"}}}]}),
            &["env[0].valueFrom.fieldRef: Invalid value: \"spec.x\": does not support subscript"],
        ),
        (
            json!({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}}}]}),
            &[
                "env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource",
            ],
        ),
        (
            json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}]}),
            &["env[0].valueFrom.secretKeyRef.key: Required value"],
        ),
        (
            json!({"envFrom": [{"prefix": "P_"}]}),
            &["envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"],
        ),
        (
            json!({"envFrom": [{"configMapRef": {}}]}),
            &["envFrom[0].configMapRef.name: Required value"],
        ),
    ]);
}

#[test]
fn resources() {
    check_container(&[
        (
            json!({"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "1Gi"}}}),
            &[],
        ),
        (
            json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}}),
            &[
                "resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1500m",
            ],
        ),
        (
            json!({"resources": {"limits": {"memory": "-1Gi"}}}),
            &[
                "resources.limits[memory]: Invalid value: \"-1Gi\": must be greater than or equal to 0",
                "resources.requests[memory]: Invalid value: \"-1Gi\": must be greater than or equal to 0",
            ],
        ),
        (
            json!({"resources": {"requests": {"memory": "lots"}}}),
            &[
                "resources.requests[memory]: Invalid value: \"lots\": must be a valid resource quantity",
            ],
        ),
        (
            json!({"resources": {"requests": {"gpu": "1"}}}),
            &[
                "resources.requests[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
                "resources.requests[gpu]: Invalid value: \"gpu\": must be a standard resource for containers",
            ],
        ),
        (
            json!({"resources": {"requests": {"a.io/gpu": "1"}}}),
            &[
                "resources.limits: Required value: Limit must be set for non overcommitable resources",
            ],
        ),
        (
            json!({"resources": {"requests": {"a.io/gpu": "1"}, "limits": {"a.io/gpu": "2"}}}),
            &["resources.requests: Invalid value: \"1\": must be equal to a.io/gpu limit of 2"],
        ),
    ]);
}

#[test]
fn probes_and_hooks() {
    let tcp = json!({"tcpSocket": {"port": "web"}});
    check_container(&[
        (
            json!({"readinessProbe": patched(tcp.clone(), &json!({"successThreshold": 2}))}),
            &[],
        ),
        (
            json!({"livenessProbe": {}}),
            &["livenessProbe: Required value: must specify a handler type"],
        ),
        (
            json!({"livenessProbe": patched(tcp.clone(), &json!({"exec": {"command": ["a"]}}))}),
            &["livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"],
        ),
        (
            json!({"livenessProbe": patched(tcp.clone(), &json!({"successThreshold": 2, "periodSeconds": -1}))}),
            &[
                "livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
                "livenessProbe.successThreshold: Invalid value: 2: must be 1",
            ],
        ),
        (
            json!({"readinessProbe": patched(tcp, &json!({"terminationGracePeriodSeconds": 1}))}),
            &[
                "readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes",
            ],
        ),
        (
            json!({"startupProbe": {"httpGet": {"port": 0, "scheme": "FTP", "httpHeaders": [{"name": "a b"}]}}}),
            &[
                "startupProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "startupProbe.httpGet.scheme: Unsupported value: \"FTP\": supported values: \"HTTP\", \"HTTPS\"",
                "startupProbe.httpGet.httpHeaders: Invalid value: \"a b\": a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
            ],
        ),
        (
            json!({"lifecycle": {"preStop": {"sleep": {"seconds": 31}}, "postStart": {"exec": {}}}}),
            &[
                "lifecycle.postStart.exec.command: Required value",
                "lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
            ],
        ),
    ]);
}
