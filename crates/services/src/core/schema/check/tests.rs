use proptest::prelude::*;
use serde_json::json;

use super::*;

fn deployment(pod_spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "spec": {"template": {"spec": pod_spec}}})
}

/// What is wrong with a deployment, in Kubernetes' own words for the same body.
#[test]
fn wrong_types_are_told_as_go_tells_them() {
    let container = |fields: Value| deployment(json!({"containers": [fields]}));
    let regular = "quantities must match the regular expression \
                   '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    let cases = [
        (
            json!({"spec": {"replicas": "3"}}),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec": {"replicas": 3.5}}),
            "json: cannot unmarshal number 3.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec": {"replicas": 3.0}}),
            "json: cannot unmarshal number 3.0 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec": {"replicas": 5_000_000_000_u64}}),
            "json: cannot unmarshal number 5000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec": {"paused": "true"}}),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.paused of type bool",
        ),
        (
            json!({"spec": {"template": []}}),
            "json: cannot unmarshal array into Go struct field DeploymentSpec.spec.template of type v1.PodTemplateSpec",
        ),
        (
            deployment(json!({"containers": {}})),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            container(json!("a")),
            "json: cannot unmarshal string into Go struct field PodSpec.spec.template.spec.containers of type v1.Container",
        ),
        (
            container(json!({"env": [{"value": true}]})),
            "json: cannot unmarshal bool into Go struct field EnvVar.spec.template.spec.containers.env.value of type string",
        ),
        (
            container(json!({"command": [1]})),
            "json: cannot unmarshal number into Go struct field Container.spec.template.spec.containers.command of type string",
        ),
        (
            deployment(json!({"nodeSelector": {"a": 1}})),
            "json: cannot unmarshal number into Go struct field PodSpec.spec.template.spec.nodeSelector of type string",
        ),
        (
            deployment(json!({"nodeSelector": []})),
            "json: cannot unmarshal array into Go struct field PodSpec.spec.template.spec.nodeSelector of type map[string]string",
        ),
        (
            container(json!({"resources": {"limits": []}})),
            "json: cannot unmarshal array into Go struct field ResourceRequirements.spec.template.spec.containers.resources.limits of type v1.ResourceList",
        ),
        (
            container(json!({"resources": {"limits": {"cpu": "1x"}}})),
            regular,
        ),
        (
            container(json!({"resources": {"limits": {"cpu": true}}})),
            regular,
        ),
        (
            json!({"metadata": []}),
            "json: cannot unmarshal array into Go struct field Deployment.metadata of type v1.ObjectMeta",
        ),
        (
            json!({"metadata": {"creationTimestamp": 1}}),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type string",
        ),
        (
            json!({"metadata": {"creationTimestamp": "x"}}),
            "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": not such a time",
        ),
        (
            json!([]),
            "json: cannot unmarshal array into Go value of type v1.Deployment",
        ),
    ];
    for (body, message) in cases {
        let found = check("apps.v1.Deployment", &body);
        assert_eq!(
            found,
            Checked {
                unknown: vec![],
                wrong: vec![message.to_owned()]
            }
        );
    }
    let of_port = |target: Value| {
        check(
            "core.v1.Service",
            &json!({"spec": {"ports": [{"targetPort": target}]}}),
        )
        .wrong
    };
    let refused = "into Go struct field ServicePort.spec.ports.targetPort of type int32";
    assert_eq!(
        of_port(json!([])),
        [format!("json: cannot unmarshal array {refused}")]
    );
    assert_eq!(
        of_port(json!(1.5)),
        [format!("json: cannot unmarshal number 1.5 {refused}")]
    );
    assert_eq!(of_port(json!("web")), [""; 0]);
    let of_secret = |value: &str| check("core.v1.Secret", &json!({"data": {"a": value}})).wrong;
    assert_eq!(of_secret("***"), ["illegal base64 data at input byte 0"]);
    assert_eq!(of_secret("YQ"), ["illegal base64 data at input byte 0"]);
    assert_eq!(of_secret("Y\nQ=="), [""; 0]);
}

#[test]
fn everything_of_the_right_type_is_accepted_and_null_is() {
    let body = deployment(json!({
        "containers": [{"name": "a", "image": null, "resources": {"limits": {"cpu": 1.5, "memory": "1Gi"}}}],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "terminationGracePeriodSeconds": 9_000_000_000_i64,
    }));
    assert_eq!(check("apps.v1.Deployment", &body), Checked::default());
    let free = json!({"data": {"a": [1, {"b": null}]}, "revision": 1});
    assert_eq!(
        check("apps.v1.ControllerRevision", &free),
        Checked::default()
    );
}

#[test]
fn unknown_and_duplicate_fields_are_told_with_their_paths() {
    let body = br#"{"apiVersion": "v1", "foo": 1, "foo": 2, "Spec": {},
        "metadata": {"labels": {"a": "1", "a": "2"}},
        "spec": {"x": {"y": 1, "y": 2}, "containers": [{}, {"imagee": 1, "name": "a", "name": "b"}]}}"#;
    let (body, duplicates) = parse_json(body).unwrap();
    assert_eq!(
        body["spec"]["containers"][1]["name"], "b",
        "the last one counts"
    );
    let found = check("core.v1.Pod", &body);
    let strict = found.strict(&duplicates);
    assert_eq!(
        strict,
        [
            "unknown field \"Spec\"",
            "unknown field \"foo\"",
            "unknown field \"spec.containers[1].imagee\"",
            "unknown field \"spec.x\"",
            "duplicate field \"metadata.labels.a\"",
            "duplicate field \"spec.containers[1].name\"",
        ],
        "what is twice in an unknown field is not told"
    );
    assert_eq!(
        cannot_be_handled(
            "apps/v1",
            "Deployment",
            &strict_decoding_error(&strict[..2])
        ),
        "Deployment in version \"v1\" cannot be handled as a Deployment: \
         strict decoding error: unknown field \"Spec\", unknown field \"foo\""
    );
}

#[test]
fn json_that_is_none_or_too_deep_is_refused() {
    for body in ["", "{", "{\"a\":1} x", "[1,]", "\u{feff}{}", "nul"] {
        assert!(parse_json(body.as_bytes()).is_err(), "{body:?}");
    }
    assert!(parse_json(b"\xff").is_err());
    let deep = |depth: usize| [b"[".repeat(depth), b"]".repeat(depth)].concat();
    assert!(parse_json(&deep(100)).is_ok());
    assert!(parse_json(&deep(100_000)).is_err());
    let many: Vec<String> = (0..500)
        .map(|number| format!("\"{number}\":1,\"{number}\":2"))
        .collect();
    let (_, duplicates) = parse_json(format!("{{{}}}", many.join(",")).as_bytes()).unwrap();
    assert_eq!(duplicates.len(), TOLD_MAX);
}

#[test]
fn what_is_kept_has_one_form() {
    let mut body = json!({
        "kind": "Deployment", "apiVersion": "apps/v1", "unknown": 1,
        "metadata": {"name": "", "namespace": "a", "generation": 0, "labels": {}, "annotations": {"a": null},
            "creationTimestamp": null, "deletionTimestamp": "2026-01-02T05:04:05.5+02:00",
            "managedFields": [{"fieldsV1": {"f:a": {"x": null, ".": {}}}, "time": "0001-01-01T00:00:00Z"}]},
        "spec": {"replicas": 0.0, "paused": false, "minReadySeconds": 0, "template": {"metadata": null, "spec": {
            "hostNetwork": false, "restartPolicy": "", "volumes": [{"name": "v", "emptyDir": {}, "nfs": null}],
            "tolerations": [],
            "containers": [{"name": "", "x": 1, "command": ["a", null], "resources": {"limits": {"cpu": 0.5}, "requests": {"cpu": "1000m"}},
                "securityContext": {"privileged": false}}],
        }}},
        "status": {},
    });
    prune("apps.v1.Deployment", &mut body);
    let kept = json!({
        "kind": "Deployment", "apiVersion": "apps/v1",
        "metadata": {"namespace": "a", "annotations": {"a": ""}, "deletionTimestamp": "2026-01-02T03:04:05Z",
            "managedFields": [{"fieldsV1": {"f:a": {"x": null, ".": {}}}}]},
        "spec": {"replicas": 0, "template": {"spec": {
            "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{"name": "", "command": ["a", ""], "resources": {"limits": {"cpu": "500m"}, "requests": {"cpu": "1"}},
                "securityContext": {"privileged": false}}],
        }}},
        "status": {},
    });
    assert_eq!(body, kept);
    let again = {
        prune("apps.v1.Deployment", &mut body);
        body
    };
    assert_eq!(again, kept, "it is stable");
    let mut lease = json!({"spec": {"renewTime": "2026-01-02T03:04:05Z"}});
    prune("coordination.v1.Lease", &mut lease);
    assert_eq!(lease["spec"]["renewTime"], "2026-01-02T03:04:05.000000Z");
}

#[test]
fn quantities_have_kubernetes_form() {
    let cases = [
        ("1", "1"),
        ("1000m", "1"),
        ("0.5", "500m"),
        ("1024Mi", "1Gi"),
        ("1e3", "1e3"),
        ("1E3", "1E3"),
        ("1E", "1E"),
        (".5", "500m"),
        ("-1", "-1"),
        ("1Ki", "1Ki"),
        ("1e+3", "1e3"),
        ("1e-3", "1e-3"),
        ("0.0000000001", "1n"),
        ("1500Mi", "1500Mi"),
        ("1.5Gi", "1536Mi"),
        ("0", "0"),
        ("0Mi", "0"),
        ("-0", "0"),
        (" 1 ", "1"),
        ("1.5Ki", "1536"),
        ("1.3Ki", "1331200m"),
        ("2000k", "2M"),
        ("12345m", "12345m"),
        ("3000000000Ki", "3000000000Ki"),
        ("0.5Mi", "512Ki"),
        ("100e3", "100e3"),
        ("1.5e3", "1500"),
        ("1.5M", "1500k"),
        ("1000000", "1M"),
        ("1.10", "1100m"),
        ("0.3Ki", "307200m"),
        ("-0.5", "-500m"),
        ("2048", "2048"),
        ("1e19", "10e18"),
        ("10E", "10E"),
        ("1e-10", "1e-9"),
        ("1.0000000001", "1000000001n"),
        ("123456789012345678901", "123456789012345678901"),
        ("1e99999", "1e99999"),
    ];
    for (text, form) in cases {
        assert_eq!(quantity::canonical(text).as_deref(), Ok(form), "{text}");
    }
    for text in ["", "1x", "1.2.3", "1e2k", "x", "-", "1 Gi", "é"] {
        assert!(
            quantity::canonical(text)
                .unwrap_err()
                .starts_with("quantities must"),
            "{text}"
        );
    }
    for text in ["1K", "1e", "1mi", "1Mi1", "1e99999999999"] {
        assert_eq!(
            quantity::canonical(text),
            Err("unable to parse quantity's suffix"),
            "{text}"
        );
    }
}

#[test]
fn yaml_means_what_kubernetes_takes_it_for() {
    let body = br#"
apiVersion: v1
kind: ConfigMap   # a comment
base: &base {a: 1, b: [x, 'yes', "on", yes, Off, ~, null, ""]}
more:
  <<: *base
  a: 2
  c: *base
text: |
  two
  lines
folded: >-
  one
  line
numbers: [1, -1, 0x1f, 0o17, 017, 1_000, 1.0, 1.5, 1e3, .5, 08, 1.2.3, 18446744073709551615]
times: 2020-01-01
1: one
true: bool
tagged: [!!str 1, !!int "2", ! 3]
---
second: document
"#;
    let read = parse_yaml(body).unwrap();
    let base = json!({"a": 1, "b": ["x", "yes", "on", true, false, null, null, ""]});
    assert_eq!(
        read,
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "base": base,
            "more": {"a": 2, "b": base["b"], "c": base},
            "text": "two\nlines\n", "folded": "one line",
            "numbers": [1, -1, 31, 15, 15, 1000, 1, 1.5, 1000, 0.5, 8, "1.2.3", 18_446_744_073_709_551_615_u64],
            "times": "2020-01-01", "1": "one", "true": "bool", "tagged": ["1", 2, "3"],
        })
    );
    assert_eq!(
        parse_yaml(b"{\"a\": [1.0]}").unwrap(),
        json!({"a": [1.0]}),
        "JSON stays JSON"
    );
    assert_eq!(parse_yaml(b"").unwrap(), Value::Null);
}

#[test]
fn yaml_that_is_wrong_or_a_bomb_is_refused() {
    let bomb = (1..20).fold("a0: &a0 [x, x]\n".to_owned(), |text, at| {
        let before = format!("*a{}", at - 1);
        format!(
            "{text}a{at}: &a{at} [{}]\n",
            [before.as_str(); 9].join(", ")
        )
    });
    let deep_aliases = (1..200).fold("a0: &a0 [x]\n".to_owned(), |text, at| {
        format!("{text}a{at}: &a{at} [*a{}]\n", at - 1)
    });
    let anchors: String = (0..100).map(|at| format!("&b{at} [")).collect();
    let anchors = format!("{anchors}{}{}", "x, ".repeat(100_000), "]".repeat(100));
    let cases = [
        ("a: 1\na: 2", "already set"),
        ("{\"a\": 1, \"a\": 2}", "duplicate"),
        ("a: &a [*a]", "contains itself"),
        ("a: *b", "yaml:"),
        ("a: [", "yaml:"),
        ("a: .inf", "unsupported"),
        ("a: !foo 1", "unknown tag"),
        ("a: !!int x", "cannot decode"),
        ("[a]: 1", "neither"),
        ("<<: 1", "map merge"),
        (&bomb, "excessive aliasing"),
        (&deep_aliases, "max depth"),
        (&anchors, "excessive aliasing"),
        (&"[".repeat(100_000), "recursion limit"),
        (&"- ".repeat(200), "max depth"),
        (&"- ".repeat(100_000), "yaml:"),
        (&"a:\n ".repeat(3), "yaml:"),
    ];
    for (text, why) in cases {
        let refused = parse_yaml(text.as_bytes()).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    assert!(parse_yaml(b"a: \xff").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in "[-a&*<!{}\\[\\]:,\"' \n0-9.~|>?#%@é\t]{0,60}") {
        let _ = parse_yaml(text.as_bytes());
        let _ = parse_json(text.as_bytes());
        let _ = quantity::canonical(&text);
    }

    #[test]
    fn a_quantity_keeps_its_form(
        number in "[+-]?[0-9]{1,6}(\\.[0-9]{0,4})?", suffix in "(|m|k|M|G|Ki|Mi|Gi|e[0-9])",
    ) {
        let once = quantity::canonical(&format!("{number}{suffix}")).unwrap();
        prop_assert_eq!(quantity::canonical(&once).unwrap(), once);
    }
}
