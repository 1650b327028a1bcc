//! Merging what is applied into the live object.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use super::{
    form::{Form, Forms, fields, list},
    path::PathElement,
};
use crate::core::schema::{Schema, Shape};

/// Merges an applied value into a live one. What the applied one has wins; where both are taken
/// apart, what only the live one has stays.
pub(crate) fn merge(forms: Forms<'_>, form: Form<'_>, live: &Value, applied: &Value) -> Value {
    let merged = match form {
        Form::Leaf => None,
        Form::Struct(_) | Form::Map(_) => merge_maps(forms, form, live, applied),
        Form::Set | Form::Keyed(..) => merge_lists(forms, form, live, applied),
    };
    merged.unwrap_or_else(|| applied.clone())
}

/// Nothing if there is nothing to take apart, or something has not its form.
fn merge_maps<'s>(
    forms: Forms<'s>,
    form: Form<'s>,
    live: &Value,
    applied: &Value,
) -> Option<Value> {
    let live = fields(Some(live)).ok()??;
    let applied = fields(Some(applied)).ok()?;
    if live.is_empty() {
        return None;
    }
    let mut merged = live.clone();
    for (name, applied) in applied.into_iter().flatten() {
        let value = match live.get(name) {
            Some(live) => merge(forms, forms.of_name(form, name), live, applied),
            None => applied.clone(),
        };
        merged.insert(name.clone(), value);
    }
    Some(Value::Object(merged))
}

/// The applied items stand in their order. Items that only the live list has stay before the
/// item of both lists that they stood before.
fn merge_lists<'s>(
    forms: Forms<'s>,
    form: Form<'s>,
    live: &Value,
    applied: &Value,
) -> Option<Value> {
    let live = forms.items(form, list(Some(live)).ok()?).ok()?;
    let applied = forms.items(form, list(Some(applied)).ok()?).ok()?;
    if live.is_empty() {
        return None;
    }
    // An item that is there twice has no one to be merged with.
    let mut by_element: BTreeMap<&PathElement, Option<&Value>> = BTreeMap::new();
    for (element, item) in &live {
        by_element
            .entry(element)
            .and_modify(|old| *old = None)
            .or_insert(Some(item));
    }
    let is_applied: BTreeSet<&PathElement> = applied.iter().map(|(element, _)| element).collect();
    let in_both = applied.iter().map(|(element, _)| element);
    let mut in_both: VecDeque<_> = in_both.filter(|one| by_element.contains_key(one)).collect();
    let mut rest = live.iter().peekable();
    let mut merged = Vec::with_capacity(live.len().max(applied.len()));
    for (element, item) in &applied {
        while let Some((one, old)) = rest.next_if(|(one, _)| in_both.front() != Some(&one)) {
            if !is_applied.contains(one) {
                merged.push((*old).clone());
            }
        }
        merged.push(match by_element.get(element) {
            Some(Some(old)) => merge(forms, forms.of_items(form), old, item),
            Some(None) | None => (*item).clone(),
        });
        if in_both.front() == Some(&element) {
            in_both.pop_front();
            rest.next();
        }
    }
    merged.extend(
        rest.filter(|(one, _)| !is_applied.contains(one))
            .map(|(_, old)| (*old).clone()),
    );
    Some(Value::Array(merged))
}

/// Drops the fields that are null, which says the same as their not being there; not in free
/// JSON, where it may say something else.
pub(crate) fn drop_nulls(schema: &Schema, shape: &Shape, value: &mut Value) {
    match (shape, value) {
        (Shape::Type(name), Value::Object(fields)) => {
            let Some(owner) = schema.get(name) else {
                return;
            };
            fields.retain(|_, value| !value.is_null());
            for (name, value) in fields {
                if let Some(field) = owner.field(name) {
                    drop_nulls(schema, &field.shape, value);
                }
            }
        }
        (Shape::Map(item), Value::Object(values)) => {
            values.retain(|_, value| !value.is_null());
            values
                .values_mut()
                .for_each(|value| drop_nulls(schema, item, value));
        }
        (Shape::List(item), Value::Array(items)) => {
            items
                .iter_mut()
                .for_each(|value| drop_nulls(schema, item, value));
        }
        _ => {}
    }
}
