//! Whether what is applied has the schema's form, so that it is known what it owns: no unknown
//! fields, no lists with an item twice or without its keys. What its scalars may be is for the
//! check of the whole object to say.

use std::collections::BTreeSet;

use serde_json::Value;

use super::form::{Form, Forms};
use crate::core::{
    object,
    schema::{ListKind, Scalar, Shape},
    status::Failure,
};

/// So many errors are told; a client that has more will fix these first.
const ERRORS_MAX: usize = 32;

/// Checks a configuration that is to be applied.
///
/// # Errors
/// What is wrong with it, in Kubernetes' words (400).
pub(crate) fn check(forms: Forms<'_>, root: Form<'_>, applied: &Value) -> Result<(), Failure> {
    let mut check = Check {
        forms,
        errors: Vec::new(),
    };
    if let Form::Struct(root) = root {
        check.value(&Shape::Type(root.name), Form::Struct(root), applied, "");
    }
    let told = match &check.errors[..] {
        [] => return Ok(()),
        [error] => error.clone(),
        errors => format!("errors:\n  {}", errors.join("\n  ")),
    };
    let about = about(applied);
    Err(Failure::bad_request(format!(
        "failed to create typed patch object ({about}): {told}"
    )))
}

/// `default/web; apps/v1, Kind=Deployment`.
fn about(object: &Value) -> String {
    format!(
        "{}/{}; {}",
        object::namespace(object),
        object::name(object),
        group_version_kind(object)
    )
}

/// `apps/v1, Kind=Deployment`; `/v1, Kind=Pod`.
pub(crate) fn group_version_kind(object: &Value) -> String {
    let text = |name: &str| object[name].as_str().unwrap_or_default();
    let version = text("apiVersion");
    let group = if version.contains('/') { "" } else { "/" };
    format!("{group}{version}, Kind={}", text("kind"))
}

struct Check<'s> {
    forms: Forms<'s>,
    errors: Vec<String>,
}

impl Check<'_> {
    fn error(&mut self, path: &str, told: &str) {
        if self.errors.len() < ERRORS_MAX {
            let between = if path.is_empty() { "" } else { ": " };
            self.errors.push(format!("{path}{between}{told}"));
        }
    }

    /// `form` tells the items of a list apart; all else follows from the shape, since an atomic
    /// value has to be of its type, too.
    fn value(&mut self, shape: &Shape, form: Form<'_>, value: &Value, path: &str) {
        match (shape, value) {
            (_, Value::Null) | (Shape::Scalar(Scalar::Any), _) => {}
            (Shape::Type(name), Value::Object(fields)) => {
                let Some(owner) = self.forms.schema.get(name) else {
                    return;
                };
                for (name, value) in fields {
                    let path = format!("{path}.{name}");
                    match owner.field(name) {
                        None => self.error(&path, "field not declared in schema"),
                        Some(field) => {
                            let list = match (&field.shape, &field.list) {
                                (Shape::List(_), ListKind::Set) => Form::Set,
                                (Shape::List(item), ListKind::Map(keys)) => Form::Keyed(item, keys),
                                _ => Form::Leaf,
                            };
                            self.value(&field.shape, list, value, &path);
                        }
                    }
                }
            }
            (Shape::Map(item), Value::Object(values)) => {
                for (name, value) in values {
                    self.value(item, Form::Leaf, value, &format!("{path}.{name}"));
                }
            }
            (Shape::List(item), Value::Array(items)) => self.items(item, form, items, path),
            (Shape::Scalar(_), Value::Object(_) | Value::Array(_)) => {
                self.error(path, &format!("expected scalar, got {value}"));
            }
            (Shape::Scalar(_), _) => {}
            (Shape::Type(_) | Shape::Map(_), _) => {
                self.error(path, &format!("expected map, got {value}"));
            }
            (Shape::List(_), _) => self.error(path, &format!("expected list, got {value}")),
        }
    }

    fn items(&mut self, shape: &Shape, list: Form<'_>, items: &[Value], path: &str) {
        let mut seen = BTreeSet::new();
        for (at, item) in items.iter().enumerate() {
            let mut path_of_item = format!("{path}[{at}]");
            if matches!(list, Form::Set | Form::Keyed(..)) {
                match self.forms.element(list, item) {
                    Ok(element) => {
                        path_of_item = format!("{path}{element}");
                        if !seen.insert(element.clone()) {
                            self.error(path, &format!("duplicate entries for key {element}"));
                        }
                    }
                    Err(why) => self.error(path, &format!("element {at}: {why}")),
                }
            }
            self.value(shape, Form::Leaf, item, &path_of_item);
        }
    }
}
