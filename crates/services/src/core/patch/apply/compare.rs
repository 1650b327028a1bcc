//! Which fields a value has, and by which two values differ.
//!
//! A value that is not of its form (which the schema would refuse) is owned as a whole.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    field_set::FieldSet,
    form::{Form, Forms, Mismatch, fields, list},
    path::PathElement,
};

/// All fields of a value.
pub(crate) fn fields_of(forms: Forms<'_>, form: Form<'_>, value: &Value) -> FieldSet {
    owned(forms, form, value).unwrap_or_default()
}

/// The fields below a value; nothing if it is a leaf itself.
fn owned<'s>(forms: Forms<'s>, form: Form<'s>, value: &Value) -> Option<FieldSet> {
    let mut set = FieldSet::default();
    match form {
        Form::Leaf => return None,
        Form::Struct(_) | Form::Map(_) => {
            for (name, value) in fields(Some(value)).ok()?.into_iter().flatten() {
                let below = owned(forms, forms.of_name(form, name), value);
                let is_declared =
                    matches!(form, Form::Struct(owner) if owner.field(name).is_some());
                let is_empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                let is_member = below.is_none() || is_empty || !is_declared;
                set.put(
                    PathElement::Field(name.clone()),
                    is_member,
                    below.unwrap_or_default(),
                );
            }
        }
        Form::Set | Form::Keyed(..) => {
            let mut items: BTreeMap<PathElement, Vec<&Value>> = BTreeMap::new();
            for (element, item) in forms.items(form, list(Some(value)).ok()?).ok()? {
                items.entry(element).or_default().push(item);
            }
            for (element, items) in items {
                let below = match items[..] {
                    [item] => owned(forms, forms.of_items(form), item),
                    // Items of the same key are owned together.
                    _ => None,
                };
                set.put(element, true, below.unwrap_or_default());
            }
        }
    }
    Some(set)
}

/// By what two values differ. No field is in two of the sets.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// What only the older one has.
    pub(crate) removed: FieldSet,
    /// What both have, but not the same.
    pub(crate) modified: FieldSet,
    /// What only the newer one has.
    pub(crate) added: FieldSet,
}

impl Comparison {
    /// The same, without some fields and all below them.
    pub(crate) fn without(self, ignored: &FieldSet) -> Comparison {
        Comparison {
            removed: self.removed.without(ignored),
            modified: self.modified.without(ignored),
            added: self.added.without(ignored),
        }
    }
}

/// Compares an older value with a newer one.
pub(crate) fn compare(forms: Forms<'_>, form: Form<'_>, old: &Value, new: &Value) -> Comparison {
    let mut walk = Walk {
        forms,
        path: Vec::new(),
        found: Comparison::default(),
    };
    walk.at(form, Some(old), Some(new));
    walk.found
}

struct Walk<'s> {
    forms: Forms<'s>,
    path: Vec<PathElement>,
    found: Comparison,
}

impl<'s> Walk<'s> {
    fn at(&mut self, form: Form<'s>, old: Option<&Value>, new: Option<&Value>) {
        if old == new {
            // Most of an object, most of the time.
            return;
        }
        let is_taken_apart = match form {
            Form::Leaf => Ok(false),
            Form::Struct(_) | Form::Map(_) => self.maps(form, old, new),
            Form::Set | Form::Keyed(..) => self.lists(form, old, new),
        };
        match (old, new) {
            (None, _) => self.found.added.insert(&self.path),
            (_, None) => self.found.removed.insert(&self.path),
            _ if matches!(is_taken_apart, Ok(true)) => {}
            _ if old != new => self.found.modified.insert(&self.path),
            _ => {}
        }
    }

    fn below(
        &mut self,
        element: PathElement,
        form: Form<'s>,
        old: Option<&Value>,
        new: Option<&Value>,
    ) {
        self.path.push(element);
        self.at(form, old, new);
        self.path.pop();
    }

    /// Whether there was something to take apart: two empty values are compared as a whole.
    fn maps(
        &mut self,
        form: Form<'s>,
        old: Option<&Value>,
        new: Option<&Value>,
    ) -> Result<bool, Mismatch> {
        let (old, new) = (fields(old)?, fields(new)?);
        let names: BTreeSet<&String> = old
            .into_iter()
            .chain(new)
            .flat_map(|fields| fields.keys())
            .collect();
        for name in &names {
            let default = self.forms.if_left_out(form, name);
            let old = old.and_then(|old| old.get(*name).or(default.as_ref()));
            let new = new.and_then(|new| new.get(*name).or(default.as_ref()));
            let form = self.forms.of_name(form, name);
            self.below(PathElement::Field((*name).clone()), form, old, new);
        }
        Ok(!names.is_empty())
    }

    fn lists(
        &mut self,
        form: Form<'s>,
        old: Option<&Value>,
        new: Option<&Value>,
    ) -> Result<bool, Mismatch> {
        let old = self.forms.items(form, list(old)?)?;
        let new = self.forms.items(form, list(new)?)?;
        let mut items: BTreeMap<PathElement, [Vec<&Value>; 2]> = BTreeMap::new();
        for (element, item) in old {
            items.entry(element).or_default()[0].push(item);
        }
        for (element, item) in new {
            items.entry(element).or_default()[1].push(item);
        }
        let is_taken_apart = !items.is_empty();
        let form = self.forms.of_items(form);
        for (element, [old, new]) in items {
            self.item(element, form, &old, &new);
        }
        Ok(is_taken_apart)
    }

    /// Compares the items of one key: usually one at most, else they are one leaf together.
    fn item(&mut self, element: PathElement, form: Form<'s>, old: &[&Value], new: &[&Value]) {
        match (old, new) {
            ([] | [_], [] | [_]) => {
                self.below(element, form, old.first().copied(), new.first().copied());
            }
            ([_, _, ..], [_, _, ..]) => {
                if old != new {
                    self.path.push(element);
                    self.found.modified.insert(&self.path);
                    self.path.pop();
                }
            }
            ([_, _, ..], _) => {
                self.below(element.clone(), form, None, new.first().copied());
                self.path.push(element);
                self.found.removed.insert(&self.path);
                self.path.pop();
            }
            (_, [_, _, ..]) => {
                self.below(element.clone(), form, old.first().copied(), None);
                self.path.push(element);
                self.found.added.insert(&self.path);
                self.path.pop();
            }
        }
    }
}
