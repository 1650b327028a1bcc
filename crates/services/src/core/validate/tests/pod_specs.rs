//! What pods have beside their containers, and what of them can be changed.

use super::{
    pods::{pod, with},
    *,
};

#[test]
fn volumes() {
    let mount = |mount: Value| json!([patched(json!({"name": "v", "mountPath": "/m"}), &mount)]);
    let all = |volumes: Value, mounts: Value| {
        patched(
            with(json!({"volumeMounts": mounts})),
            &json!({"spec": {"volumes": volumes}}),
        )
    };
    let good = json!([{"name": "v"}]);
    let table: [(Value, &[&str]); 17] = [
        (all(good.clone(), mount(json!({"subPath": "a/b"}))), &[]),
        (
            all(good.clone(), mount(json!({"name": "w"}))),
            &["spec.containers[0].volumeMounts[0].name: Not found: \"w\""],
        ),
        (
            all(good.clone(), mount(json!({"mountPath": null}))),
            &["spec.containers[0].volumeMounts[0].mountPath: Required value"],
        ),
        (
            all(
                good.clone(),
                json!([{"name": "v", "mountPath": "/m"}, {"name": "v", "mountPath": "/m"}]),
            ),
            &[
                "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/m\": must be unique",
            ],
        ),
        (
            all(good.clone(), mount(json!({"subPath": "a/../b"}))),
            &[
                "spec.containers[0].volumeMounts[0].subPath: Invalid value: \"a/../b\": must not contain '..'",
            ],
        ),
        (
            all(good, mount(json!({"subPath": "/a"}))),
            &[
                "spec.containers[0].volumeMounts[0].subPath: Invalid value: \"/a\": must be a relative path",
            ],
        ),
        (
            all(json!([{"name": "v"}, {"name": "v"}]), json!([])),
            &["spec.volumes[1].name: Duplicate value: \"v\""],
        ),
        (
            all(json!([{"emptyDir": {}}]), json!([])),
            &["spec.volumes[0].name: Required value"],
        ),
        (
            all(
                json!([{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]),
                json!([]),
            ),
            &["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            all(json!([{"name": "v", "hostPath": {}}]), json!([])),
            &["spec.volumes[0].hostPath.path: Required value"],
        ),
        (
            all(
                json!([{"name": "v", "hostPath": {"path": "/a/.."}}]),
                json!([]),
            ),
            &["spec.volumes[0].hostPath.path: Invalid value: \"/a/..\": must not contain '..'"],
        ),
        (
            all(
                json!([{"name": "v", "hostPath": {"path": "/a..b", "type": "X"}}]),
                json!([]),
            ),
            &[
                "spec.volumes[0].hostPath.type: Unsupported value: \"X\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
            ],
        ),
        (
            all(
                json!([{"name": "v", "configMap": {"defaultMode": 512}}]),
                json!([]),
            ),
            &[
                "spec.volumes[0].configMap.name: Required value",
                "spec.volumes[0].configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
            ],
        ),
        (
            all(
                json!([{"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "../x"}]}}]),
                json!([]),
            ),
            &[
                "spec.volumes[0].configMap.items[0].path: Invalid value: \"../x\": must not contain '..'",
            ],
        ),
        (
            all(
                json!([{"name": "v", "secret": {"secretName": "c", "items": [{"key": "k", "path": "..x"}]}}]),
                json!([]),
            ),
            &[
                "spec.volumes[0].secret.items[0].path: Invalid value: \"..x\": must not start with '..'",
            ],
        ),
        (
            all(
                json!([{"name": "v", "downwardAPI": {"items": [{"path": "x"}]}}]),
                json!([]),
            ),
            &[
                "spec.volumes[0].downwardAPI.items[0]: Required value: one of fieldRef and resourceFieldRef is required",
            ],
        ),
        (
            all(
                json!([{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 1}}]}}]),
                json!([]),
            ),
            &[
                "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
            ],
        ),
    ];
    check(&kinds::PODS, &pod(), &table);
}

#[test]
fn choices_and_numbers() {
    let spec = |spec: Value| json!({"spec": spec});
    check(
        &kinds::PODS,
        &pod(),
        &[
            (
                spec(json!({"restartPolicy": "Sometimes", "dnsPolicy": "X"})),
                &[
                    "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
                    "spec.dnsPolicy: Unsupported value: \"X\": supported values: \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\"",
                ],
            ),
            (
                spec(json!({"activeDeadlineSeconds": 0})),
                &[
                    "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
                ],
            ),
            (
                spec(json!({"terminationGracePeriodSeconds": -1})),
                &[
                    "spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0",
                ],
            ),
            (
                spec(json!({"hostname": "a.b"})),
                &["spec.hostname: Invalid value: \"a.b\": must not contain dots"],
            ),
            (
                spec(json!({"dnsPolicy": "None"})),
                &[
                    "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
                ],
            ),
            (
                spec(json!({"dnsConfig": {"nameservers": ["x"], "searches": ["_a.b", "."]}})),
                &[
                    "spec.dnsConfig.nameservers[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                ],
            ),
            (
                spec(json!({"nodeName": "a", "schedulingGates": [{"name": "a.io/b"}]})),
                &[
                    "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
                ],
            ),
            (
                json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "x"}}}),
                &[
                    "metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \"x\": must be a 32bit integer",
                ],
            ),
        ],
    );
}

#[test]
fn scheduling() {
    let spec = |field: &str, value: Value| json!({"spec": {field: value}});
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    let spread = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"});
    check(
        &kinds::PODS,
        &pod(),
        &[
            (
                spec(
                    "tolerations",
                    json!([{"operator": "Exists"}, {"key": "a", "value": "b"}]),
                ),
                &[],
            ),
            (
                spec(
                    "tolerations",
                    json!([{"effect": "NoSchedule", "tolerationSeconds": 1}]),
                ),
                &[
                    "spec.tolerations[0].operator: Invalid value: \"\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
                    "spec.tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set",
                ],
            ),
            (
                spec(
                    "tolerations",
                    json!([{"key": "a", "operator": "Exists", "value": "b"}, {"key": "a", "operator": "X"}]),
                ),
                &[
                    "spec.tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'",
                    "spec.tolerations[1].operator: Unsupported value: \"X\": supported values: \"Equal\", \"Exists\"",
                ],
            ),
            (spec("topologySpreadConstraints", json!([spread])), &[]),
            (
                spec("topologySpreadConstraints", json!([spread, spread])),
                &[
                    "spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{zone, DoNotSchedule}\"",
                ],
            ),
            (
                spec("topologySpreadConstraints", json!([{"maxSkew": 0}])),
                &[
                    "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
                    "spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
                    "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\"",
                ],
            ),
            (
                spec(
                    "affinity",
                    json!({"nodeAffinity": {required: {"nodeSelectorTerms": []}}}),
                ),
                &[
                    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term",
                ],
            ),
            (
                spec(
                    "affinity",
                    json!({"nodeAffinity": {required: {"nodeSelectorTerms": [{
                        "matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1", "2"]}, {"key": "b", "operator": "In"}],
                        "matchFields": [{"key": "metadata.uid", "operator": "In", "values": ["a"]}],
                    }]}}}),
                ),
                &[
                    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
                    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[1].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
                    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].key: Invalid value: \"metadata.uid\": not a valid field selector key",
                ],
            ),
            (
                spec(
                    "affinity",
                    json!({"podAntiAffinity": {
                        required: [{"labelSelector": {"matchLabels": {"a": "b"}}}],
                        preferred: [{"weight": 101, "podAffinityTerm": {"topologyKey": "zone"}}],
                    }}),
                ),
                &[
                    "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty",
                    "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: must be in the range 1-100",
                ],
            ),
        ],
    );
}

#[test]
fn changes() {
    let other = |told: &str| {
        format!(
            "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\nchanged: {told}"
        )
    };
    let (command, node) = (other("spec.containers[0].command"), other("spec.nodeName"));
    let kept = patched(
        pod(),
        &json!({"spec": {
            "activeDeadlineSeconds": 10,
            "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute"}],
            "schedulingGates": [{"name": "g"}],
            "nodeSelector": {"a": "b"},
        }}),
    );
    let container = |change: Value| {
        let mut whole = pod();
        defaults::default(&kinds::PODS, &mut whole);
        let container = patched(whole["spec"]["containers"][0].clone(), &change);
        json!({"spec": {"containers": [container]}})
    };
    let added = json!([
        {"key": "b", "operator": "Exists"},
        {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5},
    ]);
    check_update(
        &kinds::PODS,
        &kept,
        &[
            (json!({"metadata": {"labels": {"a": "b"}}}), &[]),
            (container(json!({"image": "nginx:2"})), &[]),
            (container(json!({"stdin": false, "resources": null})), &[]),
            (
                json!({"spec": {"activeDeadlineSeconds": 5, "schedulingGates": []}}),
                &[],
            ),
            (json!({"spec": {"tolerations": added}}), &[]),
            (json!({"spec": {"nodeSelector": {"c": "d"}}}), &[]),
            (container(json!({"command": ["a"]})), &[&command]),
            (
                json!({"spec": {"nodeName": "x", "schedulingGates": []}}),
                &[&node],
            ),
            (
                json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}),
                &["spec.containers: Forbidden: pod updates may not add or remove containers"],
            ),
            (
                json!({"spec": {"activeDeadlineSeconds": 11}}),
                &[
                    "spec.activeDeadlineSeconds: Invalid value: 11: must be less than or equal to previous value",
                ],
            ),
            (
                json!({"spec": {"activeDeadlineSeconds": null}}),
                &[
                    "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value",
                ],
            ),
            (
                json!({"spec": {"tolerations": []}}),
                &[
                    "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
                ],
            ),
            (
                json!({"spec": {"schedulingGates": [{"name": "h"}]}}),
                &[
                    "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'h'",
                ],
            ),
        ],
    );
}
