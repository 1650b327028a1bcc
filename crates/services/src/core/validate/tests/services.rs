//! Services, and kinds about which there is little to say.

use super::*;

#[test]
fn services() {
    let port = json!({"port": 80});
    let good = json!({
        "metadata": {"name": "s", "namespace": "n"},
        "spec": {"selector": {"a": "b"}, "ports": [port]},
    });
    check(
        &kinds::SERVICES,
        &good,
        &[
            (
                json!({"metadata": {"name": "0a"}}),
                &[
                    "metadata.name: Invalid value: \"0a\": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
                ],
            ),
            (
                json!({"spec": {"ports": null}}),
                &["spec.ports: Required value"],
            ),
            (json!({"spec": {"ports": null, "clusterIP": "None"}}), &[]),
            (
                json!({"spec": {"type": "X"}}),
                &[
                    "spec.type: Unsupported value: \"X\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
                ],
            ),
            (
                json!({"spec": {"ports": [{"port": 0, "protocol": "X", "targetPort": "A"}]}}),
                &[
                    "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                    "spec.ports[0].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
                    "spec.ports[0].targetPort: Invalid value: \"A\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                    "spec.ports[0].targetPort: Invalid value: \"A\": must contain at least one letter (a-z)",
                ],
            ),
            (
                json!({"spec": {"ports": [{"port": 80}, {"name": "b", "port": 80}, {"name": "b", "port": 81}]}}),
                &[
                    "spec.ports[0].name: Required value",
                    "spec.ports[1]: Duplicate value: {\"port\":80,\"protocol\":\"TCP\"}",
                    "spec.ports[2].name: Duplicate value: \"b\"",
                ],
            ),
            (
                json!({"spec": {"ports": [{"port": 80, "nodePort": 30000}]}}),
                &["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
            ),
            (
                json!({"spec": {"clusterIP": "x"}}),
                &[
                    "spec.clusterIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                ],
            ),
            (
                json!({"spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.2"]}}),
                &[
                    "spec.clusterIPs: Invalid value: [\"10.0.0.2\"]: first value must match `clusterIP`",
                ],
            ),
            (
                json!({"spec": {"type": "NodePort", "clusterIP": "None"}}),
                &[
                    "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
                ],
            ),
            (
                json!({"spec": {"type": "ExternalName", "ports": null}}),
                &["spec.externalName: Required value"],
            ),
            (
                json!({"spec": {"type": "ExternalName", "externalName": "a.b."}}),
                &[],
            ),
            (
                json!({"spec": {"externalTrafficPolicy": "Local"}}),
                &[
                    "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
                ],
            ),
            (
                json!({"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}}}),
                &[
                    "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than 86400",
                ],
            ),
            (
                json!({"spec": {"loadBalancerClass": "a"}}),
                &[
                    "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
                ],
            ),
        ],
    );
    let kept = patched(good, &json!({"spec": {"clusterIP": "10.0.0.1"}}));
    check_update(
        &kinds::SERVICES,
        &kept,
        &[
            (json!({"spec": {"type": "NodePort"}}), &[]),
            (
                json!({"spec": {"type": "ExternalName", "externalName": "a", "clusterIP": null, "clusterIPs": null, "ipFamilies": null, "ipFamilyPolicy": null}}),
                &[],
            ),
            (
                json!({"spec": {"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"]}}),
                &["spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set"],
            ),
            (
                json!({"spec": {"clusterIP": null, "clusterIPs": null}}),
                &["spec.clusterIPs[0]: Invalid value: null: primary clusterIP can not be unset"],
            ),
        ],
    );
}

#[test]
fn slices_leases_events_nodes() {
    let meta = json!({"name": "x", "namespace": "n"});
    let good = json!({
        "metadata": meta, "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"name": "", "port": 80}],
    });
    check(
        &kinds::ENDPOINT_SLICES,
        &good,
        &[
            (
                json!({"addressType": null}),
                &["addressType: Required value"],
            ),
            (
                json!({"endpoints": [{"addresses": []}]}),
                &["endpoints[0].addresses: Required value: must contain at least 1 address"],
            ),
            (
                json!({"ports": [{"port": 1}, {"port": 2}]}),
                &["ports[1].name: Duplicate value: \"\""],
            ),
        ],
    );
    check_update(
        &kinds::ENDPOINT_SLICES,
        &good,
        &[(
            json!({"addressType": "IPv6"}),
            &["addressType: Invalid value: \"IPv6\": field is immutable"],
        )],
    );
    check(
        &kinds::LEASES,
        &json!({"metadata": meta, "spec": {"leaseDurationSeconds": 15}}),
        &[(
            json!({"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}}),
            &[
                "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
                "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
            ],
        )],
    );
    check(
        &kinds::EVENTS,
        &json!({"metadata": meta, "involvedObject": {"namespace": "n"}}),
        &[(
            json!({"involvedObject": {"namespace": "m"}}),
            &["involvedObject.namespace: Invalid value: \"m\": does not match event.namespace"],
        )],
    );
    let taint = json!({"key": "a", "effect": "NoSchedule"});
    check(
        &kinds::NODES,
        &json!({"metadata": {"name": "x"}, "spec": {"taints": [taint]}}),
        &[
            (
                json!({"spec": {"taints": [taint, taint, {"key": "b"}]}}),
                &[
                    "metadata.taints[1]: Duplicate value: {\"effect\":\"NoSchedule\",\"key\":\"a\"}: taints must be unique by key and effect pair",
                    "metadata.taints[2].effect: Required value",
                ],
            ),
            (
                json!({"status": {"capacity": {"cpu": "-1", "a.io/gpu": "500m"}}}),
                &[
                    "status.capacity.a.io/gpu: Invalid value: \"500m\": must be an integer",
                    "status.capacity.cpu: Invalid value: \"-1\": must be greater than or equal to 0",
                    "status.allocatable.a.io/gpu: Invalid value: \"500m\": must be an integer",
                    "status.allocatable.cpu: Invalid value: \"-1\": must be greater than or equal to 0",
                ],
            ),
        ],
    );
}

#[test]
fn endpoints() {
    let good = json!({
        "metadata": {"name": "e", "namespace": "n"},
        "subsets": [
            {"addresses": [{"ip": "10.0.0.1", "hostname": "a", "nodeName": "n1"}], "ports": [{"port": 80}]},
            {"notReadyAddresses": [{"ip": "127.0.0.1"}]},
        ],
    });
    let one = |field: &str, value: Value| {
        let mut subset = json!({"addresses": [{"ip": "10.0.0.1"}]});
        subset[field] = value;
        json!({"subsets": [subset]})
    };
    check(
        &kinds::ENDPOINTS,
        &good,
        &[
            (json!({"subsets": null}), &[]),
            (
                json!({"subsets": [{"ports": [{"port": 80}]}]}),
                &["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"],
            ),
            (
                one(
                    "addresses",
                    json!([{"ip": "10.0.0"}, {"ip": "", "hostname": "A_b"}]),
                ),
                &[
                    "subsets[0].addresses[0].ip: Invalid value: \"10.0.0\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                    "subsets[0].addresses[1].ip: Invalid value: \"\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                    "subsets[0].addresses[1].hostname: Invalid value: \"A_b\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
                ],
            ),
            (
                one(
                    "ports",
                    json!([{"port": 0}, {"name": "b", "port": 1, "protocol": "X"}]),
                ),
                &[
                    "subsets[0].ports[0].name: Required value",
                    "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                    "subsets[0].ports[1].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
                ],
            ),
        ],
    );
}
