//! The definitions: what types look like, with what Kubernetes' clients need beyond OpenAPI's own
//! words (`x-kubernetes-…`): the kinds, how patches merge lists, who owns what in them.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Flavor, GroupVersionKind};
use crate::core::{
    discovery::VIRTUALS,
    kinds::Kind,
    schema::{Field, ListKind, Scalar, Shape, Type, schema},
    versions,
};

/// Types with a kind that no resource has.
const OTHER_KINDS: &[(&str, GroupVersionKind)] = &[
    (
        "autoscaling.v1.Scale",
        GroupVersionKind::new("autoscaling", "v1", "Scale"),
    ),
    (
        "core.v1.Binding",
        GroupVersionKind::new("", "v1", "Binding"),
    ),
    (
        "meta.v1.DeleteOptions",
        GroupVersionKind::new("", "v1", "DeleteOptions"),
    ),
    ("meta.v1.Status", GroupVersionKind::new("", "v1", "Status")),
    (
        "policy.v1.Eviction",
        GroupVersionKind::new("policy", "v1", "Eviction"),
    ),
];

/// What stands under a name of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Definition {
    /// A type of the schema.
    Type(&'static str),
    /// The list of objects of a type that is a kind.
    List(&'static str),
    /// A body of a patch.
    Patch,
    Quantity,
    IntOrString,
    Time,
    MicroTime,
}

impl Definition {
    /// Its name, as Kubernetes has it.
    pub(super) fn name(self) -> String {
        match self {
            Definition::Type(name) => type_name(name),
            Definition::List(name) => format!("{}List", type_name(name)),
            Definition::Patch => type_name("meta.v1.Patch"),
            Definition::Time => type_name("meta.v1.Time"),
            Definition::MicroTime => type_name("meta.v1.MicroTime"),
            Definition::Quantity => "io.k8s.apimachinery.pkg.api.resource.Quantity".to_owned(),
            Definition::IntOrString => "io.k8s.apimachinery.pkg.util.intstr.IntOrString".to_owned(),
        }
    }
}

/// The name of a type of the schema: `core.v1.PodSpec` is `io.k8s.api.core.v1.PodSpec`.
fn type_name(name: &str) -> String {
    match name.starts_with("meta.") {
        true => format!("io.k8s.apimachinery.pkg.apis.{name}"),
        false => format!("io.k8s.api.{name}"),
    }
}

/// The kind that a type is, if it is one.
fn kind_of(type_name: &str) -> Option<GroupVersionKind> {
    let of_kind = |kind: &&Kind| kind.type_name == type_name;
    let kind = versions::served().find(of_kind);
    let kind = kind.map(|kind| GroupVersionKind::new(kind.group, kind.version, kind.kind));
    kind.or_else(|| {
        let one = VIRTUALS.iter().find(|one| one.type_name == type_name)?;
        Some(GroupVersionKind::new(one.group, one.version, one.kind))
    })
    .or_else(|| {
        OTHER_KINDS
            .iter()
            .find(|(name, _)| *name == type_name)
            .map(|(_, kind)| *kind)
    })
}

/// Writes references, and then the definitions that they lead to.
pub(super) struct Writer {
    flavor: Flavor,
    seen: BTreeSet<Definition>,
    left: Vec<Definition>,
}

impl Writer {
    pub(super) fn new(flavor: Flavor) -> Writer {
        Writer {
            flavor,
            seen: BTreeSet::new(),
            left: Vec::new(),
        }
    }

    /// `{"$ref": …}`.
    pub(super) fn reference(&mut self, to: Definition) -> Value {
        if self.seen.insert(to) {
            self.left.push(to);
        }
        let place = match self.flavor {
            Flavor::V2 => "definitions",
            Flavor::V3 => "components/schemas",
        };
        json!({ "$ref": format!("#/{place}/{}", to.name()) })
    }

    /// Everything that was referred to, and what that refers to in turn.
    pub(super) fn definitions(mut self) -> Map<String, Value> {
        let mut all = Map::new();
        while let Some(next) = self.left.pop() {
            let definition = self.definition(next);
            all.insert(next.name(), definition);
        }
        all
    }

    fn definition(&mut self, definition: Definition) -> Value {
        match definition {
            Definition::Type(name) => match schema().get(name) {
                Some(found) => self.type_definition(found),
                None => json!({ "type": "object" }),
            },
            Definition::List(name) => self.list_definition(name),
            Definition::Patch => json!({
                "type": "object",
                "description": "A change to an object, in the form that the Content-Type tells.",
            }),
            Definition::Quantity => self.either(
                "number",
                None,
                "An amount: a number with a suffix, as 500m, 1.5Gi, 2k, 1e3.",
            ),
            Definition::IntOrString => self.either(
                "integer",
                Some("int-or-string"),
                "A whole number or a text.",
            ),
            Definition::Time => time("A time (RFC 3339), to the second."),
            Definition::MicroTime => time("A time (RFC 3339), to the microsecond."),
        }
    }

    /// A string or something else. Version 2 has no words for a choice.
    fn either(&self, other: &str, format: Option<&str>, description: &str) -> Value {
        let mut definition = match self.flavor {
            Flavor::V2 => json!({ "type": "string" }),
            Flavor::V3 => json!({ "oneOf": [{ "type": "string" }, { "type": other }] }),
        };
        definition["description"] = description.into();
        if let Some(format) = format {
            definition["format"] = format.into();
        }
        definition
    }

    fn type_definition(&mut self, of: &Type) -> Value {
        let mut properties = Map::new();
        for field in &of.fields {
            properties.insert(field.name.to_owned(), self.field(field));
        }
        let required = of.fields.iter().filter(|field| field.is_required);
        let required: Vec<&str> = required.map(|field| field.name).collect();
        let mut definition = object(of.doc, properties, &required);
        if of.is_atomic {
            definition["x-kubernetes-map-type"] = "atomic".into();
        }
        if let Some(kind) = kind_of(of.name) {
            definition["x-kubernetes-group-version-kind"] = json!([kind.to_json()]);
        }
        definition
    }

    fn list_definition(&mut self, of: &'static str) -> Value {
        let items = self.reference(Definition::Type(of));
        let metadata = self.reference(Definition::Type("meta.v1.ListMeta"));
        let text = json!({ "type": "string" });
        let properties = [
            ("apiVersion", text.clone()),
            ("kind", text),
            (
                "metadata",
                self.described(metadata, "The list's own metadata."),
            ),
            (
                "items",
                json!({ "type": "array", "items": items, "description": "The objects." }),
            ),
        ];
        let properties = properties.map(|(name, property)| (name.to_owned(), property));
        let doc = "Objects of a kind.";
        let mut definition = object(doc, properties.into_iter().collect(), &["items"]);
        if let Some(kind) = kind_of(of) {
            let mut kind_json = kind.to_json();
            kind_json["kind"] = format!("{}List", kind.kind).into();
            definition["x-kubernetes-group-version-kind"] = json!([kind_json]);
        }
        definition
    }

    fn field(&mut self, field: &Field) -> Value {
        let schema = self.shape(&field.shape);
        let mut schema = self.described(schema, field.doc);
        if let Some(default) = field.default {
            schema["default"] = default.into();
        }
        let mut strategy = Vec::new();
        if field.is_merged {
            strategy.push("merge");
        }
        if field.retains_keys {
            strategy.push("retainKeys");
        }
        if field.is_replaced {
            strategy.push("replace");
        }
        if !strategy.is_empty() {
            schema["x-kubernetes-patch-strategy"] = strategy.join(",").into();
        }
        if let Some(key) = field.merge_key {
            schema["x-kubernetes-patch-merge-key"] = key.into();
        }
        if field.is_atomic && !matches!(field.shape, Shape::List(_)) {
            schema["x-kubernetes-map-type"] = "atomic".into();
        }
        if let Shape::List(_) = field.shape {
            add_list_kind(&mut schema, &field.list);
        }
        schema
    }

    /// Puts a description beside a schema; in version 3 nothing stands beside a reference.
    fn described(&self, schema: Value, description: &str) -> Value {
        let is_reference = schema.get("$ref").is_some();
        let mut schema = match is_reference && self.flavor == Flavor::V3 {
            true => json!({ "allOf": [schema] }),
            false => schema,
        };
        if !description.is_empty() {
            schema["description"] = description.into();
        }
        schema
    }

    fn shape(&mut self, shape: &Shape) -> Value {
        match shape {
            Shape::Scalar(scalar) => self.scalar(*scalar),
            Shape::Type(name) => self.reference(Definition::Type(name)),
            Shape::List(items) => json!({ "type": "array", "items": self.shape(items) }),
            Shape::Map(values) => {
                json!({ "type": "object", "additionalProperties": self.shape(values) })
            }
        }
    }

    fn scalar(&mut self, scalar: Scalar) -> Value {
        let (name, format) = match scalar {
            Scalar::Time => return self.reference(Definition::Time),
            Scalar::MicroTime => return self.reference(Definition::MicroTime),
            Scalar::Quantity => return self.reference(Definition::Quantity),
            Scalar::IntOrString => return self.reference(Definition::IntOrString),
            Scalar::Any => return json!({ "type": "object" }),
            Scalar::String => return json!({ "type": "string" }),
            Scalar::Bool => return json!({ "type": "boolean" }),
            Scalar::Int32 => ("integer", "int32"),
            Scalar::Int64 => ("integer", "int64"),
            Scalar::Double => ("number", "double"),
            Scalar::Bytes => ("string", "byte"),
        };
        json!({ "type": name, "format": format })
    }
}

fn time(description: &str) -> Value {
    json!({ "type": "string", "format": "date-time", "description": description })
}

/// A definition of an object. One without fields has no `properties`, as version 2's readers take
/// it for a map then.
fn object(description: &str, properties: Map<String, Value>, required: &[&str]) -> Value {
    let mut definition = json!({ "type": "object" });
    if !description.is_empty() {
        definition["description"] = description.into();
    }
    if !properties.is_empty() {
        definition["properties"] = Value::Object(properties);
    }
    if !required.is_empty() {
        definition["required"] = json!(required);
    }
    definition
}

fn add_list_kind(schema: &mut Value, list: &ListKind) {
    let kind = match list {
        ListKind::Atomic => "atomic",
        ListKind::Set => "set",
        ListKind::Map(keys) => {
            schema["x-kubernetes-list-map-keys"] = json!(keys);
            "map"
        }
    };
    schema["x-kubernetes-list-type"] = kind.into();
}
