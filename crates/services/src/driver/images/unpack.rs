//! Layers: from a tar, packed or not, to a folder.
//!
//! The tar is read once, from its beginning to its end, and its digest is compared before the
//! folder gets its name.

use std::{
    ffi::{OsStr, OsString},
    io::Read,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::Path,
};

use atoll_world::layer::{Attributes, Layer};
use tar::{Entry, EntryType};

use super::{ImageError, decode, meter, store::Store};
use crate::core::image::{
    Config, Digest, DocumentError, IMAGE_BYTES_MAX, Manifest,
    layer::{self, Budget, EntryError, Kind, Step},
};

/// What an image's layers may have.
pub(super) fn budget() -> Budget {
    Budget::new(IMAGE_BYTES_MAX)
}

/// The layers of an image: as they are sent, and as plain tars.
pub(super) fn pairs(
    manifest: &Manifest,
    config: &Config,
) -> Result<Vec<(Digest, Digest)>, ImageError> {
    if manifest.layers.len() != config.diff_ids.len() {
        return Err(DocumentError::Malformed {
            what: "the image",
            why: format!(
                "its manifest has {} layers and its config {}",
                manifest.layers.len(),
                config.diff_ids.len()
            ),
        }
        .into());
    }
    let layers = manifest.layers.iter().map(|layer| layer.digest);
    Ok(layers.zip(config.diff_ids.iter().copied()).collect())
}

/// Unpacks a blob as the layer `diff_id`.
///
/// # Errors
/// It is no layer, not this one, or has in it what must not be; or the disk says no.
pub(super) fn unpack(
    store: &Store,
    blob: &Digest,
    diff_id: &Digest,
    budget: &mut Budget,
) -> Result<(), ImageError> {
    let packed = store.reader(blob)?;
    let plain = decode::plain(packed).map_err(ImageError::Archive)?;
    store.make_layer(diff_id, |layer| {
        let found = meter::each(plain, budget, |entry| make(layer, entry))?;
        match found == *diff_id {
            true => Ok(()),
            false => Err(ImageError::Digest {
                what: "a layer",
                expected: *diff_id,
                found,
            }),
        }
    })
}

/// Makes what an entry says.
fn make<R: Read>(layer: &mut Layer, entry: &mut Entry<'_, R>) -> Result<(), ImageError> {
    let path = entry.path_bytes().into_owned();
    let Some(kind) = kind(entry.header().entry_type(), &path) else {
        return Ok(());
    };
    let target = entry.link_name_bytes().map(|target| target.into_owned());
    let step = layer::step(&path, kind, target.as_deref())?;
    let refused = |why| EntryError::of(&path, why);
    let attributes = attributes(entry).map_err(refused)?;
    match step {
        Step::Folder(path) => layer.folder(at(&path), attributes)?,
        Step::File(path) => {
            layer.file(at(&path), &attributes, entry)?;
        }
        Step::Symlink(path, target) => {
            layer.symlink(at(&path), OsStr::from_bytes(&target), &attributes)?;
        }
        Step::HardLink(path, target) => layer.hard_link(at(&path), at(&target))?,
        Step::Fifo(path) => layer.fifo(at(&path), &attributes)?,
        Step::Whiteout(path) => layer.whiteout(at(&path))?,
        Step::Opaque(path) => layer.opaque(at(&path))?,
        Step::Skip(why) => {
            let path = String::from_utf8_lossy(&path);
            tracing::debug!(%path, why, "an entry of a layer is skipped");
        }
    }
    Ok(())
}

fn at(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

/// What an entry is; none for one that says something of the whole archive.
fn kind(of: EntryType, path: &[u8]) -> Option<Kind> {
    Some(match of {
        EntryType::XGlobalHeader => return None,
        // Tars of before 1988 have no other way to say it.
        EntryType::Regular if path.ends_with(b"/") => Kind::Folder,
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Directory => Kind::Folder,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Link => Kind::HardLink,
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char | EntryType::Block => Kind::Device,
        other => Kind::Other(other.as_byte()),
    })
}

fn attributes<R: Read>(entry: &mut Entry<'_, R>) -> Result<Attributes, &'static str> {
    const OWNER: &str = "its owner is none";
    const RECORDS: &str = "its records can't be read";
    let header = entry.header();
    let mode = header.mode().map_err(|_| "its permissions are none")?;
    let user = layer::owner(header.uid().map_err(|_| OWNER)?);
    let group = layer::owner(header.gid().map_err(|_| OWNER)?);
    // A time that is none is no reason to refuse a file.
    let modified_s = header.mtime().ok().and_then(|it| i64::try_from(it).ok());
    let mut records = Vec::new();
    if let Some(all) = entry.pax_extensions().map_err(|_| RECORDS)? {
        for record in all {
            let record = record.map_err(|_| RECORDS)?;
            records.push((record.key_bytes(), record.value_bytes()));
        }
    }
    let xattrs = layer::xattrs(records)?.into_iter();
    let named = |(name, value)| (OsString::from_vec(name), value);
    Ok(Attributes {
        mode: layer::mode(mode),
        owner: (user.ok_or(OWNER)?, group.ok_or(OWNER)?),
        modified_s: modified_s.unwrap_or(0),
        xattrs: xattrs.map(named).collect(),
    })
}
