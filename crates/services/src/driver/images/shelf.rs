//! What people do with the images of this node: hand some over, look at them, take some away.
//!
//! Whether an image is used is asked of whoever runs containers: by the folders that they were
//! started with, since a name may lead to something else by now.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use atoll_world::{clock, task};
use bytes::{Buf as _, Bytes};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};

use super::{ImageError, Images, store::Store};
use crate::{
    api::Piece,
    core::image::{Digest, report::Known},
};

/// How long nothing may come of an archive: others wait for the store meanwhile.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// So many pieces of an archive wait to be read.
const PIECES_MAX: usize = 8;
/// So many images are told of.
const LISTED_MAX: usize = 2_000;

/// The folders of images that containers were started with, each image's as a list. It blocks.
pub(crate) type UsedImages = Arc<dyn Fn() -> Result<BTreeSet<Vec<PathBuf>>, String> + Send + Sync>;

/// An image, as it is told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// What it is called, by whole names.
    pub names: Vec<String>,
    /// What the names lead to.
    pub digest: String,
    /// Its size as it was sent.
    pub bytes: u64,
    /// A container was started with it that is still there.
    pub used: bool,
    /// It is from a file.
    pub imported: bool,
}

/// Why something was not done with the images of a node.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// An image, or the store.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// There is none of that name.
    #[error("there is no image {0:?} on this node")]
    NotFound(String),
    /// It is needed.
    #[error("a container on this node was started with {0}: delete its pod first")]
    InUse(String),
    /// Somebody else was quicker.
    #[error("another image is being imported on this node: try again in a while")]
    Busy,
    /// It can't be told what runs.
    #[error("it can't be told which images are used: {0}")]
    Unknown(String),
}

/// The images of this node, for people. Clones are the same.
#[derive(Clone)]
pub(crate) struct Shelf {
    images: Images,
    used: UsedImages,
    turn: Arc<Semaphore>,
}

impl Shelf {
    pub(crate) fn new(images: Images, used: UsedImages) -> Shelf {
        Shelf {
            images,
            used,
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Adds the images of an archive that comes in pieces; see [`Images::import`].
    pub(crate) async fn import(
        &self,
        pieces: mpsc::Receiver<Piece>,
        name: Option<&str>,
    ) -> Result<Vec<Listed>, ShelfError> {
        let _turn = self.turn.try_acquire().map_err(|_| ShelfError::Busy)?;
        let source = Box::new(Incoming::of(pieces));
        let names = self.images.import_from(source, name).await?;
        let names: BTreeSet<String> = names.iter().map(ToString::to_string).collect();
        let mut all = self.list().await?;
        all.retain_mut(|image| {
            image.names.retain(|name| names.contains(name));
            !image.names.is_empty()
        });
        Ok(all)
    }

    /// All images that have names.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>, ShelfError> {
        let used = self.used().await?;
        let list = move |store: &Store| Ok(listed(store, &used));
        Ok(self.images.inner.blocking(list).await?)
    }

    /// All images that have names, whether they are used or not.
    pub(crate) async fn known(&self) -> Result<Vec<Known>, ImageError> {
        let known = |store: &Store| Ok(known(store));
        self.images.inner.blocking(known).await
    }

    /// Takes a name away, and with the last one the image.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), ShelfError> {
        let missing = || ShelfError::NotFound(name.to_owned());
        let whole = name.parse().map_err(|_| missing())?;
        let kept = self.images.inner.store.index().find(&whole);
        let kept = kept.ok_or_else(missing)?;
        let used = self.used().await?;
        let stack = {
            let stack = move |store: &Store| Ok(stack(store, &kept.manifest));
            self.images.inner.blocking(stack).await?
        };
        if stack.is_some_and(|stack| used.contains(&stack)) {
            return Err(ShelfError::InUse(whole.to_string()));
        }
        match self.images.remove(name).await? {
            true => Ok(()),
            false => Err(missing()),
        }
    }

    pub(super) fn images(&self) -> &Images {
        &self.images
    }

    pub(super) fn used_images(&self) -> UsedImages {
        self.used.clone()
    }

    async fn used(&self) -> Result<BTreeSet<Vec<PathBuf>>, ShelfError> {
        let used = self.used.clone();
        let used = task::blocking(move || used()).await;
        used.map_err(ShelfError::Unknown)
    }
}

/// The folders of an image; none if it can't be told.
fn stack(store: &Store, manifest: &Digest) -> Option<Vec<PathBuf>> {
    let config = store.config(&store.manifest(manifest).ok()?).ok()?;
    Some(store.stack(&config.diff_ids))
}

fn known(store: &Store) -> Vec<Known> {
    let index = store.index().images.clone();
    let mut all: BTreeMap<Digest, Known> = BTreeMap::new();
    for (name, kept) in index {
        let known = all.entry(kept.target).or_insert_with(|| Known {
            names: Vec::new(),
            target: kept.target,
            bytes: bytes(store, &kept.manifest),
        });
        known.names.push(name);
    }
    all.into_values().collect()
}

fn listed(store: &Store, used: &BTreeSet<Vec<PathBuf>>) -> Vec<Listed> {
    let index = store.index().images.clone();
    let mut all = known(store);
    all.sort_by(|a, b| a.names.cmp(&b.names));
    let told = all.into_iter().take(LISTED_MAX).map(|known| {
        let kept: Vec<_> = known
            .names
            .iter()
            .filter_map(|name| index.get(name))
            .collect();
        let stack = kept.first().and_then(|kept| stack(store, &kept.manifest));
        Listed {
            digest: known.target.to_string(),
            bytes: known.bytes,
            used: stack.is_some_and(|stack| used.contains(&stack)),
            imported: kept.iter().any(|kept| kept.imported),
            names: known.names,
        }
    });
    told.collect()
}

/// What an image has as it was sent; nothing if it can't be told.
fn bytes(store: &Store, manifest: &Digest) -> u64 {
    let Ok(manifest) = store.manifest(manifest) else {
        return 0;
    };
    let sizes = manifest.layers.iter().map(|layer| layer.size);
    sizes.fold(manifest.config.size, u64::saturating_add)
}

/// An archive that comes in pieces, for who reads it where it may block.
struct Incoming {
    pieces: mpsc::Receiver<io::Result<Piece>>,
    piece: Bytes,
    is_whole: bool,
}

impl Incoming {
    fn of(mut from: mpsc::Receiver<Piece>) -> Incoming {
        let (to, pieces) = mpsc::channel(PIECES_MAX);
        task::spawn(async move {
            loop {
                let next = tokio::select! {
                    next = clock::timeout(SILENCE_MAX, from.recv()) => next,
                    () = to.closed() => return,
                };
                let next = match next {
                    Ok(Some(piece)) => Ok(piece),
                    Ok(None) => return,
                    Err(_) => Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("nothing came for {} s", SILENCE_MAX.as_secs()),
                    )),
                };
                let is_last = !matches!(next, Ok(Piece::Bytes(_)));
                if to.send(next).await.is_err() || is_last {
                    return;
                }
            }
        });
        Incoming {
            pieces,
            piece: Bytes::new(),
            is_whole: false,
        }
    }
}

impl Read for Incoming {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.is_whole && !into.is_empty() {
            match self.pieces.blocking_recv().transpose()? {
                Some(Piece::Bytes(piece)) => self.piece = piece,
                Some(Piece::End) => self.is_whole = true,
                // Who sends it has gone away.
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let bytes = self.piece.len().min(into.len());
        self.piece.copy_to_slice(&mut into[..bytes]);
        Ok(bytes)
    }
}
