//! An object: JSON, with what every kind has in its `metadata`. Objects that are kept have been
//! checked against the schema, so that a field that is there has its type.

use serde_json::{Map, Value};

use super::kinds::Kind;

/// What names an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Its kind.
    pub kind: &'static Kind,
    /// Its namespace; empty if the kind has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Name {
    /// The name of an object of a kind.
    pub fn of(kind: &'static Kind, object: &Value) -> Name {
        Name {
            kind,
            namespace: namespace(object).to_owned(),
            name: name(object).to_owned(),
        }
    }
}

/// A list's items; none if it is no list.
pub fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// The containers of a pod: those that run before, and the others.
pub fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["initContainers", "containers"].into_iter();
    lists.flat_map(|list| items(&pod["spec"][list]))
}

/// A text of `metadata`; empty if it is not there.
pub fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// Its name.
pub fn name(object: &Value) -> &str {
    meta(object, "name")
}

/// Its namespace; empty if it has none.
pub fn namespace(object: &Value) -> &str {
    meta(object, "namespace")
}

/// Its uid.
pub fn uid(object: &Value) -> &str {
    meta(object, "uid")
}

/// Whether it is being deleted.
pub fn is_being_deleted(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// A label.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["labels"][key].as_str()
}

/// An annotation.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][key].as_str()
}

/// The finalizers that are left.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    let list = object["metadata"]["finalizers"].as_array();
    list.into_iter().flatten().filter_map(Value::as_str)
}

/// The owner that controls it: the entry of `ownerReferences`.
pub fn controller(object: &Value) -> Option<&Value> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    owners.iter().find(|owner| owner["controller"] == true)
}

/// Its `metadata`, made if it is not there.
pub fn meta_mut(object: &mut Value) -> &mut Map<String, Value> {
    child_mut(object, "metadata")
}

/// An object's child object, made if it is not there or is none.
///
/// # Panics
/// If `object` is no JSON object.
pub fn child_mut<'a>(object: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    let object = object.as_object_mut().expect("an object of the API");
    let child = object.entry(field).or_insert(Value::Null);
    if !child.is_object() {
        *child = Value::Object(Map::new());
    }
    child.as_object_mut().expect("it was just made")
}
