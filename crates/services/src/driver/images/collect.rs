//! Which blobs and layers are needed, and the end of the others.

use std::collections::BTreeSet;

use atoll_world::tree;

use super::{ImageError, store::Store};
use crate::core::image::{Config, Digest};

/// What has been removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// So many blobs.
    pub blobs: usize,
    /// So many layers.
    pub layers: usize,
}

/// What is needed.
#[derive(Default)]
struct Needed {
    blobs: BTreeSet<Digest>,
    layers: BTreeSet<Digest>,
}

/// Removes what is needed neither by a name nor by one of the manifests. Nothing may be added at
/// the same time. If it can't be told what is needed, nothing is removed.
pub(super) fn collect(store: &Store, used: &[Digest]) -> Result<Freed, ImageError> {
    let needed = needed(store, used)?;
    let mut freed = Freed::default();
    for name in tree::names(&store.layers())? {
        if let Some(diff_id) = Digest::from_hex(&name).filter(|it| !needed.layers.contains(it)) {
            store.drop_layer(&diff_id)?;
            freed.layers += 1;
        }
    }
    for name in tree::names(&store.blobs())? {
        if let Some(digest) = Digest::from_hex(&name).filter(|it| !needed.blobs.contains(it)) {
            store.drop_blob(&digest)?;
            freed.blobs += 1;
        }
    }
    Ok(freed)
}

/// Removes those of some blobs that no name needs. Nothing may be added at the same time.
pub(super) fn tidy(store: &Store, blobs: &[Digest]) -> Result<(), ImageError> {
    let needed = needed(store, &[])?;
    let mut left = blobs.iter().filter(|it| !needed.blobs.contains(it));
    left.try_for_each(|digest| store.drop_blob(digest))
}

fn needed(store: &Store, used: &[Digest]) -> Result<Needed, ImageError> {
    let mut needed = Needed::default();
    let kept: Vec<_> = store.index().images.values().copied().collect();
    let mut manifests: BTreeSet<Digest> = kept.iter().map(|kept| kept.manifest).collect();
    needed.blobs.extend(kept.iter().map(|kept| kept.target));
    // What runs may be of a store that was lost since.
    manifests.extend(used.iter().filter(|it| store.has_blob(it)));
    for digest in manifests {
        let manifest = store.manifest(&digest)?;
        let config = Config::read(&store.document(&manifest.config.digest)?)?;
        needed.blobs.extend([digest, manifest.config.digest]);
        needed.layers.extend(config.diff_ids);
    }
    Ok(needed)
}
