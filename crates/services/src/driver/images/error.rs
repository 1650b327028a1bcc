//! Why an image could not be fetched, imported, read or removed.

use std::io;

use atoll_world::{disk::DiskError, layer::LayerError, tree::TreeError};

use super::registry::RegistryError;
use crate::core::image::{
    Digest, DocumentError,
    layer::{EntryError, TooMuch},
};

impl ImageError {
    /// The disk, or this user's share of it, is full.
    pub(crate) fn is_full(&self) -> bool {
        let full = |error: &io::Error| {
            let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
            kinds.contains(&error.kind())
        };
        match self {
            ImageError::Disk(error) => error.is_full(),
            ImageError::Layer(LayerError::System { source, .. }) => full(source),
            _ => false,
        }
    }
}

/// Why something could not be done with an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A manifest, an index or a config is not good.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A layer has an entry that must not be.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// There is more of it than may be.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// A layer could not be made.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A file of the store could not be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A folder of the store could not be made.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The registry did not give what was asked for.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// An archive breaks off, or is none.
    #[error("the archive can't be read: {0}")]
    Archive(#[source] io::Error),
    /// Content has not the digest that it is known by.
    #[error("{what} has digest {found} and not {expected}")]
    Digest {
        /// Which content.
        what: &'static str,
        /// What it should have.
        expected: Digest,
        /// What it has.
        found: Digest,
    },
    /// Content has not the length that it is known by.
    #[error("{digest} has {found} bytes and not {expected}")]
    Length {
        /// Which content.
        digest: Digest,
        /// How long it should be.
        expected: u64,
        /// How long it is.
        found: u64,
    },
    /// Something that is named is not there.
    #[error("{0} is not there")]
    Missing(Digest),
    /// None of an index's manifests is for this machine.
    #[error("no match for platform {0} in the manifest")]
    Platform(String),
    /// An archive has an image without a name.
    #[error("an image in it has no name: say how it is to be called")]
    Nameless,
    /// The store was written by a later version of this program.
    #[error("the image store has format {0}, which is of a later version")]
    Version(u64),
}
