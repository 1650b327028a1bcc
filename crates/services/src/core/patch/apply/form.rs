//! What ownership sees of the schema: which values are owned as a whole, which are taken apart
//! and how, and by what the items of lists are told apart.

use serde_json::{Map, Value};

use super::path::PathElement;
use crate::core::schema::{Field, ListKind, Schema, Shape, Type};

/// How a value is taken apart.
#[derive(Clone, Copy)]
pub(crate) enum Form<'s> {
    /// Not at all: a scalar, or what is marked as atomic.
    Leaf,
    /// Into its fields.
    Struct(&'s Type),
    /// Into its values, of this shape.
    Map(&'s Shape),
    /// Into its items, which are scalars.
    Set,
    /// Into its items, of this shape, known by these fields.
    Keyed(&'s Shape, &'s [&'static str]),
}

/// The schema, and the questions to it.
#[derive(Clone, Copy)]
pub(crate) struct Forms<'s> {
    pub(crate) schema: &'s Schema,
}

/// Why a value is not of its form.
pub(crate) struct Mismatch;

impl<'s> Forms<'s> {
    /// The form of a field that is known.
    pub(crate) fn of_field(self, field: &'s Field) -> Form<'s> {
        match (&field.shape, &field.list) {
            _ if field.is_atomic => Form::Leaf,
            (Shape::List(_), ListKind::Set) => Form::Set,
            (Shape::List(item), ListKind::Map(keys)) => Form::Keyed(item, keys),
            (shape, _) => self.of_shape(shape),
        }
    }

    /// The form of an item, or of a map's value.
    pub(crate) fn of_shape(self, shape: &'s Shape) -> Form<'s> {
        match shape {
            Shape::Scalar(_) | Shape::List(_) => Form::Leaf,
            Shape::Map(value) => Form::Map(value),
            Shape::Type(name) => match self.schema.get(name) {
                Some(found) if !found.is_atomic => Form::Struct(found),
                _ => Form::Leaf,
            },
        }
    }

    /// The form of what a struct or map has under a name; what is not known is a leaf.
    pub(crate) fn of_name(self, owner: Form<'s>, name: &str) -> Form<'s> {
        match owner {
            Form::Struct(owner) => owner
                .field(name)
                .map_or(Form::Leaf, |field| self.of_field(field)),
            Form::Map(value) => self.of_shape(value),
            Form::Leaf | Form::Set | Form::Keyed(..) => Form::Leaf,
        }
    }

    /// The form of a list's items.
    pub(crate) fn of_items(self, list: Form<'s>) -> Form<'s> {
        match list {
            Form::Keyed(item, _) => self.of_shape(item),
            _ => Form::Leaf,
        }
    }

    /// What a struct has where a field is left out, in Kubernetes' memory: an empty struct where
    /// it has no pointer, null where it always writes a list or map. No one comes to own that
    /// such a field is there, only what is in it.
    pub(crate) fn if_left_out(self, owner: Form<'s>, name: &str) -> Option<Value> {
        let Form::Struct(owner) = owner else {
            return None;
        };
        let field = owner.field(name)?;
        match self.of_field(field) {
            Form::Struct(_) if !field.is_pointer => Some(Value::Object(Map::new())),
            Form::Map(_) | Form::Set | Form::Keyed(..) if field.is_required => Some(Value::Null),
            _ => None,
        }
    }

    /// By what an item is told apart from the others.
    ///
    /// # Errors
    /// Why it can't be.
    pub(crate) fn element(self, list: Form<'s>, item: &Value) -> Result<PathElement, String> {
        match list {
            Form::Keyed(shape, keys) => self.keyed_element(shape, keys, item),
            _ => match item {
                Value::Object(_) => {
                    Err("associative list without keys has an element that's a map type".to_owned())
                }
                Value::Array(_) => {
                    Err("not supported: associative list with lists as elements".to_owned())
                }
                Value::Null => Err(
                    "associative list without keys has an element that's an explicit null"
                        .to_owned(),
                ),
                scalar => Ok(PathElement::value(scalar)),
            },
        }
    }

    fn keyed_element(
        self,
        shape: &Shape,
        keys: &[&str],
        item: &Value,
    ) -> Result<PathElement, String> {
        let item = match item {
            Value::Object(item) => item,
            Value::Null => {
                return Err("associative list with keys may not have a null element".to_owned());
            }
            _ => {
                return Err("associative list with keys may not have non-map elements".to_owned());
            }
        };
        let item_type = match shape {
            Shape::Type(name) => self.schema.get(name),
            _ => None,
        };
        let default = |key: &str| {
            let text = item_type?.field(key)?.default?;
            Some(Value::from(text))
        };
        let known: Map<String, Value> = keys
            .iter()
            .filter_map(|key| {
                Some((
                    (*key).to_owned(),
                    item.get(*key).cloned().or_else(|| default(key))?,
                ))
            })
            .collect();
        if known.is_empty() {
            let keys: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
                keys.join(" ")
            ));
        }
        Ok(PathElement::key(&known))
    }

    /// The items of a list with what tells them apart; a mismatch if one of them can't be.
    pub(crate) fn items<'v>(
        self,
        list: Form<'s>,
        items: &'v [Value],
    ) -> Result<Vec<(PathElement, &'v Value)>, Mismatch> {
        let element = |item: &'v Value| Some((self.element(list, item).ok()?, item));
        items
            .iter()
            .map(element)
            .collect::<Option<Vec<_>>>()
            .ok_or(Mismatch)
    }
}

/// The fields of a struct or map; none if it is null or not there.
pub(crate) fn fields(value: Option<&Value>) -> Result<Option<&Map<String, Value>>, Mismatch> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(fields)) => Ok(Some(fields)),
        Some(_) => Err(Mismatch),
    }
}

/// The items of a list; none if it is null or not there.
pub(crate) fn list(value: Option<&Value>) -> Result<&[Value], Mismatch> {
    match value {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(Mismatch),
    }
}
