//! Images of this node: fetched from registries or imported from files, unpacked once, shared.
//!
//! A name leads to the digest of a manifest (`index.json`), the manifest to a config and to
//! layers. Manifests and configs are kept as they were sent (`blobs/sha256/DIGEST`), layers as
//! folders (`layers/DIGEST`, by the digest of the plain tar, so that images which have a layer in
//! common share it); a layer as it was sent is dropped once it is unpacked. Invariants:
//! - whatever has its name in `blobs` or `layers` is whole and on the disk: it is made in
//!   `partial` first, which is emptied when the store is opened;
//! - a name is written once all that it leads to is there;
//! - what is removed loses its name first.
//!
//! One process has the store at a time.

mod collect;
mod decode;
mod error;
mod hold;
mod import;
mod index;
mod meter;
mod pull;
mod registry;
mod shelf;
mod store;
#[cfg(test)]
mod tests;
mod unpack;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use atoll_world::task;
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use tokio::sync::{RwLock, Semaphore, watch};

pub(crate) use self::import::skim;
pub(crate) use self::shelf::{Shelf, UsedImages};
use self::{
    collect::Litter,
    hold::{Hold, Holds},
    index::Kept,
    registry::{Client, trust},
    store::Store,
};
pub use self::{
    error::ImageError,
    shelf::{Listed, ShelfError},
};
use crate::core::image::{
    Config, Digest, ImageFailure, Keyring, Login, Manifest, Platform, PullPolicy, Reference,
};

/// So many images are fetched at the same time; others wait.
const PULLS_MAX: usize = 4;

/// An image that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its whole name.
    pub name: Reference,
    /// What the name leads to: a manifest, or an index of manifests. A pod's status names its
    /// image by it.
    pub target: Digest,
    /// The manifest for this machine. What is kept for it is kept by this.
    pub manifest: Digest,
    /// What it runs.
    pub config: Arc<Config>,
    /// The folders of its layers, the lowest first (overlayfs's `lowerdir` has them the other way
    /// round). Without privileges they are to be mounted with `userxattr`.
    pub layers: Vec<PathBuf>,
    /// It is not removed as long as somebody who asked for it has it.
    hold: Hold,
}

impl Image {
    /// What it is in a container's status: its repository, at its digest.
    pub fn id(&self) -> String {
        self.name.at(self.target).to_string()
    }
}

/// The images of this node.
#[derive(Clone)]
pub struct Images {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    client: Client,
    platform: Platform,
    /// What is being fetched, for whom; all who want the same wait for the same.
    flights: Mutex<BTreeMap<Flight, watch::Receiver<Option<Outcome>>>>,
    pulls: Semaphore,
    /// Layers are unpacked one after the other: it is the disk's work.
    unpacking: tokio::sync::Mutex<()>,
    /// Held for reading by who adds to the store or is given something of it, for writing by who
    /// removes, and never waited for so: whoever comes next would wait, too.
    gate: RwLock<()>,
    holds: Holds,
    /// There is something that nobody needs.
    litter: Litter,
}

/// Two who may see different things don't share what is fetched.
type Flight = (Reference, Vec<Login>);
type Outcome = Result<Image, ImageFailure>;

impl Images {
    /// Opens the store in a folder, which is made if it is not there. Registries have to prove
    /// who they are to what the machine trusts, or to one of `trusted`. Blocks.
    ///
    /// # Errors
    /// Another process has it, its format is of a later version, or it can't be read.
    pub fn open(folder: &Path, trusted: &[CertificateDer<'static>]) -> Result<Images, ImageError> {
        Images::open_for(folder, trusted, Platform::here())
    }

    fn open_for(
        folder: &Path,
        trusted: &[CertificateDer<'static>],
        platform: Platform,
    ) -> Result<Images, ImageError> {
        let inner = Inner {
            store: Store::open(folder)?,
            client: Client::new(trust::config(trusted)),
            platform,
            flights: Mutex::default(),
            pulls: Semaphore::new(PULLS_MAX),
            unpacking: tokio::sync::Mutex::default(),
            gate: RwLock::default(),
            holds: Holds::default(),
            litter: Litter::default(),
        };
        Ok(Images {
            inner: Arc::new(inner),
        })
    }

    /// An image that is there, by whatever name. Reads two small files.
    pub fn find(&self, image: &str) -> Option<Image> {
        let name = image.parse().ok()?;
        match self.inner.look(&name) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(image, %error, "an image can't be read");
                None
            }
        }
    }

    /// The names of all images, and what they lead to.
    pub fn list(&self) -> Vec<(String, Digest)> {
        let index = self.inner.store.index();
        let entry = |(name, kept): (&String, &Kept)| (name.clone(), kept.target);
        index.images.iter().map(entry).collect()
    }

    /// An image as a container wants it, fetched if need be. All who ask for the same at the same
    /// time get the answer of one pull, which goes on if nobody waits any more. To try again, and
    /// when, is the caller's affair.
    ///
    /// # Errors
    /// Why the container can't have it.
    pub async fn ensure(
        &self,
        image: &str,
        policy: PullPolicy,
        keyring: &Keyring,
    ) -> Result<Image, ImageFailure> {
        let name: Reference = image
            .parse()
            .map_err(|error| ImageFailure::invalid_name(image, &error))?;
        if policy != PullPolicy::Always {
            let (inner, wanted) = (self.inner.clone(), name.clone());
            let gate = self.inner.gate.read().await;
            let found = task::blocking(move || inner.give(&wanted)).await;
            drop(gate);
            let found = found.map_err(|error| ImageFailure::inspect(image, &error))?;
            match found {
                Some(found) => return Ok(found),
                None if policy == PullPolicy::Never => {
                    return Err(ImageFailure::never_pull(image));
                }
                None => {}
            }
        }
        let logins = keyring.logins(&name);
        let mut flight = self.inner.flight(name.clone(), logins.clone());
        let landed = flight.wait_for(Option::is_some).await;
        match landed.map(|outcome| outcome.clone()) {
            Ok(Some(outcome)) => outcome,
            Ok(None) | Err(_) => {
                self.inner.flights.lock().remove(&(name, logins));
                Err(ImageFailure::pull(image, &"the pull was broken off"))
            }
        }
    }

    /// Takes a name from its image; whether there was one. What nobody needs any more goes soon.
    ///
    /// # Errors
    /// It can't be written.
    pub async fn remove(&self, image: &str) -> Result<bool, ImageError> {
        let Ok(name) = image.parse::<Reference>() else {
            return Ok(false);
        };
        let remove = move |store: &Store| {
            let mut had = false;
            store.change_index(|index| {
                had = index.images.remove(&name.to_string()).is_some();
            })?;
            Ok(had)
        };
        let had = self.inner.blocking(remove).await?;
        if had {
            self.inner.litter.tell();
        }
        Ok(had)
    }
}

impl Inner {
    /// Joins a pull that is under way, or begins one.
    fn flight(
        self: &Arc<Inner>,
        name: Reference,
        logins: Vec<Login>,
    ) -> watch::Receiver<Option<Outcome>> {
        let key = (name, logins);
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(&key) {
            return flight.clone();
        }
        let (landed, flight) = watch::channel(None);
        flights.insert(key.clone(), flight.clone());
        let inner = self.clone();
        drop(task::spawn(async move {
            let (name, logins) = &key;
            let outcome = inner.pull(name, logins).await;
            let outcome = outcome.map_err(|error| ImageFailure::pull(&name.to_string(), &error));
            inner.flights.lock().remove(&key);
            landed.send_replace(Some(outcome));
        }));
        flight
    }

    /// An image that is there, whole.
    fn look(&self, name: &Reference) -> Result<Option<Image>, ImageError> {
        let Some(kept) = self.store.index().find(name) else {
            return Ok(None);
        };
        let manifest = self.store.manifest(&kept.manifest)?;
        let config = self.store.config(&manifest)?;
        if !config.diff_ids.iter().all(|it| self.store.has_layer(it)) {
            return Ok(None);
        }
        Ok(Some(Image {
            name: name.clone(),
            target: kept.target,
            manifest: kept.manifest,
            layers: self.store.stack(&config.diff_ids),
            config: Arc::new(config),
            hold: Hold::default(),
        }))
    }

    /// The same, for who holds the gate and wants to run it.
    fn give(&self, name: &Reference) -> Result<Option<Image>, ImageError> {
        let mut found = self.look(name)?;
        if let Some(image) = &mut found {
            image.hold = self.holds.hold(image.manifest);
        }
        Ok(found)
    }

    /// Unpacks the layers of an image whose blobs are there, as far as it has not been done.
    async fn unpack(
        self: &Arc<Inner>,
        manifest: &Manifest,
        config: &Config,
    ) -> Result<(), ImageError> {
        let mut budget = unpack::budget();
        for (layer, diff_id) in unpack::pairs(manifest, config)? {
            let _turn = self.unpacking.lock().await;
            if self.store.has_layer(&diff_id) {
                continue;
            }
            let unpack = move |store: &Store| {
                unpack::unpack(store, &layer, &diff_id, &mut budget)?;
                store.drop_blob(&layer)?;
                Ok(budget)
            };
            budget = self.blocking(unpack).await?;
        }
        Ok(())
    }

    /// Gives an image that is all there its name.
    async fn name(self: &Arc<Inner>, name: &Reference, kept: Kept) -> Result<(), ImageError> {
        let name = name.to_string();
        let name = move |store: &Store| {
            store.change_index(|index| {
                index.images.insert(name, kept);
            })
        };
        self.blocking(name).await
    }

    /// Does something with the store where it may block.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Inner>,
        work: impl FnOnce(&Store) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, ImageError> {
        let inner = self.clone();
        task::blocking(move || work(&inner.store)).await
    }
}
