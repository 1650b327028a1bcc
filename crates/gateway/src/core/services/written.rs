//! Annotations that are ours, as they are written.

use serde_json::Value;

use super::Index;

/// In front of the names of all that are ours.
pub(super) const PREFIX: &str = "atoll.dev/";
/// What is said of one that nobody declared.
pub(super) const UNKNOWN: &str = "there is no such annotation";

/// Annotations of an object, and where Secrets are that they name.
pub(super) struct Written<'a> {
    all: &'a Value,
    pub(super) namespace: &'a str,
    pub(super) index: &'a Index<'a>,
}

impl<'a> Written<'a> {
    /// All annotations of an object in this namespace.
    pub(super) fn new(all: &'a Value, namespace: &'a str, index: &'a Index<'a>) -> Self {
        Written {
            all,
            namespace,
            index,
        }
    }

    /// One that says nothing without another one.
    pub(super) fn needs(&self, name: &str) -> Result<(), String> {
        match self.other(name) {
            Some(_) => Ok(()),
            None => Err(format!("it needs {PREFIX}{name} beside it")),
        }
    }

    /// What another one says.
    pub(super) fn other(&self, name: &str) -> Option<&'a str> {
        self.all[format!("{PREFIX}{name}")].as_str().map(str::trim)
    }
}
