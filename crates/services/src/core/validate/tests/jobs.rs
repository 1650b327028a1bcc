//! Jobs, their policies, and CronJobs.

use super::*;

/// One that selects its pods itself.
fn job() -> Value {
    json!({
        "metadata": {"name": "d", "namespace": "n"},
        "spec": {
            "manualSelector": true,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]},
            },
        },
    })
}

fn spec(spec: Value) -> Value {
    json!({"spec": spec})
}

#[test]
fn jobs() {
    let job = job();
    check(
        &kinds::JOBS,
        &job,
        &[
            (
                spec(json!({"template": {"spec": {"restartPolicy": null}}})),
                &[
                    "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
                ],
            ),
            (
                spec(json!({"parallelism": -1, "completions": 1_000_001})),
                &[
                    "spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
                    "spec.completions: Invalid value: 1000001: must be less than or equal to 1000000",
                ],
            ),
            (
                spec(json!({"completionMode": "Indexed", "parallelism": 1})),
                &["spec.completions: Required value: when completion mode is Indexed"],
            ),
            (
                spec(json!({"backoffLimitPerIndex": 1})),
                &["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"],
            ),
            (
                json!({"metadata": {"name": "a".repeat(62)}, "spec": {"completionMode": "Indexed", "completions": 11}}),
                &[&format!(
                    "metadata.name: Invalid value: {0:?}: will not able to create pod with invalid DNS label: {0}-10",
                    "a".repeat(62)
                )],
            ),
        ],
    );
    check_update(
        &kinds::JOBS,
        &job,
        &[
            (spec(json!({"parallelism": 3, "suspend": true})), &[]),
            (
                spec(json!({"template": {"spec": {"nodeSelector": {"disk": "ssd"}}}})),
                &[
                    "spec.template: Invalid value: {\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"imagePullPolicy\":\"IfNotPresent\",\"name\":\"c\",\"resources\":{},\"terminationMessagePath\":\"/dev/termination-log\",\"terminationMessagePolicy\":\"File\"}],\"dnsPolicy\":\"ClusterFirst\",\"nodeSelector\":{\"disk\":\"ssd\"},\"restartPolicy\":\"Never\",\"schedulerName\":\"default-scheduler\",\"securityContext\":{},\"terminationGracePeriodSeconds\":30}}: field is immutable",
                ],
            ),
            (
                spec(json!({"completions": 2})),
                &["spec.completions: Invalid value: 2: field is immutable"],
            ),
        ],
    );
}

#[test]
fn cron_jobs() {
    let template = json!({"spec": {"restartPolicy": "OnFailure", "containers": [{"name": "c"}]}});
    let good = json!({
        "metadata": {"name": "c", "namespace": "n"},
        "spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": template}}},
    });
    check(
        &kinds::CRON_JOBS,
        &good,
        &[
            (
                spec(json!({"schedule": "@hourly", "timeZone": "Etc/UTC"})),
                &[],
            ),
            (spec(json!({"timeZone": "Europe/Berlin"})), &[]),
            (
                spec(json!({"timeZone": "Europe/Atlantis"})),
                &[
                    "spec.timeZone: Invalid value: \"Europe/Atlantis\": unknown time zone Europe/Atlantis",
                ],
            ),
            (
                spec(json!({"schedule": null})),
                &["spec.schedule: Required value"],
            ),
            (
                spec(json!({"schedule": "* * *"})),
                &[
                    "spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [* * *]",
                ],
            ),
            (
                spec(json!({"schedule": "TZ=UTC 0 * * * *"})),
                &[
                    "spec.schedule: Invalid value: \"TZ=UTC 0 * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
                ],
            ),
            (
                spec(json!({"timeZone": "../etc"})),
                &["spec.timeZone: Invalid value: \"../etc\": unknown time zone ../etc"],
            ),
            (
                spec(json!({"concurrencyPolicy": "X"})),
                &[
                    "spec.concurrencyPolicy: Unsupported value: \"X\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
                ],
            ),
            (
                json!({"metadata": {"name": "a".repeat(53)}}),
                &[&format!(
                    "metadata.name: Invalid value: {:?}: must be no more than 52 bytes",
                    "a".repeat(53)
                )],
            ),
        ],
    );
}

#[test]
fn jobs_whose_pods_are_selected_for_them() {
    let labels = |uid: &str| {
        json!({
            "batch.kubernetes.io/controller-uid": uid,
            "batch.kubernetes.io/job-name": "d",
            "controller-uid": uid,
            "job-name": "d",
        })
    };
    let own = json!({"batch.kubernetes.io/controller-uid": "u-1"});
    let good = json!({
        "metadata": {"name": "d", "namespace": "n", "uid": "u-1"},
        "spec": {
            "selector": {"matchLabels": own},
            "template": {
                "metadata": {"labels": labels("u-1")},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]},
            },
        },
    });
    check(
        &kinds::JOBS,
        &good,
        &[
            (
                spec(json!({"template": {"metadata": {"labels": {"job-name": null}}}})),
                &["spec.template.metadata.labels[job-name]: Required value: must be 'd'"],
            ),
            (
                spec(json!({
                    "selector": {"matchLabels": {"a": "b"}},
                    "template": {"metadata": {"labels": {"a": "b"}}},
                })),
                &[
                    "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\",\"batch.kubernetes.io/controller-uid\":\"u-1\"}}: `selector` not auto-generated",
                ],
            ),
        ],
    );
}

#[test]
fn a_suspended_job_may_get_another_place() {
    let job = patched(job(), &spec(json!({"suspend": true})));
    let mut whole = job.clone();
    defaults::default(&kinds::JOBS, &mut whole);
    let template = |template: Value| spec(json!({"template": template}));
    let pod = |spec: Value| template(json!({"spec": spec}));
    let allowed = [
        pod(json!({"nodeSelector": {"disk": "ssd"}})),
        pod(json!({"tolerations": [{"operator": "Exists"}]})),
        template(json!({"metadata": {"labels": {"c": "d"}}})),
    ];
    for change in allowed {
        let new = patched(whole.clone(), &change);
        assert_eq!(
            texts(&update(&kinds::JOBS, &new, &whole)),
            [""; 0],
            "{change}"
        );
    }
    let new = patched(whole.clone(), &pod(json!({"hostNetwork": true})));
    let errors = texts(&update(&kinds::JOBS, &new, &whole));
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].ends_with("field is immutable"));
}

#[test]
fn policies_of_jobs() {
    let indexed = patched(
        job(),
        &spec(json!({"completionMode": "Indexed", "completions": 5})),
    );
    let fails = |rule: Value| spec(json!({"podFailurePolicy": {"rules": [rule]}}));
    let succeeds = |rule: Value| spec(json!({"successPolicy": {"rules": [rule]}}));
    let rule = "spec.podFailurePolicy.rules[0]";
    check(
        &kinds::JOBS,
        &indexed,
        &[
            (
                fails(
                    json!({"action": "FailJob", "onExitCodes": {"containerName": "c", "operator": "In", "values": [1, 42]}}),
                ),
                &[],
            ),
            (
                fails(
                    json!({"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}),
                ),
                &[],
            ),
            (
                fails(
                    json!({"action": "FailIndex", "onExitCodes": {"containerName": "x", "operator": "In", "values": [2, 0, 2]}}),
                ),
                &[
                    &format!(
                        "{rule}.action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set"
                    ),
                    &format!(
                        "{rule}.onExitCodes.containerName: Invalid value: \"x\": must be one of the container or initContainer names in the pod template"
                    ),
                    &format!(
                        "{rule}.onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator"
                    ),
                    &format!("{rule}.onExitCodes.values[2]: Duplicate value: 2"),
                    &format!("{rule}.onExitCodes.values: Invalid value: [2,0,2]: must be ordered"),
                ],
            ),
            (
                fails(json!({"onExitCodes": {}})),
                &[
                    &format!(
                        "{rule}.action: Required value: valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]"
                    ),
                    &format!(
                        "{rule}.onExitCodes.operator: Required value: valid values: [\"In\" \"NotIn\"]"
                    ),
                    &format!(
                        "{rule}.onExitCodes.values: Invalid value: []: at least one value is required"
                    ),
                ],
            ),
            (
                fails(json!({"action": "Count"})),
                &[&format!(
                    "{rule}: Invalid value: {{\"action\":\"Count\"}}: specifying one of OnExitCodes and OnPodConditions is required"
                )],
            ),
            (
                spec(
                    json!({"podReplacementPolicy": "TerminatingOrFailed", "podFailurePolicy": {"rules": []}}),
                ),
                &[
                    "spec.podReplacementPolicy: Unsupported value: \"TerminatingOrFailed\": supported values: \"Failed\"",
                ],
            ),
            (
                succeeds(json!({"succeededIndexes": "0,2-4", "succeededCount": 4})),
                &[],
            ),
            (
                succeeds(json!({"succeededIndexes": "3-9"})),
                &[
                    "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"3-9\": error parsing succeededIndexes: too large index: \"9\"",
                ],
            ),
            (
                succeeds(json!({"succeededIndexes": "0,1", "succeededCount": 3})),
                &[
                    "spec.successPolicy.rules[0].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)",
                ],
            ),
            (
                succeeds(json!({"succeededCount": 6})),
                &[
                    "spec.successPolicy.rules[0].succeededCount: Invalid value: 6: must be less than or equal to 5 (the number of specified completions)",
                ],
            ),
            (
                succeeds(json!({})),
                &[
                    "spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified",
                ],
            ),
            (
                spec(json!({"completions": 200_000, "backoffLimitPerIndex": 1})),
                &[
                    "spec.maxFailedIndexes: Required value: must be specified when completions is above 100000",
                ],
            ),
            (
                spec(json!({"managedBy": "kueue"})),
                &[
                    "spec.managedBy: Invalid value: \"kueue\": must be a domain-prefixed path (such as \"acme.io/foo\")",
                ],
            ),
        ],
    );
}
