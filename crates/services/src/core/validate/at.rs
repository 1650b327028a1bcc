//! A place in an object: a value and the path to it, which errors name.

use serde_json::Value;

use super::super::{
    names::Rule,
    status::{FieldError, FieldErrorKind},
};

/// What is wrong, so far.
pub(super) type Errors = Vec<FieldError>;

/// A place in an object. One that is not there, or of another type than asked for, is absent.
#[derive(Clone, Debug)]
pub(super) struct At<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> At<'a> {
    /// The whole object.
    pub(super) fn root(object: &'a Value) -> At<'a> {
        At {
            path: String::new(),
            value: object,
        }
    }

    /// `spec` → `spec.replicas`.
    pub(super) fn child(&self, field: &str) -> At<'a> {
        let path = match self.path.as_str() {
            "" => field.to_owned(),
            path => format!("{path}.{field}"),
        };
        At {
            path,
            value: &self.value[field],
        }
    }

    /// A field's field.
    pub(super) fn under(&self, fields: &[&str]) -> At<'a> {
        fields
            .iter()
            .fold(self.clone(), |at, field| at.child(field))
    }

    /// The same value, told at another place.
    pub(super) fn at(&self, path: &str) -> At<'a> {
        At {
            path: path.to_owned(),
            value: self.value,
        }
    }

    /// The path.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The value; null if it is absent.
    pub(super) fn value(&self) -> &'a Value {
        self.value
    }

    /// `containers` → `containers[0]`, `containers[1]`, …
    pub(super) fn items(&self) -> impl Iterator<Item = At<'a>> + use<'a> {
        let path = self.path.clone();
        let list = self.value.as_array().into_iter().flatten();
        list.enumerate().map(move |(index, value)| At {
            path: format!("{path}[{index}]"),
            value,
        })
    }

    /// `limits` → `limits[cpu]`, `limits[memory]`, …, each with its key.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, At<'a>)> + use<'a> {
        let path = self.path.clone();
        let map = self.value.as_object().into_iter().flatten();
        map.map(move |(key, value)| {
            let path = format!("{path}[{key}]");
            (key.as_str(), At { path, value })
        })
    }

    /// How many items or fields there are.
    pub(super) fn count(&self) -> usize {
        let items = self.value.as_array().map(Vec::len);
        let fields = self.value.as_object().map(|fields| fields.len());
        items.or(fields).unwrap_or_default()
    }

    /// A text; empty if absent.
    pub(super) fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    /// A whole number.
    pub(super) fn number(&self) -> Option<i64> {
        self.value.as_i64()
    }

    /// Whether it is true.
    pub(super) fn is_true(&self) -> bool {
        *self.value == true
    }

    /// Whether there is something, if only an empty one.
    pub(super) fn is_present(&self) -> bool {
        !self.value.is_null()
    }

    pub(super) fn required(&self, errors: &mut Errors, why: &str) {
        errors.push(FieldError::required(&self.path, why));
    }

    pub(super) fn invalid(&self, errors: &mut Errors, why: impl Into<String>) {
        errors.push(FieldError::invalid(&self.path, self.value, why));
    }

    pub(super) fn forbidden(&self, errors: &mut Errors, why: impl Into<String>) {
        errors.push(FieldError::forbidden(&self.path, why));
    }

    pub(super) fn duplicate(&self, errors: &mut Errors) {
        errors.push(FieldError::duplicate(&self.path, self.value));
    }

    pub(super) fn not_found(&self, errors: &mut Errors) {
        errors.push(FieldError::not_found(&self.path, self.value));
    }

    pub(super) fn too_long(&self, errors: &mut Errors, max: usize) {
        errors.push(FieldError::new(
            &self.path,
            FieldErrorKind::TooLong(max),
            "",
        ));
    }

    /// A text that has to be there.
    pub(super) fn needed(&self, errors: &mut Errors) {
        if self.text().is_empty() {
            self.required(errors, "");
        }
    }

    /// A text that has to be one of a few, if it is there.
    pub(super) fn one_of(&self, errors: &mut Errors, known: &[&str]) {
        if self.is_present() && !known.contains(&self.text()) {
            errors.push(FieldError::not_supported(&self.path, self.value, known));
        }
    }

    /// A text that has to fulfil a rule of names.
    pub(super) fn named(&self, errors: &mut Errors, rule: Rule) {
        for why in rule(self.text()) {
            self.invalid(errors, why);
        }
    }

    /// The same, if it is not empty.
    pub(super) fn named_if_any(&self, errors: &mut Errors, rule: Rule) {
        if !self.text().is_empty() {
            self.named(errors, rule);
        }
    }

    /// A number that is at least 0, if it is there.
    pub(super) fn not_negative(&self, errors: &mut Errors) {
        if self.number().is_some_and(|number| number < 0) {
            self.invalid(errors, super::NEGATIVE);
        }
    }

    /// A list or map with at most so many.
    ///
    /// Whether it has: one with more is not worth a look at each.
    pub(super) fn at_most(&self, errors: &mut Errors, max: usize) -> bool {
        let count = self.count();
        if count > max {
            let kind = FieldErrorKind::TooMany(count, max);
            errors.push(FieldError::new(&self.path, kind, ""));
        }
        count <= max
    }

    /// A field that can't be changed.
    pub(super) fn immutable(&self, errors: &mut Errors, old: &At<'_>) {
        if !super::equal::are_equal(self.value, old.value) {
            self.invalid(errors, super::IMMUTABLE);
        }
    }
}
