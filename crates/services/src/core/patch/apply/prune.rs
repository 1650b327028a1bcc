//! Taking out of an object what a manager applied before, and now no longer does.

use serde_json::{Map, Value};

use super::{
    compare::fields_of,
    field_set::FieldSet,
    form::{Form, Forms},
    path::PathElement,
};

/// Removes what was applied the last time, except what someone owns now.
///
/// An item of a list that no one applies any more goes with what others have set in it; a
/// struct or map goes when nothing is left in it.
pub(crate) fn prune<'s>(
    forms: Forms<'s>,
    root: Form<'s>,
    merged: Value,
    last: &FieldSet,
    owned: &FieldSet,
) -> Value {
    if last.is_empty() {
        return merged;
    }
    let without = |gone: &FieldSet| remove(forms, root, merged.clone(), gone);
    let before = fields_of(forms, root, &merged);
    // What is left without what was applied, or is owned; then what of that can be left, since
    // items go as a whole; and of the rest what was applied.
    let kept = fields_of(forms, root, &without(last)).union(owned);
    let kept = fields_of(forms, root, &without(&before.difference(&kept)));
    without(&before.difference(&kept).intersection(last))
}

/// Takes fields out of a value. What loses all that is in it becomes null, not empty.
fn remove<'s>(forms: Forms<'s>, form: Form<'s>, value: Value, gone: &FieldSet) -> Value {
    match (form, value) {
        (Form::Struct(_) | Form::Map(_), Value::Object(fields)) => {
            let kept: Map<String, Value> = fields
                .into_iter()
                .filter_map(|(name, value)| {
                    let element = PathElement::Field(name.clone());
                    let below = forms.of_name(form, &name);
                    Some((name, remove_from(forms, below, &element, value, gone)?))
                })
                .collect();
            if kept.is_empty() {
                Value::Null
            } else {
                Value::Object(kept)
            }
        }
        (Form::Set | Form::Keyed(..), Value::Array(items)) => {
            let below = forms.of_items(form);
            let kept: Vec<Value> = items
                .into_iter()
                .filter_map(|item| match forms.element(form, &item) {
                    Ok(element) => remove_from(forms, below, &element, item, gone),
                    Err(_) => Some(item),
                })
                .collect();
            if kept.is_empty() {
                Value::Null
            } else {
                Value::Array(kept)
            }
        }
        (_, value) => value,
    }
}

fn remove_from<'s>(
    forms: Forms<'s>,
    form: Form<'s>,
    element: &PathElement,
    value: Value,
    gone: &FieldSet,
) -> Option<Value> {
    if gone.has(element) {
        return None;
    }
    Some(match gone.below(element) {
        Some(gone) => remove(forms, form, value, gone),
        None => value,
    })
}
