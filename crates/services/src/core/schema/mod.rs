//! What types the API's objects are made of: names, protobuf numbers, shapes, and how lists are
//! merged. One table (`table.txt`) is the source of everything that follows from it: which fields
//! are refused as unknown, what patches and field ownership do with lists, OpenAPI documents,
//! protobuf bodies.
//!
//! The table holds facts of Kubernetes' published API (generated.proto and the OpenAPI documents
//! of release 1.37), in a form of our own:
//!
//! ```text
//! core.v1.PodSpec                       a type; `atomic` behind it: always replaced as a whole
//!   2 containers! []core.v1.Container merge=name list=map:name -- its programs
//!   3 restartPolicy string
//! ```
//!
//! A field has its protobuf number, its JSON name (`!`: required), its shape, its marks, and
//! behind ` -- ` a description. The number 0: not in the protobuf message (`apiVersion` and
//! `kind`, which its envelope has); `2.1`: number 1 of the message that is number 2 there, while
//! in JSON its fields stand among the others. Shapes: `string int32 int64 bool double bytes time microtime
//! quantity intOrString any` (any: free JSON), `[]X`, `{}X` (a map from strings), or a type.
//! Marks: `pointer`: absent and zero are told apart (a pointer in Go); `always`: written
//! even if empty, though not required; `merge` (lists of scalars) and `merge=KEY`: merged by strategic merge patches;
//! `retainKeys`: and only the keys of the patch are kept; `replace`: such patches replace the
//! struct; `default=TEXT`: what an item's key is if it is left out; `list=map:KEY,KEY`, `list=set`,
//! `list=atomic`: who owns what in a list; `atomic`: a map or struct that has one owner.

pub mod check;
pub mod proto;

use std::{collections::BTreeMap, sync::LazyLock};

/// A scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Scalar {
    String,
    Int32,
    Int64,
    Bool,
    Double,
    /// Base64 in JSON.
    Bytes,
    /// RFC 3339 with seconds.
    Time,
    /// RFC 3339 with microseconds.
    MicroTime,
    /// A string or number in JSON.
    Quantity,
    /// An int32 or a string.
    IntOrString,
    /// Any JSON.
    Any,
}

/// What a value looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A scalar.
    Scalar(Scalar),
    /// A type of the table, by its name.
    Type(&'static str),
    /// A list.
    List(Box<Shape>),
    /// A map from strings.
    Map(Box<Shape>),
}

/// Who owns what in a list (`x-kubernetes-list-type`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// It has one owner.
    Atomic,
    /// Each scalar has its owners.
    Set,
    /// Each item has, known by these fields of it.
    Map(Vec<&'static str>),
}

/// A field of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in JSON.
    pub name: &'static str,
    /// Its number in protobuf; 0 if it is not in the message.
    pub number: u32,
    /// The number of the message it stands in there, if that has no name of its own in JSON.
    pub within: Option<u32>,
    /// What it holds.
    pub shape: Shape,
    /// Whether OpenAPI tells that it has to be there.
    pub is_required: bool,
    /// Whether absent and zero are told apart.
    pub is_pointer: bool,
    /// Whether it is written even if it is empty, though not required.
    pub is_always: bool,
    /// Whether a strategic merge patch merges the list.
    pub is_merged: bool,
    /// By what items are told apart then; none for lists of scalars.
    pub merge_key: Option<&'static str>,
    /// Whether a strategic merge patch drops what it does not name (`retainKeys`).
    pub retains_keys: bool,
    /// Whether a strategic merge patch replaces the struct instead of merging into it.
    pub is_replaced: bool,
    /// What it is, as a key of a list's items, if it is left out.
    pub default: Option<&'static str>,
    /// Who owns what in it, if it is a list.
    pub list: ListKind,
    /// Whether it is a map or struct with one owner.
    pub is_atomic: bool,
    /// What it is, in a sentence; may be empty.
    pub doc: &'static str,
}

impl Field {
    /// Whether nothing is written for it where it is empty (`omitempty` in Go).
    pub fn omits_empty(&self) -> bool {
        !self.is_pointer && !self.is_required && !self.is_always
    }
}

/// A type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    /// Its name, as `core.v1.PodSpec`: the last part of the group, the version, the name.
    pub name: &'static str,
    /// Its fields, in the table's order.
    pub fields: Vec<Field>,
    /// Whether it has one owner wherever it stands.
    pub is_atomic: bool,
    /// What it is; may be empty.
    pub doc: &'static str,
}

impl Type {
    /// A field, by its name in JSON.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// All types.
#[derive(Debug)]
pub struct Schema {
    types: BTreeMap<&'static str, Type>,
}

impl Schema {
    /// The type of a name.
    pub fn get(&self, name: &str) -> Option<&Type> {
        self.types.get(name)
    }

    /// Every type, in order of their names.
    pub fn types(&self) -> impl Iterator<Item = &Type> {
        self.types.values()
    }
}

/// The table, read once.
///
/// # Panics
/// If it can't be read, which a test excludes.
pub fn schema() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> =
        LazyLock::new(|| parse(include_str!("table.txt")).expect("the table can be read"));
    &SCHEMA
}

/// Reads a table.
///
/// # Errors
/// The line that can't be read, and why.
pub fn parse(table: &'static str) -> Result<Schema, String> {
    let mut types = BTreeMap::new();
    let mut current: Option<Type> = None;
    for (number, line) in table.lines().enumerate() {
        let at = |why: &str| format!("line {}: {why}: {line}", number + 1);
        let (line, doc) = line.split_once(" -- ").unwrap_or((line, ""));
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if !line.starts_with(' ') {
            if let Some(done) = current.take() {
                types.insert(done.name, done);
            }
            current = Some(Type {
                name: first,
                fields: Vec::new(),
                is_atomic: words.next() == Some("atomic"),
                doc,
            });
            continue;
        }
        let Some(owner) = &mut current else {
            return Err(at("a field before any type"));
        };
        let (within, number) = numbers(first).ok_or_else(|| at("no protobuf number"))?;
        let name = words.next().ok_or_else(|| at("no name"))?;
        let shape = shape(words.next().ok_or_else(|| at("no shape"))?);
        let mut field = Field {
            name: name.trim_end_matches('!'),
            number,
            within,
            shape,
            is_required: name.ends_with('!'),
            is_pointer: false,
            is_always: false,
            is_merged: false,
            merge_key: None,
            retains_keys: false,
            is_replaced: false,
            default: None,
            list: ListKind::Atomic,
            is_atomic: false,
            doc,
        };
        for mark in words {
            match mark.split_once('=').unwrap_or((mark, "")) {
                ("merge", key) => {
                    field.is_merged = true;
                    field.merge_key = Some(key).filter(|key| !key.is_empty());
                }
                ("retainKeys", "") => field.retains_keys = true,
                ("replace", "") => field.is_replaced = true,
                ("pointer", "") => field.is_pointer = true,
                ("always", "") => field.is_always = true,
                ("default", value) => field.default = Some(value),
                ("atomic", "") => field.is_atomic = true,
                ("list", "set") => field.list = ListKind::Set,
                ("list", "atomic") => field.list = ListKind::Atomic,
                ("list", keys) if keys.starts_with("map:") => {
                    field.list = ListKind::Map(keys[4..].split(',').collect());
                }
                _ => return Err(at("an unknown mark")),
            }
        }
        owner.fields.push(field);
    }
    if let Some(done) = current.take() {
        types.insert(done.name, done);
    }
    Ok(Schema { types })
}

/// `3` or `2.1`: the message's number, if it stands in one, and its own.
fn numbers(text: &str) -> Option<(Option<u32>, u32)> {
    match text.split_once('.') {
        Some((within, number)) => Some((Some(within.parse().ok()?), number.parse().ok()?)),
        None => Some((None, text.parse().ok()?)),
    }
}

fn shape(text: &'static str) -> Shape {
    if let Some(item) = text.strip_prefix("[]") {
        return Shape::List(Box::new(shape(item)));
    }
    if let Some(item) = text.strip_prefix("{}") {
        return Shape::Map(Box::new(shape(item)));
    }
    Shape::Scalar(match text {
        "string" => Scalar::String,
        "int32" => Scalar::Int32,
        "int64" => Scalar::Int64,
        "bool" => Scalar::Bool,
        "double" => Scalar::Double,
        "bytes" => Scalar::Bytes,
        "time" => Scalar::Time,
        "microtime" => Scalar::MicroTime,
        "quantity" => Scalar::Quantity,
        "intOrString" => Scalar::IntOrString,
        "any" => Scalar::Any,
        name => return Shape::Type(name),
    })
}

#[cfg(test)]
mod tests;
