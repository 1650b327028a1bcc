//! Changing a part of an object: the four kinds of patches the API knows.
//!
//! JSON patches (`json_patch`, RFC 6902), merge patches (`merge`, RFC 7396) and strategic
//! merge patches (`strategic`) make a new object of the live one and the patch: [`patch`].
//! Server-side apply ([`apply`]) also has to know who owns which field, and says so when it
//! can't be done; [`apply::update`] keeps book of the owners after every other write.
//!
//! What comes out is not checked against the schema: the caller does that, as with any object
//! a client sends.

pub mod apply;
mod json_patch;
mod merge;
mod strategic;

use serde_json::Value;

use super::{
    schema::Schema,
    status::{Failure, Reason},
};

/// How a patch is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// A list of operations (RFC 6902).
    Json,
    /// What is to be different (RFC 7396).
    Merge,
    /// The same, where lists are merged as the schema tells.
    Strategic,
    /// What one manager wants there to be: server-side apply.
    Apply,
}

const CONTENT_TYPES: [(&str, PatchType); 4] = [
    ("application/json-patch+json", PatchType::Json),
    ("application/merge-patch+json", PatchType::Merge),
    (
        "application/strategic-merge-patch+json",
        PatchType::Strategic,
    ),
    ("application/apply-patch+yaml", PatchType::Apply),
];

impl PatchType {
    /// By a request's `Content-Type`.
    ///
    /// # Errors
    /// If it is none that is known (415).
    pub fn from_content_type(content_type: &str) -> Result<PatchType, Failure> {
        let name = content_type.split(';').next().unwrap_or_default().trim();
        let found = CONTENT_TYPES.iter().find(|(known, _)| *known == name);
        found.map(|(_, kind)| *kind).ok_or_else(|| {
            let known = CONTENT_TYPES.map(|(known, _)| known).join(", ");
            let message = format!(
                "the body of the request was in an unknown format - accepted media types include: {known}"
            );
            Failure::new(Reason::UnsupportedMediaType, message)
        })
    }
}

/// Reads the JSON of a patch.
///
/// # Errors
/// If it is none (400).
pub fn decode(body: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))
}

/// Makes the new object of a live one and a patch.
///
/// # Errors
/// If the patch makes no sense (400), is too large (413) or can't be applied (422).
///
/// # Panics
/// For [`PatchType::Apply`], which is [`apply::apply`]'s.
pub fn patch(
    schema: &Schema,
    type_name: &str,
    kind: PatchType,
    live: &Value,
    patch: &Value,
) -> Result<Value, Failure> {
    let new = match kind {
        PatchType::Json => json_patch::patch(live, patch)?,
        PatchType::Merge => merge::patch(live, patch)?,
        PatchType::Strategic => strategic::patch(schema, type_name, live, patch)?,
        PatchType::Apply => panic!("server-side apply has an entry of its own"),
    };
    if new.is_object() {
        Ok(new)
    } else {
        Err(rejected())
    }
}

/// The patch can't be read.
fn malformed(why: impl std::fmt::Display) -> Failure {
    Failure::bad_request(format!("error decoding patch: {why}"))
}

/// The patch can be read, but does not fit the object.
fn rejected() -> Failure {
    let message = "the server rejected our request due to an error in our request";
    Failure::new(Reason::Invalid, message)
}

#[cfg(test)]
mod tests;
