//! Which blobs and layers are needed, and the end of the others; and of images when the disk fills
//! up ([`crate::core::image::collection`]).
//!
//! Invariant: nothing is removed of an image that somebody has been given and not started yet, or
//! that a container was started with. So it is looked with the gate held, when nobody can be given
//! one: first at what is held, then at what containers were started with, since a start lets go
//! only after it has been written down.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use atoll_world::{clock, machine, task, tree};
use tokio::sync::Notify;

use super::{ImageError, Images, Shelf, ShelfError, UsedImages, store::Store};
use crate::core::image::{
    Digest,
    collection::{Collection, DiskRoom, HIGH_PERCENT, Sight},
};

/// How often it is looked.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// Tells that something is not needed any more. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Litter(Arc<(AtomicBool, Notify)>);

impl Litter {
    /// There is some.
    pub(super) fn tell(&self) {
        self.0.0.store(true, Ordering::Relaxed);
        self.0.1.notify_one();
    }

    /// Whether there was some; now there is none.
    fn take(&self) -> bool {
        self.0.0.swap(false, Ordering::Relaxed)
    }

    async fn comes(&self) {
        self.0.1.notified().await;
    }
}

/// What has been removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Freed {
    /// Names of images.
    pub(super) names: Vec<String>,
    /// So many blobs.
    pub(super) blobs: usize,
    /// So many layers.
    pub(super) layers: usize,
}

impl Shelf {
    /// Removes images that nobody uses when the disk of the store is too full, and what no name
    /// leads to, as long as this process runs.
    pub(crate) fn keep_room(&self, folder: PathBuf) {
        let shelf = self.clone();
        task::spawn(async move {
            let mut collection = Collection::default();
            let begun = clock::now();
            loop {
                let now = clock::now().saturating_duration_since(begun);
                let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
                let folder = folder.clone();
                let room = move || room(&folder);
                let freed = shelf.collect(collection, now_ms, room).await;
                collection = freed.0;
                match freed.1 {
                    Ok(freed) if freed == Freed::default() => {}
                    Ok(freed) => {
                        let Freed {
                            names,
                            blobs,
                            layers,
                        } = freed;
                        tracing::info!(
                            ?names,
                            blobs,
                            layers,
                            "images that nobody uses are removed"
                        );
                    }
                    Err(error) => tracing::warn!(%error, "images are not looked through"),
                }
                tokio::select! {
                    () = clock::sleep(LOOK_INTERVAL) => {}
                    () = shelf.images().inner.litter.comes() => {}
                }
            }
        });
    }

    /// Looks once, unless somebody adds to the store right now.
    pub(super) async fn collect(
        &self,
        mut collection: Collection,
        now_ms: u64,
        room: impl Fn() -> DiskRoom + Send + 'static,
    ) -> (Collection, Result<Freed, ShelfError>) {
        let images: Images = self.images().clone();
        let Ok(_gate) = self.images().inner.gate.try_write() else {
            return (collection, Ok(Freed::default()));
        };
        let used = self.used_images();
        task::blocking(move || {
            let freed = look(&images, &used, &mut collection, now_ms, room);
            (collection, freed)
        })
        .await
    }
}

/// The disk of the store; nothing is removed for one of which nothing is known.
fn room(folder: &Path) -> DiskRoom {
    let room = machine::room(folder);
    DiskRoom {
        bytes: room.map_or(0, |room| room.bytes),
        free_bytes: room.map_or(0, |room| room.free_bytes),
    }
}

fn look(
    images: &Images,
    used: &UsedImages,
    collection: &mut Collection,
    now_ms: u64,
    room: impl Fn() -> DiskRoom,
) -> Result<Freed, ShelfError> {
    let inner = &images.inner;
    let store = &inner.store;
    let held = inner.holds.all();
    let used = used().map_err(ShelfError::Unknown)?;
    let mut all = Freed::default();
    if inner.litter.take() || room().used_percent() >= HIGH_PERCENT {
        all = collect(store, &held, &used)?;
    }
    loop {
        let sights = sights(store, &held, &used)?;
        let Some(gone) = collection.look(now_ms, &sights, room()) else {
            return Ok(all);
        };
        store.change_index(|index| {
            let leads_there = |kept: &super::Kept| kept.manifest == gone;
            let names = index.images.iter().filter(|(_, kept)| leads_there(kept));
            all.names.extend(names.map(|(name, _)| name.clone()));
            index.images.retain(|_, kept| !leads_there(kept));
        })?;
        let freed = collect(store, &held, &used)?;
        all.blobs += freed.blobs;
        all.layers += freed.layers;
    }
}

/// All images that have names.
fn sights(
    store: &Store,
    held: &BTreeSet<Digest>,
    used: &BTreeSet<Vec<PathBuf>>,
) -> Result<Vec<Sight>, ImageError> {
    let kept: Vec<_> = store.index().images.values().copied().collect();
    let manifests: BTreeSet<Digest> = kept.iter().map(|kept| kept.manifest).collect();
    let sight = |manifest: Digest| {
        let mut names = kept.iter().filter(|kept| kept.manifest == manifest);
        let config = store.config(&store.manifest(&manifest)?)?;
        Ok(Sight {
            manifest,
            is_used: held.contains(&manifest) || used.contains(&store.stack(&config.diff_ids)),
            is_pinned: names.any(|kept| kept.imported),
        })
    };
    manifests.into_iter().map(sight).collect()
}

/// What is needed.
#[derive(Default)]
struct Needed {
    blobs: BTreeSet<Digest>,
    layers: BTreeSet<Digest>,
}

/// Removes what is needed neither by a name, nor by what is held, nor by what containers were
/// started with. Nothing may be added at the same time. If it can't be told what is needed,
/// nothing is removed.
pub(super) fn collect(
    store: &Store,
    held: &BTreeSet<Digest>,
    used: &BTreeSet<Vec<PathBuf>>,
) -> Result<Freed, ImageError> {
    let mut needed = needed(store, held)?;
    let folders = used.iter().flatten();
    let names = folders.filter_map(|folder| folder.file_name()?.to_str());
    needed.layers.extend(names.filter_map(Digest::from_hex));
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

/// Removes those of some blobs that nothing needs. Nothing may be added at the same time.
pub(super) fn tidy(
    store: &Store,
    held: &BTreeSet<Digest>,
    blobs: &[Digest],
) -> Result<(), ImageError> {
    let needed = needed(store, held)?;
    let mut left = blobs.iter().filter(|it| !needed.blobs.contains(it));
    left.try_for_each(|digest| store.drop_blob(digest))
}

fn needed(store: &Store, held: &BTreeSet<Digest>) -> Result<Needed, ImageError> {
    let mut needed = Needed::default();
    let kept: Vec<_> = store.index().images.values().copied().collect();
    let mut manifests: BTreeSet<Digest> = kept.iter().map(|kept| kept.manifest).collect();
    needed.blobs.extend(kept.iter().map(|kept| kept.target));
    manifests.extend(held);
    for digest in manifests {
        let manifest = store.manifest(&digest)?;
        let config = store.config(&manifest)?;
        needed.blobs.extend([digest, manifest.config.digest]);
        needed.layers.extend(config.diff_ids);
    }
    Ok(needed)
}
