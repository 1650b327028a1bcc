//! What holds for all configurations, and for garbage.

use proptest::prelude::*;

use super::*;
use crate::core::patch::tests::garbage;

/// Configurations that have the schema's form.
fn specs() -> impl Strategy<Value = Value> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    let labels = || {
        prop::collection::btree_map(
            name(),
            prop_oneof![Just(json!("1")), Just(json!("2"))],
            0..3,
        )
    };
    let env = prop::collection::btree_map(name(), name(), 0..3).prop_map(|env| -> Value {
        env.iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect()
    });
    let containers = prop::collection::btree_map(name(), (name(), prop::option::of(env)), 0..3);
    let containers = (containers, any::<bool>()).prop_map(|(containers, is_reversed)| -> Value {
        let mut items: Vec<Value> = containers
            .iter()
            .map(|(name, (image, env))| match env {
                Some(env) => json!({"name": name, "image": image, "env": env}),
                None => json!({"name": name, "image": image}),
            })
            .collect();
        if is_reversed {
            items.reverse();
        }
        json!(items)
    });
    let template = (labels(), prop::option::of(containers)).prop_map(|(labels, containers)| {
        let mut template = json!({"labels": labels});
        if let Some(containers) = containers {
            template["containers"] = containers;
        }
        template
    });
    (
        prop::option::of(0..3),
        prop::option::of(labels()),
        prop::option::of(template),
    )
        .prop_map(|(replicas, selector, template)| {
            let mut spec = json!({});
            for (name, value) in [
                ("replicas", replicas.map(Value::from)),
                ("selector", selector.map(|one| json!(one))),
                ("template", template),
            ] {
                if let Some(value) = value {
                    spec[name] = value;
                }
            }
            spec
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn to_apply_again_changes_nothing(before in specs(), others in specs(), mine in specs()) {
        let mut story = Story::new();
        story.update("hand", |new| new["spec"] = before).force("b", others).force("a", mine.clone());
        let once = story.live().clone();
        story.apply("a", mine);
        prop_assert_eq!(story.live(), &once);
    }

    #[test]
    fn one_managers_object_is_what_it_applied_last(first in specs(), second in specs()) {
        let mut twice = Story::new();
        twice.apply("a", first).apply("a", second.clone());
        let mut once = Story::new();
        once.apply("a", second);
        let fields = |story: &Story| story.live()["metadata"]["managedFields"][0]["fieldsV1"].clone();
        prop_assert_eq!(fields(&twice), fields(&once));
        // Empty structs may be left, or not.
        let spec = |story: &Story| fields_of(
            Forms { schema: &story.schema },
            Form::Struct(story.schema.get("apps.v1.Thing").expect("it is in the table")),
            story.live(),
        ).difference(&{
            let mut empty = FieldSet::default();
            empty.insert(&[field("spec")]);
            empty.insert(&[field("spec"), field("template")]);
            empty.insert(&[field("spec"), field("template"), field("labels")]);
            empty
        });
        prop_assert_eq!(spec(&twice).paths(), spec(&once).paths());
    }

    #[test]
    fn to_give_up_all_leaves_what_others_own(others in specs(), mine in specs()) {
        let mut story = Story::new();
        story.apply("b", others.clone());
        let mut shared = Story::new();
        shared.apply("b", others);
        // Where they differ, there would be a conflict.
        if shared.try_apply("a", &Story::object(mine), false).is_ok() {
            shared.apply("a", json!({}));
            let of_b = |story: &Story| story.live()["metadata"]["managedFields"].clone();
            prop_assert_eq!(of_b(&shared), of_b(&story));
            // An empty list may be left.
            let count = |story: &Story| {
                story.live()["spec"]["template"]["containers"].as_array().map_or(0, Vec::len)
            };
            prop_assert_eq!(count(&shared), count(&story));
        }
    }

    #[test]
    fn garbage_never_panics_here(live in garbage(), new in garbage(), entries in garbage(), is_forced: bool) {
        let schema = schema::parse(TABLE).expect("the table is right");
        for subresource in ["", "status"] {
            let writer = Writer { manager: "a", subresource, now: "2030-01-01T00:00:00Z" };
            let whole = |spec: &Value| json!({
                "apiVersion": "apps/v1", "kind": "Thing", "spec": spec,
                "metadata": {"managedFields": [{
                    "manager": "b", "operation": "Update", "apiVersion": "apps/v1",
                    "fieldsType": "FieldsV1", "fieldsV1": entries,
                }]},
            });
            for live in [live.clone(), whole(&live)] {
                for new in [new.clone(), whole(&new), Story::object(new.clone())] {
                    let _ = apply(&schema, "apps.v1.Thing", Some(&live), &new, &writer, is_forced);
                    let mut new = new;
                    update(&schema, "apps.v1.Thing", Some(&live), &mut new, &writer);
                }
            }
        }
    }
}
