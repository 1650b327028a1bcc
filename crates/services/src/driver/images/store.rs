//! The folder of images: blobs, layers, and what is being made.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use atoll_world::{
    disk::{self, Disk, DiskFile, DiskLock, Open},
    layer::{self, Layer},
    tree::{self, Lies},
};
use parking_lot::{Mutex, MutexGuard};

use super::{ImageError, index::Index};
use crate::core::image::{
    Config, DOCUMENT_BYTES_MAX, Descriptor, Digest, Document, DocumentError, Hasher, Manifest,
};

/// Only this node's user may reach into it: programs in layers may run as root.
const FOLDER_MODE: u32 = 0o700;

/// What is kept on disk.
pub(super) struct Store {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    index: Mutex<Index>,
    serial: AtomicU64,
    /// Other processes stay away as long as it is held.
    _lock: Box<dyn DiskLock>,
}

impl Store {
    /// Opens it, and drops what was half made.
    pub(super) fn open(folder: &Path) -> Result<Store, ImageError> {
        let disk = disk::real();
        for part in ["blobs/sha256", "layers", "partial"] {
            tree::make_folder(&folder.join(part), FOLDER_MODE)?;
        }
        let lock = disk.lock(&folder.join("lock"))?;
        for name in tree::names(&folder.join("partial"))? {
            layer::remove(&folder.join("partial").join(name))?;
        }
        let index = match disk.read_all(&folder.join("index.json")) {
            Ok(bytes) => Index::read(&bytes)?,
            Err(error) if error.is_not_found() => Index::default(),
            Err(error) => return Err(error.into()),
        };
        Ok(Store {
            folder: folder.to_path_buf(),
            disk,
            index: Mutex::new(index),
            serial: AtomicU64::new(0),
            _lock: lock,
        })
    }

    /// Which names there are.
    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock()
    }

    /// Changes it, on the disk first.
    pub(super) fn change_index(&self, change: impl FnOnce(&mut Index)) -> Result<(), ImageError> {
        let mut index = self.index.lock();
        let mut changed = index.clone();
        change(&mut changed);
        if changed != *index {
            let path = self.folder.join("index.json");
            self.disk.write_atomic(&path, &changed.write())?;
            *index = changed;
        }
        Ok(())
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.folder.join("blobs/sha256")
    }

    pub(super) fn layers(&self) -> PathBuf {
        self.folder.join("layers")
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub(super) fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.hex())
    }

    /// Where something is made that has no name yet.
    fn partial(&self) -> PathBuf {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        self.folder.join("partial").join(serial.to_string())
    }

    pub(super) fn has_blob(&self, digest: &Digest) -> bool {
        tree::lies(&self.blob(digest)) == Lies::File
    }

    pub(super) fn has_layer(&self, diff_id: &Digest) -> bool {
        tree::lies(&self.layer(diff_id)) == Lies::Folder
    }

    /// The folders of layers, the lowest first, without those of which nothing is seen.
    pub(super) fn stack(&self, diff_ids: &[Digest]) -> Vec<PathBuf> {
        let layers = diff_ids.iter().map(|diff_id| self.layer(diff_id));
        let layers: Vec<_> = layers.collect();
        let first = layers.iter().rposition(|layer| layer::is_opaque(layer));
        layers[first.unwrap_or(0)..].to_vec()
    }

    /// Begins a blob.
    pub(super) fn writer(&self) -> Result<BlobWriter, ImageError> {
        let path = self.partial();
        let open = Open::Create {
            preallocate_bytes: 0,
        };
        Ok(BlobWriter {
            file: self.disk.open(&path, open)?,
            disk: self.disk.clone(),
            path,
            hasher: Hasher::default(),
        })
    }

    /// Gives a blob that is whole its name.
    pub(super) fn keep(&self, mut blob: BlobWriter) -> Result<(Digest, u64), ImageError> {
        let hasher = std::mem::take(&mut blob.hasher);
        let (bytes, digest) = (hasher.bytes(), hasher.finish());
        blob.file.sync_data()?;
        self.disk.rename(&blob.path, &self.blob(&digest))?;
        self.disk.sync_dir(&self.blobs())?;
        Ok((digest, bytes))
    }

    /// Keeps a document.
    pub(super) fn put(&self, bytes: &[u8]) -> Result<Digest, ImageError> {
        let mut writer = self.writer()?;
        writer.write(bytes)?;
        Ok(self.keep(writer)?.0)
    }

    fn open_blob(&self, digest: &Digest) -> Result<Box<dyn DiskFile>, ImageError> {
        let opened = self.disk.open(&self.blob(digest), Open::Existing);
        opened.map_err(|error| match error.is_not_found() {
            true => ImageError::Missing(*digest),
            false => error.into(),
        })
    }

    /// A blob from its beginning to its end.
    pub(super) fn reader(&self, digest: &Digest) -> Result<BlobReader, ImageError> {
        let file = self.open_blob(digest)?;
        Ok(BlobReader { file, offset: 0 })
    }

    /// A document.
    pub(super) fn document(&self, digest: &Digest) -> Result<Vec<u8>, ImageError> {
        let file = self.open_blob(digest)?;
        let bytes = usize::try_from(file.len_bytes()?).unwrap_or(usize::MAX);
        if bytes > DOCUMENT_BYTES_MAX {
            let what = "a document";
            return Err(DocumentError::TooLong { what, bytes }.into());
        }
        let mut content = vec![0; bytes];
        let read = file.read_at(0, &mut content)?;
        content.truncate(read);
        Ok(content)
    }

    /// A manifest.
    pub(super) fn manifest(&self, digest: &Digest) -> Result<Manifest, ImageError> {
        match Document::read(&self.document(digest)?, None)? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => Err(ImageError::Missing(*digest)),
        }
    }

    /// The config that a manifest names.
    ///
    /// # Errors
    /// It is not there, or can't be read.
    pub(super) fn config(&self, manifest: &Manifest) -> Result<Config, ImageError> {
        Ok(Config::read(&self.document(&manifest.config.digest)?)?)
    }

    /// Removes a blob. No error if it is not there.
    pub(super) fn drop_blob(&self, digest: &Digest) -> Result<(), ImageError> {
        match self.disk.remove(&self.blob(digest)) {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Removes a layer: first its name, so that no half of it can be taken for the whole.
    pub(super) fn drop_layer(&self, diff_id: &Digest) -> Result<(), ImageError> {
        let going = self.partial();
        self.disk.rename(&self.layer(diff_id), &going)?;
        self.disk.sync_dir(&self.layers())?;
        Ok(layer::remove(&going)?)
    }

    /// Makes a layer, and gives it its name if `fill` says that it is whole.
    pub(super) fn make_layer(
        &self,
        diff_id: &Digest,
        fill: impl FnOnce(&mut Layer) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let path = self.partial();
        let mut layer = Layer::make(&path)?;
        let filled = fill(&mut layer);
        let made = filled.and_then(|()| Ok(layer.finish(&self.layer(diff_id))?));
        if made.is_err()
            && let Err(error) = layer::remove(&path)
        {
            tracing::warn!(%error, "half a layer can't be removed; it is when the node starts");
        }
        made
    }
}

/// A blob that is being written. Dropped, it is gone.
pub(super) struct BlobWriter {
    file: Box<dyn DiskFile>,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    hasher: Hasher,
}

impl BlobWriter {
    /// Writes the next piece.
    pub(super) fn write(&mut self, piece: &[u8]) -> Result<(), ImageError> {
        self.file.write_at(self.hasher.bytes(), piece)?;
        self.hasher.update(piece);
        Ok(())
    }

    /// How much has been written.
    pub(super) fn bytes(&self) -> u64 {
        self.hasher.bytes()
    }

    /// Whether it is what it should be.
    pub(super) fn check(&self, expected: &Descriptor) -> Result<(), ImageError> {
        let (bytes, found) = (self.bytes(), self.digest());
        if bytes != expected.size {
            return Err(ImageError::Length {
                digest: expected.digest,
                expected: expected.size,
                found: bytes,
            });
        }
        if found != expected.digest {
            return Err(ImageError::Digest {
                what: "a blob",
                expected: expected.digest,
                found,
            });
        }
        Ok(())
    }

    /// What has been written.
    pub(super) fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        // One that was kept has another name by now.
        let _ = self.disk.remove(&self.path);
    }
}

/// Reads a blob.
pub(super) struct BlobReader {
    file: Box<dyn DiskFile>,
    offset: u64,
}

impl Read for BlobReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(self.offset, into);
        let read = read.map_err(io::Error::other)?;
        self.offset += read as u64;
        Ok(read)
    }
}
