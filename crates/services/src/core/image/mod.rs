//! Images of containers: what they are called, what they are made of, what is allowed in them.
//!
//! A [`Reference`] names an image. What it leads to is a [`Document`]: a manifest, or an index of
//! manifests by [`Platform`]. A [`Manifest`] names a [`Config`] and layers by their [`Digest`]s;
//! each layer is a tar of changes, whose entries [`layer::step`] turns into what overlayfs
//! understands. Invariants:
//! - everything is bounded before it is believed: bytes, counts, lengths, depth;
//! - nothing in a layer names a place outside of it;
//! - what is fetched by a digest has it.
//!
//! Source: OCI Image Format Specification 1.1, OCI Distribution Specification 1.1, Docker's
//! "Image Manifest Version 2, Schema 2" and "Docker Image Specification v1.2".

pub mod archive;
pub mod challenge;
pub mod collection;
pub mod config;
pub mod credentials;
pub mod digest;
pub mod failure;
pub mod layer;
pub mod manifest;
pub mod platform;
pub mod reference;
pub mod report;

use super::object;

pub use config::Config;
pub use credentials::{Keyring, Login};
pub use digest::{Digest, Hasher};
pub use failure::{ImageFailure, ImageReason, PullPolicy};
pub use manifest::{Descriptor, Document, Manifest};
pub use platform::Platform;
pub use reference::Reference;

/// A manifest, an index or a config has at most so many bytes.
pub const DOCUMENT_BYTES_MAX: usize = 4 << 20;
/// An image has at most so many layers. Each is a folder that overlayfs looks through.
pub const LAYERS_MAX: usize = 128;
/// A blob has at most so many bytes, as it is sent.
pub const BLOB_BYTES_MAX: u64 = 64 << 30;
/// All layers of an image together have at most so many bytes as tars.
pub const IMAGE_BYTES_MAX: u64 = 128 << 30;
/// A layer has at most so many entries.
pub const ENTRIES_MAX: u64 = 2_000_000;
/// An index leads to a manifest through at most so many others.
pub const INDEX_DEPTH_MAX: usize = 3;

/// What is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It is longer than [`DOCUMENT_BYTES_MAX`].
    #[error("{what} of {bytes} bytes is longer than {DOCUMENT_BYTES_MAX}")]
    TooLong {
        /// Which document.
        what: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// It is no JSON, or not of the right form.
    #[error("{what} can't be read: {why}")]
    Malformed {
        /// Which document.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// It is something that is not run here.
    #[error("{what} is not supported: {why}")]
    Unsupported {
        /// Which document.
        what: &'static str,
        /// What it is.
        why: String,
    },
}

/// The image that a container names; none if its program is one of the machine's.
pub fn of_container(container: &serde_json::Value) -> Option<&str> {
    let image = container["image"].as_str().unwrap_or_default();
    (!matches!(image, "" | "host")).then_some(image)
}

/// Whether a container of a pod has an image.
pub fn is_in(pod: &serde_json::Value) -> bool {
    object::containers(pod).any(|container| of_container(container).is_some())
}

/// Reads JSON of a bounded length.
fn read<T: serde::de::DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, DocumentError> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        let bytes = bytes.len();
        return Err(DocumentError::TooLong { what, bytes });
    }
    serde_json::from_slice(bytes).map_err(|error| DocumentError::Malformed {
        what,
        why: error.to_string(),
    })
}
