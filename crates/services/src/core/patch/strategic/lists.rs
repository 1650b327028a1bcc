//! Lists that are merged: by a key of their items, or, for scalars, as sets. Items of the patch
//! come in the patch's order, the others keep theirs, and both are interleaved as the live list
//! had them. Everything is found by maps, since a client may send long lists.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    DELETE_FROM_LIST, Directive, Merger, PATCH, SET_ORDER, clean_fields, directive, told, told_map,
};
use crate::core::{
    patch::rejected,
    schema::{Field, Shape},
    status::Failure,
};

/// What tells items apart: the merge key's value, or the scalar itself, as JSON.
type Key = String;

impl<'s> Merger<'s> {
    /// Merges a list of a patch into the live one.
    pub(super) fn list(
        &self,
        live: Vec<Value>,
        patch: &[Value],
        field: &'s Field,
    ) -> Result<Vec<Value>, Failure> {
        let Some(first) = live.first().or(patch.first()) else {
            return Ok(live);
        };
        same_kind(first, live.iter().chain(patch))?;
        if !first.is_object() {
            return Ok(union(live, patch));
        }
        let Some(merge_key) = field.merge_key else {
            let message = format!("cannot merge lists without merge key for {}", field.name);
            return Err(Failure::bad_request(message));
        };
        self.items(live, patch, merge_key, field)
    }

    fn items(
        &self,
        live: Vec<Value>,
        patch: &[Value],
        merge_key: &str,
        field: &'s Field,
    ) -> Result<Vec<Value>, Failure> {
        let mut merged: Vec<(Key, Value)> = Vec::with_capacity(live.len());
        for item in live {
            merged.push((key(&item, Some(merge_key))?, item));
        }
        let before = positions(merged.iter().map(|(key, _)| key));
        let patch: Vec<&Map<String, Value>> = patch.iter().filter_map(Value::as_object).collect();
        let mut is_replaced = false;
        let mut is_deleted = BTreeSet::new();
        for item in &patch {
            match directive(item)? {
                Directive::Replace => is_replaced = true,
                Directive::Delete => {
                    is_deleted.insert(map_key(item, merge_key)?);
                }
                Directive::Merge => {}
            }
        }
        // The marker `$patch: replace` is no item itself.
        let of_patch = patch.iter().filter(|item| match item.get(PATCH) {
            None => true,
            Some(word) => word == "merge",
        });
        if is_replaced {
            return Ok(of_patch
                .map(|item| Value::Object(clean_fields(item)))
                .collect());
        }
        merged.retain(|(key, _)| !is_deleted.contains(key));
        let owner = match &field.shape {
            Shape::List(item) => self.owner(item),
            other => self.owner(other),
        };
        let mut at = positions(merged.iter().map(|(key, _)| key));
        let mut order = Vec::new();
        for item in of_patch {
            let key = map_key(item, merge_key)?;
            order.push(key.clone());
            match at.get(&key).map(|at| &mut merged[*at].1) {
                Some(Value::Object(old)) => {
                    *old = self.object(std::mem::take(old), item, owner)?;
                }
                _ => {
                    at.insert(key.clone(), merged.len());
                    merged.push((key, Value::Object(clean_fields(item))));
                }
            }
        }
        Ok(ordered(merged, &positions(order.iter()), &before))
    }
}

/// All items are objects, or all are scalars of one kind.
fn same_kind<'a>(
    first: &Value,
    mut items: impl Iterator<Item = &'a Value> + Clone,
) -> Result<(), Failure> {
    if items.clone().any(Value::is_array) {
        return Err(rejected()); // "lists of lists are not supported"
    }
    let kind = std::mem::discriminant(first);
    if items.all(|item| std::mem::discriminant(item) == kind) {
        return Ok(());
    }
    Err(Failure::bad_request("list element types are not identical"))
}

/// Both lists of scalars, each scalar once.
fn union(live: Vec<Value>, patch: &[Value]) -> Vec<Value> {
    let order: Vec<Key> = patch.iter().map(Value::to_string).collect();
    let before: Vec<Key> = live.iter().map(Value::to_string).collect();
    let before = positions(before.iter());
    let mut seen = BTreeSet::new();
    let all = live.into_iter().chain(patch.iter().cloned());
    let all = all.map(|item| (item.to_string(), item));
    let merged = all.filter(|(key, _)| seen.insert(key.clone())).collect();
    ordered(merged, &positions(order.iter()), &before)
}

/// `$deleteFromPrimitiveList`: takes scalars out of a list.
pub(super) fn delete_scalars(live: Option<&mut Value>, patch: &Value) -> Result<(), Failure> {
    let gone = patch
        .as_array()
        .ok_or_else(|| bad_format(DELETE_FROM_LIST))?;
    if let Some(Value::Array(items)) = live {
        let gone: BTreeSet<Key> = gone.iter().map(Value::to_string).collect();
        items.retain(|item| !gone.contains(&item.to_string()));
    }
    Ok(())
}

/// `$setElementOrder`: brings the list, which has been merged, into an order.
pub(super) fn set_order(
    list: Option<&mut Value>,
    patch: Option<&Value>,
    order: &Value,
    merge_key: Option<&str>,
) -> Result<(), Failure> {
    let order = order.as_array().ok_or_else(|| bad_format(SET_ORDER))?;
    let keys = order
        .iter()
        .map(|item| key(item, merge_key))
        .collect::<Result<Vec<_>, _>>()?;
    let patch = patch
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    follows(patch, order, &keys, merge_key)?;
    let Some(Value::Array(items)) = list else {
        return Ok(());
    };
    let mut keyed = Vec::with_capacity(items.len());
    for item in items.iter() {
        keyed.push((key(item, merge_key)?, item.clone()));
    }
    let before = positions(keyed.iter().map(|(key, _)| key));
    *items = ordered(keyed, &positions(keys.iter()), &before);
    Ok(())
}

/// The patch's items have to stand in the order they are to get.
fn follows(
    patch: &[Value],
    order: &[Value],
    keys: &[Key],
    merge_key: Option<&str>,
) -> Result<(), Failure> {
    if order.is_empty() {
        return Ok(());
    }
    let mut left = keys.iter();
    for item in patch.iter().filter(|item| item.get(PATCH).is_none()) {
        let wanted = key(item, merge_key)?;
        if !left.any(|key| *key == wanted) {
            let told = |list: &[Value]| told(&Value::Array(list.to_vec()));
            return Err(Failure::bad_request(format!(
                "The order in patch list:\n{}\n doesn't match {SET_ORDER} list:\n{}\n",
                told(patch),
                told(order)
            )));
        }
    }
    Ok(())
}

pub(super) fn bad_format(directive: &str) -> Failure {
    let list = if directive == SET_ORDER {
        "setElementOrder list"
    } else {
        "primitive list"
    };
    Failure::bad_request(format!("invalid patch format of {list}"))
}

fn key(item: &Value, merge_key: Option<&str>) -> Result<Key, Failure> {
    match (item, merge_key) {
        (item, None) => Ok(item.to_string()),
        (Value::Object(item), Some(merge_key)) => map_key(item, merge_key),
        (item, Some(_)) => {
            let message = format!("expected a map, but received {}", told(item));
            Err(Failure::bad_request(message))
        }
    }
}

fn map_key(item: &Map<String, Value>, merge_key: &str) -> Result<Key, Failure> {
    item.get(merge_key).map(Value::to_string).ok_or_else(|| {
        Failure::bad_request(format!(
            "map: {} does not contain declared merge key: {merge_key}",
            told_map(item)
        ))
    })
}

/// Where each key stands first.
fn positions<'a>(keys: impl Iterator<Item = &'a Key>) -> BTreeMap<Key, usize> {
    let mut positions = BTreeMap::new();
    for (at, key) in keys.enumerate() {
        positions.entry(key.clone()).or_insert(at);
    }
    positions
}

/// Brings items into order: those of `order` as it says, the others as `before` says, and the
/// others before one of `order` where `before` had them so.
fn ordered(
    items: Vec<(Key, Value)>,
    order: &BTreeMap<Key, usize>,
    before: &BTreeMap<Key, usize>,
) -> Vec<Value> {
    let (mut named, mut others): (Vec<_>, Vec<_>) = items
        .into_iter()
        .partition(|(key, _)| order.contains_key(key));
    named.sort_by_key(|(key, _)| order.get(key));
    others.sort_by_key(|(key, _)| before.get(key).copied().unwrap_or(usize::MAX));
    let mut others = others.into_iter().peekable();
    let mut all = Vec::new();
    for (key, item) in named {
        if let Some(at) = before.get(&key) {
            let stood_before =
                |(other, _): &(Key, Value)| before.get(other).is_some_and(|other| other < at);
            while let Some((_, other)) = others.next_if(stood_before) {
                all.push(other);
            }
        }
        all.push(item);
    }
    all.extend(others.map(|(_, item)| item));
    all
}
