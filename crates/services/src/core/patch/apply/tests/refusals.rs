//! What is refused, and with what words.

use super::*;

#[test]
fn another_value_is_a_conflict() {
    let mut story = Story::new();
    story.update("kubectl-client-side-apply", |new| {
        new["spec"]["replicas"] = json!(1)
    });
    let failure = story.refused("a", json!({"replicas": 2}));
    assert_eq!(
        failure.message,
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas"
    );
    assert_eq!(
        failure.to_json()["details"]["causes"],
        json!([{
            "reason": "FieldManagerConflict",
            "message": "conflict with \"kubectl-client-side-apply\" using apps/v1",
            "field": ".spec.replicas",
        }])
    );
    assert_eq!(
        (failure.code(), failure.to_json()["reason"].as_str()),
        (409, Some("Conflict"))
    );
    story.has_spec(json!({"replicas": 1}));
}

#[test]
fn conflicts_are_told_manager_by_manager() {
    let mut story = Story::new();
    let containers = |image: &str| json!([{"name": "c", "image": image}]);
    story
        .apply(
            "b",
            json!({"replicas": 1, "template": {"containers": containers("1")}}),
        )
        .update("z", |new| new["spec"]["args"] = json!(["z"]))
        .update_through("y", "status", |new| {
            new["metadata"]["labels"] = json!({"a": "b"})
        });
    let mut applied = Story::object(
        json!({"replicas": 2, "args": [], "template": {"containers": containers("2")}}),
    );
    applied["metadata"]["labels"] = json!({"a": "c"});
    let failure = story.try_apply("a", &applied, false).unwrap_err();
    assert_eq!(
        failure.message,
        "Apply failed with 4 conflicts: conflicts with \"b\":\n\
         - .spec.replicas\n\
         - .spec.template.containers[name=\"c\"].image\n\
         conflicts with \"y\" with subresource \"status\" using apps/v1:\n\
         - .metadata.labels.a\n\
         conflicts with \"z\" using apps/v1:\n\
         - .spec.args"
    );
}

#[test]
fn kubectl_takes_over_what_it_applied_by_itself() {
    const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let last = Story::object(json!({"replicas": 1, "args": ["a"], "strategy": {"type": "x"}}));
    let mut story = Story::new();
    story
        .update("kubectl-client-side-apply", |new| {
            *new = last.clone();
            new["metadata"]["annotations"] = json!({ANNOTATION: last.to_string()});
        })
        .update("hand", |new| new["spec"]["args"] = json!(["b"]));
    // Others have to ask, and kubectl has to where someone has changed it since.
    let next = json!({"replicas": 2, "args": ["a"], "strategy": {"type": "x"}});
    assert_eq!(story.refused("a", next.clone()).details.causes.len(), 2);
    assert_eq!(
        story.refused("kubectl", next).message,
        "Apply failed with 1 conflict: conflict with \"hand\" using apps/v1: .spec.args"
    );
    let next = json!({"replicas": 2, "args": ["b"], "strategy": {"type": "x"}});
    story.apply("kubectl", next.clone()).has_spec(next.clone());
    let kept = story.live()["metadata"]["annotations"][ANNOTATION]
        .as_str()
        .unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(kept).unwrap(),
        Story::object(next)
    );
    story.update("hand", |new| {
        new["metadata"]["annotations"][ANNOTATION] = json!("{")
    });
    assert_eq!(
        story.try_apply("kubectl", &Story::object(json!({"replicas": 3})), false),
        Ok(())
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut story = Story::new();
    story.apply("a", json!({"replicas": 1}));
    let object = |field: &str, value: Value| {
        let mut object = Story::object(json!({}));
        object[field] = value;
        object
    };
    let prefix = "failed to create typed patch object (/it; apps/v1, Kind=Thing): ";
    let cases = [
        (
            object("metadata", json!({"name": "it", "managedFields": []})),
            "metadata.managedFields must be nil".to_owned(),
        ),
        (
            object("apiVersion", json!("v1")),
            "invalid object type: /v1, Kind=Thing".to_owned(),
        ),
        (
            Story::object(json!({"color": 1})),
            format!("{prefix}.spec.color: field not declared in schema"),
        ),
        (
            Story::object(
                json!({"template": {"containers": [{"name": "c"}, {"name": "c", "x": 1}]}}),
            ),
            format!(
                "{prefix}errors:\n  .spec.template.containers: duplicate entries for key [name=\"c\"]\n  \
                 .spec.template.containers[name=\"c\"].x: field not declared in schema"
            ),
        ),
        (
            Story::object(json!({"template": {"containers": [{"image": "c"}]}})),
            format!(
                "{prefix}.spec.template.containers: element 0: associative list with keys has an element that \
                 omits all key fields [\"name\"] (and doesn't have default values for any key fields)"
            ),
        ),
        (
            Story::object(json!([])),
            format!("{prefix}.spec: expected map, got []"),
        ),
        (
            Story::object(json!({"args": 1})),
            format!("{prefix}.spec.args: expected list, got 1"),
        ),
        (
            Story::object(json!({"args": [[]]})),
            format!("{prefix}.spec.args[0]: expected scalar, got []"),
        ),
    ];
    for (applied, expected) in cases {
        let failure = story.try_apply("b", &applied, true).unwrap_err();
        assert_eq!(
            (failure.code(), failure.message),
            (400, expected),
            "{applied}"
        );
    }
    assert_eq!(
        story.try_apply("b", &json!([]), true).unwrap_err().code(),
        400
    );
    let writer = Writer {
        manager: "",
        subresource: "",
        now: "",
    };
    let failure = apply(&story.schema, "v1.None", None, &json!({}), &writer, false).unwrap_err();
    assert_eq!(failure.code(), 500);
    story.apply("", json!({"args": []}));
    assert_eq!(
        story.live()["metadata"]["managedFields"][1]["manager"],
        "unknown"
    );
}
