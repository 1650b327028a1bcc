//! An image from a registry: its manifest, its config, its layers; then it gets its name.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use atoll_world::task;
use futures_util::{StreamExt as _, stream};

use super::{
    Image, ImageError, Inner,
    index::Kept,
    registry::{RegistryError, Session},
    unpack,
};
use crate::core::image::{
    Config, Descriptor, Digest, Document, DocumentError, INDEX_DEPTH_MAX, Login, Manifest,
    Reference, manifest,
};

/// So many layers of an image are fetched at the same time.
const LAYERS_AT_ONCE: usize = 3;

/// From where documents come that are not there yet.
pub(super) enum Origin<'a> {
    /// All of them were in an archive.
    Archive,
    /// A registry has them.
    Registry(&'a Session<'a>),
}

/// An image for this machine.
pub(super) struct Resolved {
    /// Its manifest's digest.
    pub(super) digest: Digest,
    /// Its manifest.
    pub(super) manifest: Manifest,
    /// Its config.
    pub(super) config: Config,
}

impl Inner {
    /// Fetches an image and gives it its name. Each of the logins is tried until one is good.
    pub(super) async fn pull(
        self: &Arc<Inner>,
        name: &Reference,
        logins: &[Login],
    ) -> Result<Image, ImageError> {
        let _turn = self.pulls.acquire().await;
        let _gate = self.gate.read().await;
        let (last, others) = match logins.split_last() {
            Some((last, others)) => (Some(last), others),
            None => (None, logins),
        };
        for login in others {
            match self.pull_as(name, Some(login)).await {
                Err(ImageError::Registry(RegistryError::Denied { .. })) => {}
                outcome => return outcome,
            }
        }
        self.pull_as(name, last).await
    }

    async fn pull_as(
        self: &Arc<Inner>,
        name: &Reference,
        login: Option<&Login>,
    ) -> Result<Image, ImageError> {
        let session = self.client.session(name, login)?;
        let (bytes, media_type) = session.manifest(&name.version()).await?;
        let target = Digest::of(&bytes);
        check(name.digest().unwrap_or(target), target)?;
        Document::read(&bytes, media_type.as_deref())?;
        self.put(bytes).await?;
        let image = self.resolve(&Origin::Registry(&session), target).await?;
        self.fetch_layers(&session, &image).await?;
        self.unpack(&image.manifest, &image.config).await?;
        let kept = Kept {
            target,
            manifest: image.digest,
            imported: false,
        };
        self.name(name, kept).await?;
        let (inner, name) = (self.clone(), name.clone());
        let found = task::blocking(move || inner.give(&name)).await?;
        found.ok_or(ImageError::Missing(image.digest))
    }

    /// From what a name leads to to an image for this machine.
    pub(super) async fn resolve(
        self: &Arc<Inner>,
        origin: &Origin<'_>,
        target: Digest,
    ) -> Result<Resolved, ImageError> {
        let mut digest = target;
        for _ in 0..INDEX_DEPTH_MAX {
            let bytes = self.document(origin, &digest, Kind::Manifest).await?;
            let manifest = match Document::read(&bytes, None)? {
                Document::Index(manifests) => {
                    let chosen = manifest::choose(&manifests, &self.platform);
                    let chosen = chosen.ok_or_else(|| self.no_match())?;
                    digest = chosen.digest;
                    continue;
                }
                Document::Manifest(manifest) => manifest,
            };
            let config = &manifest.config.digest;
            let config = Config::read(&self.document(origin, config, Kind::Config).await?)?;
            if !self.platform.runs(&config.platform) {
                return Err(self.no_match());
            }
            return Ok(Resolved {
                digest,
                manifest,
                config,
            });
        }
        let what = "the manifest";
        let why = "it is an index of indexes of indexes".to_owned();
        Err(DocumentError::Unsupported { what, why }.into())
    }

    fn no_match(&self) -> ImageError {
        ImageError::Platform(self.platform.to_string())
    }

    /// A document that is here, or else the origin has.
    async fn document(
        self: &Arc<Inner>,
        origin: &Origin<'_>,
        digest: &Digest,
        kind: Kind,
    ) -> Result<Vec<u8>, ImageError> {
        let wanted = *digest;
        let session = match origin {
            Origin::Registry(session) if !self.store.has_blob(digest) => session,
            _ => return self.blocking(move |store| store.document(&wanted)).await,
        };
        let bytes = match kind {
            Kind::Manifest => session.manifest(&digest.to_string()).await?.0,
            Kind::Config => session.document(digest).await?,
        };
        check(*digest, Digest::of(&bytes))?;
        self.put(bytes.clone()).await?;
        Ok(bytes)
    }

    async fn put(self: &Arc<Inner>, bytes: Vec<u8>) -> Result<Digest, ImageError> {
        self.blocking(move |store| store.put(&bytes)).await
    }

    /// Fetches the layers that are missing. After a failure none is begun any more, but those
    /// under way are brought to their end: the next try has them then.
    async fn fetch_layers(
        self: &Arc<Inner>,
        session: &Session<'_>,
        image: &Resolved,
    ) -> Result<(), ImageError> {
        let pairs = unpack::pairs(&image.manifest, &image.config)?;
        let missing = image.manifest.layers.iter().zip(&pairs);
        let missing = missing.filter(|(layer, (_, diff_id))| {
            !self.store.has_layer(diff_id) && !self.store.has_blob(&layer.digest)
        });
        let mut seen = BTreeSet::new();
        let missing = missing.map(|(layer, _)| layer.clone());
        let missing: Vec<_> = missing.filter(|it| seen.insert(it.digest)).collect();
        let has_failed = &AtomicBool::new(false);
        let fetch = |layer: Descriptor| async move {
            if has_failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            let fetched = self.fetch_layer(session, &layer).await;
            has_failed.fetch_or(fetched.is_err(), Ordering::Relaxed);
            fetched
        };
        let fetched = stream::iter(missing).map(fetch);
        let fetched: Vec<_> = fetched.buffer_unordered(LAYERS_AT_ONCE).collect().await;
        fetched.into_iter().collect()
    }

    async fn fetch_layer(
        self: &Arc<Inner>,
        session: &Session<'_>,
        layer: &Descriptor,
    ) -> Result<(), ImageError> {
        let writer = self.blocking(|store| store.writer()).await?;
        let writer = session.blob(writer, layer).await?;
        self.blocking(|store| store.keep(writer).map(drop)).await
    }
}

/// How a document is asked for.
enum Kind {
    Manifest,
    Config,
}

fn check(expected: Digest, found: Digest) -> Result<(), ImageError> {
    match expected == found {
        true => Ok(()),
        false => Err(ImageError::Digest {
            what: "a document",
            expected,
            found,
        }),
    }
}
