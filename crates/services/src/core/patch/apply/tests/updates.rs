//! Who owns what after updates, and as time goes by.

use super::*;

#[test]
fn updates_take_what_they_change() {
    let mut story = Story::new();
    story
        .apply(
            "a",
            json!({"replicas": 1, "args": ["a"], "strategy": {"type": "x"}}),
        )
        .update("hand", |new| {
            new["spec"]["replicas"] = json!(3);
            new["spec"]["template"] = json!({"labels": {"l": "1"}});
            new["spec"].as_object_mut().unwrap().remove("strategy");
            new["metadata"]["resourceVersion"] = json!("7");
        })
        .owns(&[
            ("a", "Apply", json!({"f:spec": {"f:args": {}}})),
            (
                "hand",
                "Update",
                json!({"f:spec": {
                    "f:replicas": {},
                    "f:template": {"f:labels": {".": {}, "f:l": {}}},
                }}),
            ),
        ])
        // A later update of the same manager adds to it.
        .update("hand", |new| new["spec"]["args"] = json!(["b"]))
        .owns(&[(
            "hand",
            "Update",
            json!({"f:spec": {
                "f:args": {},
                "f:replicas": {},
                "f:template": {"f:labels": {".": {}, "f:l": {}}},
            }}),
        )]);
}

#[test]
fn a_created_object_is_its_makers() {
    let mut story = Story::new();
    story
        .update("maker", |new| {
            new["metadata"]["labels"] = json!({"a": "1"});
            new["spec"] = json!({"template": {"containers": [{"name": "c", "limits": {}}]}});
            new["status"] = json!({"ready": 0});
        })
        .owns(&[(
            "maker",
            "Update",
            json!({
                "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                "f:spec": {"f:template": {"f:containers": {
                    ".": {},
                    "k:{\"name\":\"c\"}": {".": {}, "f:limits": {}, "f:name": {}},
                }}},
            }),
        )]);
}

/// With the types of Kubernetes itself: the owners of a new deployment are those that its own
/// servers note, and who applies it later is told what it would change.
#[test]
fn a_deployment_has_the_owners_it_has_with_kubernetes() {
    let made = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "uid": "1", "labels": {"app": "web"}},
        "spec": {
            "progressDeadlineSeconds": 600, "replicas": 1, "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": [{
                        "name": "nginx", "image": "nginx", "imagePullPolicy": "Always", "resources": {},
                        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                    }],
                    "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
                    "securityContext": {}, "terminationGracePeriodSeconds": 30,
                },
            },
        },
        "status": {},
    });
    let mut live = made.clone();
    let by = |manager| Writer {
        manager,
        subresource: "",
        now: "2030-01-01T00:00:00Z",
    };
    let deployment = "apps.v1.Deployment";
    update(
        schema::schema(),
        deployment,
        None,
        &mut live,
        &by("kubectl-create"),
    );
    assert_eq!(
        live["metadata"]["managedFields"][0]["fieldsV1"],
        json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {
                "f:progressDeadlineSeconds": {}, "f:replicas": {}, "f:revisionHistoryLimit": {},
                "f:selector": {},
                "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}}, "f:type": {}},
                "f:template": {
                    "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                    "f:spec": {
                        "f:containers": {"k:{\"name\":\"nginx\"}": {
                            ".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:resources": {},
                            "f:terminationMessagePath": {}, "f:terminationMessagePolicy": {},
                        }},
                        "f:dnsPolicy": {}, "f:restartPolicy": {}, "f:schedulerName": {},
                        "f:securityContext": {}, "f:terminationGracePeriodSeconds": {},
                    },
                },
            },
        })
    );
    let applied = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": 3,
            "template": {"spec": {"containers": [{"name": "nginx", "image": "nginx:2"}]}},
        },
    });
    let failure = apply(
        schema::schema(),
        deployment,
        Some(&live),
        &applied,
        &by("me"),
        false,
    )
    .unwrap_err();
    assert_eq!(
        failure.message,
        "Apply failed with 2 conflicts: conflicts with \"kubectl-create\" using apps/v1:\n\
         - .spec.replicas\n- .spec.template.spec.containers[name=\"nginx\"].image"
    );
    let new = apply(
        schema::schema(),
        deployment,
        Some(&live),
        &applied,
        &by("me"),
        true,
    )
    .unwrap();
    let mut expected = made;
    expected["spec"]["replicas"] = json!(3);
    expected["spec"]["template"]["spec"]["containers"][0]["image"] = json!("nginx:2");
    expected["metadata"]["managedFields"] = new["metadata"]["managedFields"].clone();
    assert_eq!(new, expected);
}

#[test]
fn times_change_only_with_what_is_owned() {
    let mut story = Story::new();
    story
        .apply("a", json!({"replicas": 1}))
        .update("hand", |new| new["spec"]["args"] = json!(["x"]));
    let before = story.live().clone();
    story
        .apply("a", json!({"replicas": 1}))
        .update("hand", |new| {
            new["metadata"]["resourceVersion"] = json!("8");
            new["metadata"]["generation"] = json!(2);
        });
    assert_eq!(
        story.live()["metadata"]["managedFields"],
        before["metadata"]["managedFields"]
    );
    story.apply("a", json!({"replicas": 2}));
    assert_eq!(
        story.live()["metadata"]["managedFields"][0]["time"],
        "2030-01-01T00:00:05Z"
    );
}

#[test]
fn status_belongs_to_its_subresource() {
    let mut story = Story::new();
    story
        .update("hand", |new| new["spec"] = json!({"replicas": 1}))
        .update_through("controller", "status", |new| {
            new["status"] = json!({"ready": 1});
            new["spec"]["replicas"] = json!(9);
            // Through a subresource no one sets who owns what.
            new["metadata"]["managedFields"] = json!([]);
        })
        .owns(&[
            ("hand", "Update", json!({"f:spec": {"f:replicas": {}}})),
            ("controller", "Update", json!({"f:status": {"f:ready": {}}})),
        ]);
    assert_eq!(
        story.live()["metadata"]["managedFields"][1]["subresource"],
        "status"
    );
    let mut applied = Story::object(json!({"args": ["a"]}));
    applied["status"] = json!({"ready": 5});
    story.try_apply("a", &applied, false).unwrap();
    assert_eq!(
        story.live()["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:spec": {"f:args": {}}})
    );
}

#[test]
fn owners_can_be_written_and_reset() {
    let mut story = Story::new();
    story.apply("a", json!({"replicas": 1}));
    for reset in [json!([]), json!([{}])] {
        let mut again = Story {
            schema: schema::parse(TABLE).unwrap(),
            live: story.live.clone(),
            clock: 3,
        };
        again
            .update("hand", |new| new["metadata"]["managedFields"] = reset)
            .owns(&[]);
        // No one is noted then, until someone applies: all there was is then someone's.
        again
            .update("hand", |new| new["spec"]["args"] = json!(["x"]))
            .owns(&[]);
        again.apply("b", json!({"strategy": {"type": "x"}})).owns(&[
            (
                "b",
                "Apply",
                json!({"f:spec": {"f:strategy": {"f:type": {}}}}),
            ),
            (
                "before-first-apply",
                "Update",
                json!({"f:spec": {"f:args": {}, "f:replicas": {}}}),
            ),
        ]);
    }
    // A client may write other owners; what makes no sense is as if it had not been sent.
    story.update("hand", |new| {
        new["metadata"]["managedFields"][0]["manager"] = json!("c")
    });
    let replicas = json!({"f:spec": {"f:replicas": {}}});
    story.owns(&[("c", "Apply", replicas.clone())]);
    for nonsense in [json!(null), json!([{"manager": "x"}]), json!("x")] {
        story.update("hand", |new| new["metadata"]["managedFields"] = nonsense);
        story.owns(&[("c", "Apply", replicas.clone())]);
    }
}

#[test]
fn owners_of_another_version_are_dropped() {
    let mut story = Story::new();
    story.apply("a", json!({"replicas": 1}));
    let mut live = story.live().clone();
    live["metadata"]["managedFields"][0]["apiVersion"] = json!("apps/v1beta1");
    story.live = Some(live.clone());
    story.update("hand", |new| new["spec"]["args"] = json!(["x"]));
    story.owns(&[("hand", "Update", json!({"f:spec": {"f:args": {}}}))]);
    story.live = Some(live);
    story.apply("b", json!({"replicas": 2}));
    story.owns(&[("b", "Apply", json!({"f:spec": {"f:replicas": {}}}))]);
}

#[test]
fn the_oldest_updaters_become_one() {
    let mut story = Story::new();
    story.apply("a", json!({"replicas": 1}));
    for at in 0..13 {
        let label = format!("l{at}");
        story.update(&format!("m{at:02}"), |new| {
            new["metadata"]["labels"][label] = json!("1")
        });
    }
    let entries = story.live()["metadata"]["managedFields"]
        .as_array()
        .unwrap();
    let names: Vec<&str> = entries
        .iter()
        .map(|entry| entry["manager"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "a",
            "ancient-changes",
            "m04",
            "m05",
            "m06",
            "m07",
            "m08",
            "m09",
            "m10",
            "m11",
            "m12"
        ]
    );
    assert_eq!(
        entries[1]["fieldsV1"]["f:metadata"]["f:labels"],
        json!({".": {}, "f:l0": {}, "f:l1": {}, "f:l2": {}, "f:l3": {}})
    );
    assert_eq!(entries[1]["time"], "2030-01-01T00:00:05Z");
}

#[test]
fn items_that_are_there_twice_are_one_leaf() {
    let mut story = Story::new();
    let twice = json!({"template": {"ports": [{"port": 1, "protocol": "TCP", "name": "a"}, {"port": 1, "name": "b"}]}});
    story.update("hand", |new| new["spec"] = twice);
    let key = r#"k:{"port":1,"protocol":"TCP"}"#;
    story.owns(&[(
        "hand",
        "Update",
        json!({"f:spec": {"f:template": {"f:ports": {".": {}, key: {}}}}}),
    )]);
    story
        .force(
            "a",
            json!({"template": {"ports": [{"port": 1, "name": "c"}]}}),
        )
        .has_spec(json!({"template": {"ports": [{"port": 1, "name": "c"}]}}));
}

#[test]
fn an_empty_value_is_owned_as_a_whole() {
    let mut story = Story::new();
    let labels = json!({"f:metadata": {"f:labels": {}}});
    story
        .update("a", |new| new["metadata"]["labels"] = json!({}))
        .owns(&[("a", "Update", labels.clone())])
        .update("b", |new| new["metadata"]["labels"] = json!(null))
        .owns(&[("b", "Update", labels)]);
}
