use std::collections::BTreeSet;

use super::*;
use crate::core::versions;

fn field(type_name: &str, name: &str) -> &'static Field {
    schema().get(type_name).unwrap().field(name).unwrap()
}

fn types_in(shape: &Shape) -> Option<&'static str> {
    match shape {
        Shape::Scalar(_) => None,
        Shape::Type(name) => Some(name),
        Shape::List(item) | Shape::Map(item) => types_in(item),
    }
}

#[test]
fn the_table_is_whole() {
    let table = include_str!("table.txt");
    let names: Vec<&str> = table
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with([' ', '#']))
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert!(names.is_sorted(), "sorted by name");
    assert_eq!(names.len(), schema().types().count(), "none twice");
    for owner in schema().types() {
        let numbers: Vec<(u32, u32)> = owner
            .fields
            .iter()
            .map(|field| {
                field
                    .within
                    .map_or((field.number, 0), |within| (within, field.number))
            })
            .collect();
        assert!(numbers.is_sorted(), "{}", owner.name);
        let numbered: Vec<_> = numbers.iter().filter(|number| number.0 > 0).collect();
        assert_eq!(
            numbered.iter().collect::<BTreeSet<_>>().len(),
            numbered.len(),
            "{}",
            owner.name
        );
        let names: BTreeSet<&str> = owner.fields.iter().map(|field| field.name).collect();
        assert_eq!(names.len(), owner.fields.len(), "{}", owner.name);
        for field in &owner.fields {
            let named = types_in(&field.shape);
            assert!(
                named.is_none_or(|name| schema().get(name).is_some()),
                "{}.{}: no {named:?}",
                owner.name,
                field.name
            );
        }
    }
}

#[test]
fn keys_of_items_are_fields_of_them() {
    for owner in schema().types() {
        for field in &owner.fields {
            let keys = match &field.list {
                ListKind::Map(keys) => keys.clone(),
                ListKind::Atomic | ListKind::Set => Vec::new(),
            };
            if keys.is_empty() && field.merge_key.is_none() {
                continue;
            }
            let item = schema().get(types_in(&field.shape).unwrap()).unwrap();
            for key in keys.into_iter().chain(field.merge_key) {
                assert!(
                    item.field(key).is_some(),
                    "{}.{}: {key}",
                    owner.name,
                    field.name
                );
            }
        }
    }
}

#[test]
fn every_kind_that_is_served_has_its_type() {
    for kind in versions::served() {
        let known = schema().get(kind.type_name).unwrap();
        for (name, number) in [("apiVersion", 0), ("kind", 0), ("metadata", 1)] {
            assert_eq!(known.field(name).unwrap().number, number, "{}", kind.kind);
        }
        assert!(!known.doc.is_empty(), "{} has no description", kind.kind);
    }
}

#[test]
fn facts_are_read() {
    let containers = field("core.v1.PodSpec", "containers");
    assert_eq!((containers.number, containers.is_required), (2, true));
    assert_eq!(containers.merge_key, Some("name"));
    assert_eq!(containers.list, ListKind::Map(vec!["name"]));
    assert_eq!(
        containers.shape,
        Shape::List(Box::new(Shape::Type("core.v1.Container")))
    );
    let ports = field("core.v1.ServiceSpec", "ports");
    assert_eq!(ports.merge_key, Some("port"));
    assert_eq!(ports.list, ListKind::Map(vec!["port", "protocol"]));
    assert_eq!(
        field("core.v1.ServicePort", "protocol").default,
        Some("TCP")
    );
    let finalizers = field("meta.v1.ObjectMeta", "finalizers");
    assert!(finalizers.is_merged && finalizers.merge_key.is_none());
    assert_eq!(finalizers.list, ListKind::Set);
    assert!(field("core.v1.PodSpec", "volumes").retains_keys);
    assert!(field("core.v1.PodSpec", "nodeSelector").is_atomic);
    assert!(field("policy.v1.PodDisruptionBudgetSpec", "selector").is_replaced);
    assert!(schema().get("meta.v1.LabelSelector").unwrap().is_atomic);
    assert!(field("apps.v1.DeploymentSpec", "replicas").is_pointer);
    assert!(field("apps.v1.DeploymentSpec", "paused").omits_empty());
    assert!(!field("policy.v1.PodDisruptionBudgetStatus", "expectedPods").omits_empty());
    let empty_dir = field("core.v1.Volume", "emptyDir");
    assert_eq!((empty_dir.within, empty_dir.number), (Some(2), 2));
}

#[test]
fn a_line_that_is_no_fact_is_refused() {
    for (table, why) in [
        ("  1 a string", "a field before any type"),
        ("a.v1.B\n  x a string", "no protobuf number"),
        ("a.v1.B\n  1", "no name"),
        ("a.v1.B\n  1 a", "no shape"),
        ("a.v1.B\n  1 a string soft", "an unknown mark"),
    ] {
        assert!(parse(table).unwrap_err().contains(why), "{table}");
    }
}
