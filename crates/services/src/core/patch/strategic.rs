//! Strategic merge patches: merge patches that know from the schema which lists are merged, and
//! by which key their items are told apart (Kubernetes community repository, "Strategic Merge
//! Patch"; `apimachinery/pkg/util/strategicpatch`).
//!
//! Objects are merged and `null` removes, as in a merge patch. Beside the fields, a patch holds
//! directives: `$patch` (`replace`, `delete`, `merge`) in an object or an item,
//! `$retainKeys` (the fields that may stay), `$deleteFromPrimitiveList/FIELD` (scalars to take
//! out), `$setElementOrder/FIELD` (the order of the list afterwards). None of them, and no
//! `null`, is left in what comes out of a patch. Lists are merged in `lists`.

mod lists;

use serde_json::{Map, Value};

use super::malformed;
use crate::core::{
    schema::{Field, Schema, Shape, Type},
    status::Failure,
};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList";
const SET_ORDER: &str = "$setElementOrder";

/// Merges a patch into an object of a type.
///
/// # Errors
/// If the patch is no object, or a directive or an item of a list is malformed (400), or if
/// lists of lists would have to be merged (422).
pub(super) fn patch(
    schema: &Schema,
    type_name: &str,
    live: &Value,
    patch: &Value,
) -> Result<Value, Failure> {
    let Some(root) = schema.get(type_name) else {
        return Err(Failure::bad_request(
            "strategic merge patch format is not supported",
        ));
    };
    let (Some(live), Some(patch)) = (live.as_object(), patch.as_object()) else {
        return Err(malformed("a strategic merge patch is an object"));
    };
    let merger = Merger { schema };
    merger
        .object(live.clone(), patch, Owner::Type(root))
        .map(Value::Object)
}

/// What is known of the object that is being merged.
#[derive(Clone, Copy)]
enum Owner<'s> {
    Type(&'s Type),
    Map(&'s Shape),
    /// Nothing: free JSON, or a field the schema does not have.
    Free,
}

/// What a `$patch` says of the object it stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

struct Merger<'s> {
    schema: &'s Schema,
}

impl<'s> Merger<'s> {
    fn owner(&self, shape: &'s Shape) -> Owner<'s> {
        match shape {
            Shape::Type(name) => self.schema.get(name).map_or(Owner::Free, Owner::Type),
            Shape::Map(value) => Owner::Map(value),
            Shape::Scalar(_) | Shape::List(_) => Owner::Free,
        }
    }

    /// What is known of an object's field: the field itself, and the owner of what it holds.
    fn field(&self, owner: Owner<'s>, name: &str) -> (Option<&'s Field>, Owner<'s>) {
        match owner {
            Owner::Type(owner) => match owner.field(name) {
                Some(field) => (Some(field), self.owner(&field.shape)),
                None => (None, Owner::Free),
            },
            Owner::Map(value) => (None, self.owner(value)),
            Owner::Free => (None, Owner::Free),
        }
    }

    fn object(
        &self,
        mut live: Map<String, Value>,
        patch: &Map<String, Value>,
        owner: Owner<'s>,
    ) -> Result<Map<String, Value>, Failure> {
        match directive(patch)? {
            Directive::Merge => {}
            Directive::Replace => return Ok(clean_fields(patch)),
            Directive::Delete => return Ok(Map::new()),
        }
        retain_keys(&mut live, patch)?;
        for (key, value) in patch {
            if let Some(name) = list_directive(key, DELETE_FROM_LIST)? {
                lists::delete_scalars(live.get_mut(name), value)?;
            }
        }
        for (key, value) in patch.iter().filter(|(key, _)| !is_directive(key)) {
            self.value(&mut live, key, value, owner)?;
        }
        for (key, order) in patch {
            if let Some(name) = list_directive(key, SET_ORDER)? {
                let (Some(field), _) = self.field(owner, name) else {
                    continue;
                };
                if field.is_merged {
                    lists::set_order(live.get_mut(name), patch.get(name), order, field.merge_key)?;
                }
            }
        }
        Ok(live)
    }

    /// Merges one field of a patch.
    fn value(
        &self,
        live: &mut Map<String, Value>,
        name: &str,
        patch: &Value,
        owner: Owner<'s>,
    ) -> Result<(), Failure> {
        let (field, child) = self.field(owner, name);
        let is_replaced = field.is_some_and(|field| field.is_replaced);
        let is_merged = field.is_some_and(|field| field.is_merged);
        let merged = match (live.remove(name), patch) {
            (_, Value::Null) => None,
            (Some(Value::Object(old)), Value::Object(patch)) if !is_replaced => {
                Some(Value::Object(self.object(old, patch, child)?))
            }
            (Some(Value::Array(old)), Value::Array(patch)) if is_merged => {
                let field = field.expect("it is merged");
                Some(Value::Array(self.list(old, patch, field)?))
            }
            (_, patch) => clean(patch),
        };
        if let Some(merged) = merged {
            live.insert(name.to_owned(), merged);
        }
        Ok(())
    }
}

/// The `$patch` of an object.
fn directive(patch: &Map<String, Value>) -> Result<Directive, Failure> {
    match patch.get(PATCH) {
        None => Ok(Directive::Merge),
        Some(Value::String(text)) if text == "merge" => Ok(Directive::Merge),
        Some(Value::String(text)) if text == "replace" => Ok(Directive::Replace),
        Some(Value::String(text)) if text == "delete" => Ok(Directive::Delete),
        Some(other) => Err(Failure::bad_request(format!(
            "unknown patch type: {} in map: {}",
            told(other),
            told_map(patch)
        ))),
    }
}

/// Drops the fields that `$retainKeys` does not name.
fn retain_keys(live: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), Failure> {
    let bad = || Failure::bad_request("invalid patch format of retainKeys");
    let Some(keys) = patch.get(RETAIN_KEYS) else {
        return Ok(());
    };
    let keys = keys.as_array().ok_or_else(bad)?;
    let is_named = |name: &str| keys.iter().any(|key| key == name);
    let mut set = patch
        .iter()
        .filter(|(key, value)| !value.is_null() && !is_directive(key));
    if !set.all(|(key, _)| is_named(key)) {
        return Err(bad());
    }
    live.retain(|key, _| is_named(key));
    Ok(())
}

fn is_directive(key: &str) -> bool {
    let is_of_list = |prefix| {
        key.strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    matches!(key, PATCH | RETAIN_KEYS) || is_of_list(DELETE_FROM_LIST) || is_of_list(SET_ORDER)
}

/// The list a directive is about, if the key is that directive.
fn list_directive<'a>(key: &'a str, prefix: &str) -> Result<Option<&'a str>, Failure> {
    match key.strip_prefix(prefix).map(|rest| rest.strip_prefix('/')) {
        None => Ok(None),
        Some(Some(name)) => Ok(Some(name)),
        Some(None) => Err(lists::bad_format(prefix)),
    }
}

/// What a patch's value is where there is nothing to merge it into: without directives, without
/// nulls; nothing if it only says what to delete.
fn clean(patch: &Value) -> Option<Value> {
    match patch {
        Value::Null => None,
        Value::Object(fields) => match directive(fields) {
            Ok(Directive::Merge | Directive::Replace) => Some(Value::Object(clean_fields(fields))),
            Ok(Directive::Delete) | Err(_) => None,
        },
        // An item may be null: what is wrong with it will be said by who checks the object.
        Value::Array(items) => {
            let kept = items.iter().filter_map(|item| match item {
                Value::Null => Some(Value::Null),
                item => clean(item),
            });
            Some(Value::Array(kept.collect()))
        }
        scalar => Some(scalar.clone()),
    }
}

fn clean_fields(patch: &Map<String, Value>) -> Map<String, Value> {
    let fields = patch.iter().filter(|(key, _)| !is_directive(key));
    fields
        .filter_map(|(key, value)| Some((key.clone(), clean(value)?)))
        .collect()
}

/// A value as Kubernetes' messages show it.
fn told(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(told).collect::<Vec<_>>().join(" "))
        }
        Value::Object(fields) => told_map(fields),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn told_map(fields: &Map<String, Value>) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(key, value)| format!("{key}:{}", told(value)))
        .collect();
    format!("map[{}]", fields.join(" "))
}

#[cfg(test)]
mod tests;
