//! Stories of managers that apply.

mod lists;
mod properties;
mod refusals;
mod updates;

use super::*;
use crate::core::schema;

pub(in crate::core::patch) const TABLE: &str = "
apps.v1.Thing
  0 apiVersion string
  0 kind string
  1 metadata meta.v1.Meta
  2 spec apps.v1.Spec
  3 status apps.v1.Status
meta.v1.Meta
  1 name string
  2 namespace string
  3 uid string
  4 resourceVersion string
  5 labels {}string
  6 finalizers []string merge list=set
  7 managedFields []meta.v1.Entry
  8 generation int64
  9 creationTimestamp time
  10 annotations {}string
meta.v1.Entry
  1 manager string
  7 fieldsV1 any
apps.v1.Spec
  1 replicas int32 pointer
  2 selector {}string atomic
  3 template apps.v1.Template
  4 args []string
  5 strategy apps.v1.Strategy pointer
  6 free any
apps.v1.Strategy
  1 type string
apps.v1.Template
  1 labels {}string
  2 containers []apps.v1.Container merge=name list=map:name
  3 ports []apps.v1.Port merge=port list=map:port,protocol
apps.v1.Container
  1 name! string
  2 image string
  3 env []apps.v1.Env merge=name list=map:name
  4 limits {}quantity
apps.v1.Env
  1 name! string
  2 value string
apps.v1.Port
  1 port! int32
  2 protocol string default=TCP
  3 name string
apps.v1.Status
  1 ready int32
";

/// An object, and what managers do to it.
struct Story {
    schema: Schema,
    live: Option<Value>,
    clock: u32,
}

impl Story {
    fn new() -> Story {
        Story {
            schema: schema::parse(TABLE).unwrap(),
            live: None,
            clock: 0,
        }
    }

    fn object(spec: Value) -> Value {
        let mut object =
            json!({"apiVersion": "apps/v1", "kind": "Thing", "metadata": {"name": "it"}});
        if spec != json!({}) {
            object["spec"] = spec;
        }
        object
    }

    fn try_apply(
        &mut self,
        manager: &str,
        applied: &Value,
        is_forced: bool,
    ) -> Result<(), Failure> {
        self.clock += 1;
        let now = format!("2030-01-01T00:00:{:02}Z", self.clock);
        let writer = Writer {
            manager,
            subresource: "",
            now: &now,
        };
        let live = self.live.as_ref();
        self.live = Some(apply(
            &self.schema,
            "apps.v1.Thing",
            live,
            applied,
            &writer,
            is_forced,
        )?);
        Ok(())
    }

    #[track_caller]
    fn apply(&mut self, manager: &str, spec: Value) -> &mut Story {
        self.try_apply(manager, &Story::object(spec), false)
            .unwrap();
        self
    }

    #[track_caller]
    fn force(&mut self, manager: &str, spec: Value) -> &mut Story {
        self.try_apply(manager, &Story::object(spec), true).unwrap();
        self
    }

    fn refused(&mut self, manager: &str, spec: Value) -> Failure {
        self.try_apply(manager, &Story::object(spec), false)
            .unwrap_err()
    }

    /// Changes the object by hand, or makes it.
    fn update(&mut self, manager: &str, change: impl FnOnce(&mut Value)) -> &mut Story {
        self.update_through(manager, "", change)
    }

    fn update_through(
        &mut self,
        manager: &str,
        subresource: &str,
        change: impl FnOnce(&mut Value),
    ) -> &mut Story {
        self.clock += 1;
        let now = format!("2030-01-01T00:00:{:02}Z", self.clock);
        let writer = Writer {
            manager,
            subresource,
            now: &now,
        };
        let mut new = self
            .live
            .clone()
            .unwrap_or_else(|| Story::object(json!({})));
        change(&mut new);
        update(
            &self.schema,
            "apps.v1.Thing",
            self.live.as_ref(),
            &mut new,
            &writer,
        );
        self.live = Some(new);
        self
    }

    fn live(&self) -> &Value {
        self.live.as_ref().unwrap()
    }

    #[track_caller]
    fn has_spec(&mut self, expected: Value) -> &mut Story {
        assert_eq!(self.live()["spec"], expected);
        self
    }

    /// What each manager owns, in the order of the entries.
    #[track_caller]
    fn owns(&mut self, expected: &[(&str, &str, Value)]) -> &mut Story {
        let none = Vec::new();
        let entries = self.live()["metadata"]["managedFields"]
            .as_array()
            .unwrap_or(&none);
        let found: Vec<Value> = entries
            .iter()
            .map(|entry| json!([entry["manager"], entry["operation"], entry["fieldsV1"]]))
            .collect();
        let expected: Vec<Value> = expected
            .iter()
            .map(|(name, how, what)| json!([name, how, what]))
            .collect();
        assert_eq!(found, expected, "\n{}", json!(found));
        self
    }
}

#[test]
fn what_is_applied_is_made_and_owned() {
    let mut story = Story::new();
    story.apply(
        "a",
        json!({"replicas": 1, "selector": {"app": "x"}, "args": ["a"]}),
    );
    story.has_spec(json!({"replicas": 1, "selector": {"app": "x"}, "args": ["a"]}));
    story.owns(&[(
        "a",
        "Apply",
        json!({"f:spec": {"f:args": {}, "f:replicas": {}, "f:selector": {}}}),
    )]);
    let entry = &story.live()["metadata"]["managedFields"][0];
    assert_eq!(entry["apiVersion"], "apps/v1");
    assert_eq!(entry["fieldsType"], "FieldsV1");
    assert_eq!(entry["time"], "2030-01-01T00:00:01Z");
    assert_eq!(entry.get("subresource"), None);
}

#[test]
fn managers_share_an_object_field_by_field() {
    let mut story = Story::new();
    story
        .apply(
            "a",
            json!({"replicas": 1, "template": {"labels": {"x": "1"}}}),
        )
        .apply(
            "b",
            json!({"args": ["b"], "template": {"labels": {"y": "2"}}}),
        )
        .has_spec(
            json!({"replicas": 1, "args": ["b"], "template": {"labels": {"x": "1", "y": "2"}}}),
        )
        .owns(&[
            (
                "a",
                "Apply",
                json!({"f:spec": {"f:replicas": {}, "f:template": {"f:labels": {"f:x": {}}}}}),
            ),
            (
                "b",
                "Apply",
                json!({"f:spec": {"f:args": {}, "f:template": {"f:labels": {"f:y": {}}}}}),
            ),
        ])
        // Each gives up its own only.
        .apply("a", json!({}))
        .has_spec(json!({"args": ["b"], "template": {"labels": {"y": "2"}}}));
}

#[test]
fn force_takes_a_field_over() {
    let mut story = Story::new();
    story
        .apply("a", json!({"replicas": 1, "args": ["a"]}))
        .force("b", json!({"replicas": 2}))
        .has_spec(json!({"replicas": 2, "args": ["a"]}))
        .owns(&[
            ("a", "Apply", json!({"f:spec": {"f:args": {}}})),
            ("b", "Apply", json!({"f:spec": {"f:replicas": {}}})),
        ])
        // Who lost it now leaves it alone.
        .apply("a", json!({"args": ["a"]}))
        .has_spec(json!({"replicas": 2, "args": ["a"]}));
}

#[test]
fn the_same_value_is_owned_together() {
    let mut story = Story::new();
    story
        .apply("a", json!({"replicas": 1}))
        .apply("b", json!({"replicas": 1}));
    let replicas = json!({"f:spec": {"f:replicas": {}}});
    story.owns(&[
        ("a", "Apply", replicas.clone()),
        ("b", "Apply", replicas.clone()),
    ]);
    assert_eq!(
        story.refused("a", json!({"replicas": 2})).message,
        "Apply failed with 1 conflict: conflict with \"b\": .spec.replicas"
    );
    // It stays until the last one gives it up.
    story.apply("a", json!({})).has_spec(json!({"replicas": 1}));
    story.owns(&[("b", "Apply", replicas)]);
    story.apply("b", json!({}));
    assert_eq!(story.live().get("spec"), None);
    story.owns(&[]);
}

#[test]
fn what_was_updated_is_not_pruned() {
    let mut story = Story::new();
    story
        .update("hand", |new| {
            new["spec"] = json!({"replicas": 1, "args": ["x"]})
        })
        .apply("a", json!({"replicas": 1, "strategy": {"type": "x"}}))
        .apply("a", json!({}))
        .has_spec(json!({"replicas": 1, "args": ["x"]}));
}

#[test]
fn what_no_one_owns_is_not_pruned() {
    let mut story = Story::new();
    let mut applied = Story::object(json!({"replicas": 1}));
    applied["metadata"]["labels"] = json!({"a": "1"});
    story.try_apply("a", &applied, false).unwrap();
    story.update("server", |new| new["metadata"]["uid"] = json!("1"));
    // Not even if someone says that it was applied.
    story.update("hand", |new| {
        new["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"]["f:uid"] = json!({});
    });
    applied.as_object_mut().unwrap().remove("metadata");
    story.try_apply("a", &applied, false).unwrap();
    let mut live = story.live().clone();
    managed::take(&mut live);
    assert_eq!(live["metadata"], json!({"name": "it", "uid": "1"}));
}

#[test]
fn what_was_never_applied_is_not_pruned_with_it() {
    let mut story = Story::new();
    story.apply("a", json!({"replicas": 1, "strategy": {"type": "x"}}));
    // There are fields of no owner, where one had been forgotten.
    let mut live = story.live().clone();
    live["spec"]["args"] = json!(["x"]);
    live["spec"]["template"] = json!({"labels": {"x": "1"}});
    story.live = Some(live);
    story
        .apply("a", json!({"replicas": 1}))
        .has_spec(json!({"replicas": 1, "args": ["x"], "template": {"labels": {"x": "1"}}}));
}

#[test]
fn null_removes_and_is_owned() {
    let mut story = Story::new();
    story
        .apply("a", json!({"replicas": 1, "args": ["x"]}))
        .apply("a", json!({"replicas": null, "args": ["x"]}));
    story.has_spec(json!({"args": ["x"]}));
    story.owns(&[(
        "a",
        "Apply",
        json!({"f:spec": {"f:args": {}, "f:replicas": {}}}),
    )]);
    // What is someone else's is not removed without being asked either.
    let failure = story.refused("b", json!({"args": null}));
    assert!(
        failure.message.ends_with("conflict with \"a\": .spec.args"),
        "{failure}"
    );
    // Free JSON keeps its nulls.
    story.apply("c", json!({"free": {"x": null}}));
    assert_eq!(story.live()["spec"]["free"], json!({"x": null}));
}
