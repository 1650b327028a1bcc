//! Images from a file: what `docker save`, `podman save`, `skopeo` and builders write, packed or
//! not, or an OCI image layout that is a folder.
//!
//! The file is read once, from its beginning to its end, since it may come over the network. All
//! files in it are kept as blobs by their digests, under which a layout's files have to be found
//! again; what turns out to be needed by nobody is dropped in the end.

use std::{
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use atoll_world::{
    layer, task,
    tree::{self, Lies},
};
use tar::EntryType;

use super::{
    ImageError, Images, Inner, collect, decode, index::Kept, meter, pull::Origin, store::Store,
    unpack,
};
use crate::core::image::{
    Digest, Document, DocumentError, IMAGE_BYTES_MAX, Manifest, Reference,
    archive::{self, Contents},
    layer::Budget,
};

/// An archive has at most so many files and links.
const FILES_MAX: usize = 100_000;
/// A path in an archive has at most so many bytes.
const PATH_BYTES_MAX: usize = 4_096;
/// Content is read in such pieces.
const PIECE_BYTES: usize = 256 << 10;

impl Images {
    /// Adds the images of a file, or of a folder that is an OCI image layout. `base` is what they
    /// belong to where the file says only a tag, or nothing; a single image is called so whatever
    /// the file says. Returns their names.
    ///
    /// # Errors
    /// It is no archive of images, or what is in it is not good; or an image has no name.
    pub async fn import(
        &self,
        path: &Path,
        base: Option<&str>,
    ) -> Result<Vec<Reference>, ImageError> {
        let path = path.to_path_buf();
        match tree::lies(&path) {
            Lies::Folder => self.take(base, move |intake| intake.folder(&path)).await,
            _ => {
                let source = task::blocking(move || layer::open(&path)).await?;
                self.import_from(source, base).await
            }
        }
    }

    /// As [`Images::import`], of a file that comes as a stream. It is read on a thread that may
    /// block.
    ///
    /// # Errors
    /// As those.
    pub async fn import_from(
        &self,
        source: Box<dyn Read + Send>,
        base: Option<&str>,
    ) -> Result<Vec<Reference>, ImageError> {
        self.take(base, |intake| intake.tar(source)).await
    }

    async fn take(
        &self,
        base: Option<&str>,
        read: impl FnOnce(&mut Intake<'_>) -> Result<(), ImageError> + Send + 'static,
    ) -> Result<Vec<Reference>, ImageError> {
        let (inner, base) = (self.inner.clone(), base.map(str::to_owned));
        let gate = self.inner.gate.read().await;
        let (found, fresh) = task::blocking(move || {
            let mut intake = Intake {
                store: &inner.store,
                contents: Contents::default(),
                fresh: Vec::new(),
            };
            let read = read(&mut intake);
            let found = read.and_then(|()| intake.images(base.as_deref()));
            (found, intake.fresh)
        })
        .await;
        let added = match found {
            Ok(found) => add_all(&self.inner, found).await,
            Err(error) => Err(error),
        };
        drop(gate);
        self.tidy(fresh).await;
        added
    }

    /// Drops what an import brought that is not needed. If somebody adds right now it is left to
    /// the next collection.
    async fn tidy(&self, fresh: Vec<Digest>) {
        let Ok(_gate) = self.inner.gate.try_write() else {
            return self.inner.litter.tell();
        };
        let held = self.inner.holds.all();
        let tidy = move |store: &Store| collect::tidy(store, &held, &fresh);
        let tidied = self.inner.blocking(tidy).await;
        if let Err(error) = tidied {
            tracing::warn!(%error, "what an import left over can't be removed");
        }
    }
}

async fn add_all(inner: &Arc<Inner>, found: Vec<Found>) -> Result<Vec<Reference>, ImageError> {
    let mut names = Vec::new();
    for one in found {
        names.extend(add(inner, one).await?);
    }
    Ok(names)
}

/// An image in an archive.
struct Found {
    names: Vec<Reference>,
    target: Digest,
}

/// Unpacks an image and gives it its names.
async fn add(inner: &Arc<Inner>, found: Found) -> Result<Vec<Reference>, ImageError> {
    if found.names.is_empty() {
        return Err(ImageError::Nameless);
    }
    let image = inner.resolve(&Origin::Archive, found.target).await?;
    for (blob, diff_id) in unpack::pairs(&image.manifest, &image.config)? {
        if !inner.store.has_blob(&blob) && !inner.store.has_layer(&diff_id) {
            return Err(ImageError::Missing(blob));
        }
    }
    inner.unpack(&image.manifest, &image.config).await?;
    let kept = Kept {
        target: found.target,
        manifest: image.digest,
        imported: true,
    };
    for name in &found.names {
        inner.name(name, kept).await?;
    }
    Ok(found.names)
}

/// What is taken in of an archive.
struct Intake<'a> {
    store: &'a Store,
    contents: Contents,
    /// Blobs that were not there before.
    fresh: Vec<Digest>,
}

impl Intake<'_> {
    /// Takes in a tar.
    fn tar(&mut self, source: Box<dyn Read + Send>) -> Result<(), ImageError> {
        let plain = decode::plain(source).map_err(ImageError::Archive)?;
        let mut budget = Budget::new(IMAGE_BYTES_MAX);
        let (store, fresh) = (self.store, &mut self.fresh);
        each_file(plain, &mut budget, &mut self.contents, |content| {
            keep(store, fresh, content)
        })
    }

    /// Takes in an OCI image layout that is a folder.
    fn folder(&mut self, path: &Path) -> Result<(), ImageError> {
        for part in ["", "blobs/sha256"] {
            for name in tree::names(&path.join(part))? {
                let file = path.join(part).join(&name);
                if tree::lies(&file) == Lies::File {
                    let mut content = layer::open(&file)?;
                    self.file(&format!("{part}/{name}"), &mut content)?;
                }
            }
        }
        Ok(())
    }

    /// The images that it has, as they are to be called.
    fn images(&mut self, base: Option<&str>) -> Result<Vec<Found>, ImageError> {
        let Some(base) = base else {
            return self.said(None);
        };
        let wanted = archive::named(base)?;
        let has_version = archive::has_version(base);
        let mut found = self.said((!has_version).then_some(base))?;
        match &mut found[..] {
            [one] if has_version || !one.names.iter().any(|it| it.name() == wanted.name()) => {
                one.names = vec![wanted];
            }
            many if has_version && many.len() > 1 => {
                let many = many.len();
                let why = format!("it has {many} images, and {base} can be the name of one only");
                return Err(malformed(why));
            }
            _ => {}
        }
        Ok(found)
    }

    /// The images that it says it has.
    fn said(&mut self, base: Option<&str>) -> Result<Vec<Found>, ImageError> {
        let saved = self.contents.find("manifest.json");
        let laid_out = match self.contents.find("index.json") {
            Ok(index) => archive::laid_out(&self.store.document(&index.digest)?, base)?,
            Err(error) if saved.is_err() => return Err(error.into()),
            Err(_) => Vec::new(),
        };
        let has_names = laid_out.iter().any(|image| image.name.is_some());
        // Docker writes both, and older versions of it no names into the second.
        if let Ok(saved) = saved
            && !has_names
        {
            let saved = archive::saved(&self.store.document(&saved.digest)?)?;
            return saved
                .into_iter()
                .map(|image| self.saved(image, base))
                .collect();
        }
        let found = laid_out.into_iter().map(|image| Found {
            names: image.name.into_iter().collect(),
            target: image.target.digest,
        });
        Ok(found.collect())
    }

    /// An image that Docker saved: its manifest has to be made, since Docker's says no digests.
    fn saved(&mut self, image: archive::Saved, base: Option<&str>) -> Result<Found, ImageError> {
        let layers = image.layers.iter().map(|path| self.contents.find(path));
        let manifest = Manifest {
            config: self.contents.find(&image.config)?,
            layers: layers.collect::<Result<_, _>>()?,
        };
        let written = manifest.write();
        Document::read(&written, None)?;
        let mut names = image.names;
        if let (true, Some(base)) = (names.is_empty(), base) {
            names.push(archive::named(base)?);
        }
        let target = self.store.put(&written)?;
        self.fresh.push(target);
        Ok(Found { names, target })
    }

    /// Keeps a file as a blob.
    fn file(&mut self, path: &str, content: &mut dyn Read) -> Result<(), ImageError> {
        check(&self.contents)?;
        let (digest, bytes) = keep(self.store, &mut self.fresh, content)?;
        self.contents.add(path, digest, bytes);
        Ok(())
    }
}

/// Reads a tar: its links, and its files, each of which is kept.
fn each_file<'b>(
    plain: Box<dyn Read + 'b>,
    budget: &'b mut Budget,
    contents: &mut Contents,
    mut keep: impl FnMut(&mut dyn Read) -> Result<(Digest, u64), ImageError>,
) -> Result<(), ImageError> {
    meter::each(plain, budget, |entry| {
        let kind = entry.header().entry_type();
        let path = text(&entry.path_bytes())?;
        match kind {
            EntryType::Regular if !path.ends_with('/') => {
                check(contents)?;
                let (digest, bytes) = keep(entry)?;
                contents.add(&path, digest, bytes);
            }
            EntryType::Symlink | EntryType::Link => {
                let target = text(&entry.link_name_bytes().unwrap_or_default())?;
                check(contents)?;
                match kind {
                    // Its target is a path from the root.
                    EntryType::Link => contents.link(&path, &format!("/{target}")),
                    _ => contents.link(&path, &target),
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(())
}

/// What is in an archive that is handed over, as far as it can be read; nothing is kept.
pub(crate) fn skim(archive: &[u8], bytes_max: u64) -> Contents {
    let mut contents = Contents::default();
    let mut budget = Budget::new(bytes_max);
    let digest = |content: &mut dyn Read| {
        let mut all = Vec::new();
        content.read_to_end(&mut all).map_err(ImageError::Archive)?;
        Ok((Digest::of(&all), all.len() as u64))
    };
    if let Ok(plain) = decode::plain(archive) {
        // Where it ends is where it can't be read any more.
        let _ = each_file(plain, &mut budget, &mut contents, digest);
    }
    contents
}

fn check(contents: &Contents) -> Result<(), ImageError> {
    match contents.count() < FILES_MAX {
        true => Ok(()),
        false => Err(malformed(format!("it has more than {FILES_MAX} files"))),
    }
}

/// Keeps what is read as a blob; notes whether it was not there before.
fn keep(
    store: &Store,
    fresh: &mut Vec<Digest>,
    content: &mut dyn Read,
) -> Result<(Digest, u64), ImageError> {
    let mut writer = store.writer()?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match content.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => writer.write(&piece[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ImageError::Archive(error)),
        }
    }
    let digest = writer.digest();
    if !store.has_blob(&digest) {
        fresh.push(digest);
    }
    store.keep(writer)
}

fn text(path: &[u8]) -> Result<String, ImageError> {
    let text = std::str::from_utf8(path).ok();
    let text = text.filter(|text| text.len() <= PATH_BYTES_MAX);
    let text = text.ok_or_else(|| malformed("a path in it is no text".to_owned()))?;
    Ok(text.to_owned())
}

fn malformed(why: String) -> ImageError {
    let what = "the archive";
    DocumentError::Malformed { what, why }.into()
}
