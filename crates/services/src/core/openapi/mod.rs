//! OpenAPI documents, from which clients learn what objects look like: `kubectl explain`, the
//! checks of `kubectl apply`, how its patches merge lists, which parameters an operation knows.
//! Version 3 (a document for each group version, behind an index with hashes; KEP-2896) and
//! version 2 (one for all), which older clients ask for as a protobuf message of `gnostic`.
//!
//! Everything follows from the schema's table and the table of kinds. A document holds the
//! operations of its kinds and just the definitions that can be reached from them, under the names
//! that Kubernetes gives them. Documents are a function of the program alone, so callers build
//! each one once and keep it.

mod definitions;
mod gnostic;
mod operations;
mod parameters;
mod v2;
mod v3;

use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use super::discovery::group_versions;

/// `/openapi/v2` in JSON.
pub fn v2() -> Value {
    v2::document()
}

/// `/openapi/v2` as gnostic's message `openapi.v2.Document`.
pub fn v2_protobuf() -> Vec<u8> {
    gnostic::encode(&v2())
}

/// `/openapi/v3`: where the documents are. Each address has a hash of its document, so that
/// clients may keep what they have got.
pub fn v3_index() -> Value {
    let entry = |(group, version): (&str, &str)| {
        let path = path(group, version);
        let hash = etag(v3::document(group, version).to_string().as_bytes());
        let entry = json!({ "serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}") });
        (path, entry)
    };
    json!({ "paths": Value::Object(group_versions().into_iter().map(entry).collect()) })
}

/// `/openapi/v3/api/v1` (for the empty group) and `/openapi/v3/apis/<group>/<version>`, if there
/// is such a version.
pub fn v3(group: &str, version: &str) -> Option<Value> {
    group_versions()
        .contains(&(group, version))
        .then(|| v3::document(group, version))
}

/// What a document is known by: the `hash` in the index's addresses and, in quotes, its `ETag`.
pub fn etag(document: &[u8]) -> String {
    format!("{:032X}", xxh3_128(document))
}

/// `api/v1`, `apis/apps/v1`.
fn path(group: &str, version: &str) -> String {
    match group {
        "" => format!("api/{version}"),
        group => format!("apis/{group}/{version}"),
    }
}

/// The two versions of the documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flavor {
    V2,
    V3,
}

fn info() -> Value {
    let version = super::discovery::version();
    json!({ "title": "Atoll", "version": version["gitVersion"] })
}

/// A kind with its group and version, as `x-kubernetes-group-version-kind` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct GroupVersionKind {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
}

impl GroupVersionKind {
    const fn new(group: &'static str, version: &'static str, kind: &'static str) -> Self {
        GroupVersionKind {
            group,
            version,
            kind,
        }
    }

    fn to_json(self) -> Value {
        json!({ "group": self.group, "version": self.version, "kind": self.kind })
    }
}

#[cfg(test)]
mod tests;
