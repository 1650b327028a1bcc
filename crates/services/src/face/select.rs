//! Which objects a list or a watch shows.

use serde_json::Value;

use super::options::Options;
use crate::core::{
    kinds::Kind,
    selector::{FieldSelector, LabelSelector},
    status::Failure,
};

/// By labels and fields, and by name where one is asked for.
pub(super) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    /// # Errors
    /// They can't be read.
    pub(super) fn of(kind: &'static Kind, options: &Options) -> Result<Selection, Failure> {
        Ok(Selection {
            labels: options.labels()?,
            fields: options.fields(kind)?,
        })
    }

    /// Whether it shows an object.
    pub(super) fn chooses(&self, object: &Value) -> bool {
        let labels = object["metadata"]["labels"].as_object();
        self.labels.matches(labels) && self.fields.matches(object)
    }

    /// Whether it shows them all.
    pub(super) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }
}
