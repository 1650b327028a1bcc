//! Layers of images as folders: unpacked from what strangers wrote, followed nowhere.
//!
//! An archive may make a symbolic link and then write through it, so that a path which looks
//! harmless leads to `/etc`. No call here takes a path that the system would follow: each part is
//! opened in the folder before it, never through a link (`O_NOFOLLOW`), beginning at the layer's
//! own root. `openat2` with `RESOLVE_BENEATH` would do the same in one call, but is missing from
//! older kernels and forbidden by some containers' filters, and missing parents are to be made on
//! the way anyhow. Invariants:
//! - nothing outside of the layer's folder is made, changed or removed, whatever the calls say;
//! - a folder gets its attributes in the end, so that what is inside neither needs its permission
//!   nor changes its time;
//! - a layer has its name only once all of it is on the disk.
//!
//! What a layer hides of those below is kept as overlayfs has it: a character device 0/0 stands
//! for a removed file, an attribute for a folder of which nothing below is seen (Linux,
//! `Documentation/filesystems/overlayfs.rst`). Without the privilege for `trusted.` attributes it
//! is `user.overlay.opaque`, and such layers are to be mounted with `userxattr`; the kernel lets
//! everybody make a device 0/0 (since 5.8). Calls block.

#![allow(
    clippy::disallowed_methods,
    reason = "files of real containers, which no simulation has"
)]

mod at;
mod attributes;
#[cfg(test)]
mod tests;
mod walk;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{self, AtFlags, CWD, FileType, Mode, OFlags},
    io::Errno,
};

pub use self::attributes::Attributes;
use self::{
    at::{Lies, lies, make_opaque, mkdir, remove_folder, unlink},
    walk::is_root,
};

/// Content is copied in such pieces.
const PIECE_BYTES: usize = 128 << 10;
/// A folder that only its owner can use: how each is made, until it gets its attributes.
const OWN_MODE: Mode = Mode::RWXU;
/// Says that nothing below is seen; the second where the first is not permitted.
const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];
const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Why a layer could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The operating system said no.
    #[error("cannot {operation} {}: {source}", path.display())]
    System {
        /// What was tried, a verb.
        operation: &'static str,
        /// The path in the layer, or the layer's own.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// It can't be, since of what is there already.
    #[error("{} can't be in a layer: {why}", path.display())]
    Refused {
        /// The path in the layer.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// The archive could not be read on.
    #[error("{0}")]
    Content(#[source] io::Error),
}

/// A layer that is being unpacked.
#[derive(Debug)]
pub struct Layer {
    path: PathBuf,
    root: OwnedFd,
    /// What folders are to have in the end.
    folders: BTreeMap<PathBuf, Attributes>,
    piece: Vec<u8>,
}

impl Layer {
    /// Begins a layer in a folder that is not there yet.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn make(path: &Path) -> Result<Layer, LayerError> {
        fs::mkdirat(CWD, path, OWN_MODE).map_err(failed("make", path))?;
        let root = fs::openat(CWD, path, FOLDER, Mode::empty()).map_err(failed("open", path))?;
        let folders = BTreeMap::from([(PathBuf::new(), Attributes::implied())]);
        Ok(Layer {
            path: path.to_path_buf(),
            root,
            folders,
            piece: vec![0; PIECE_BYTES],
        })
    }

    /// A folder; one that is there gets these attributes. Empty: the layer's root.
    ///
    /// # Errors
    /// What the operating system said, or what is in the way.
    pub fn folder(&mut self, path: &Path, attributes: Attributes) -> Result<(), LayerError> {
        if let Some((parent, name)) = self.parent(path)? {
            match lies(&parent, name, path)? {
                Lies::Folder => {}
                Lies::Nothing => mkdir(&parent, name, path)?,
                Lies::Whiteout => self.uncover(&parent, name, path)?,
                Lies::Symlink | Lies::Other => {
                    unlink(&parent, name, path)?;
                    mkdir(&parent, name, path)?;
                }
            }
        }
        self.folders.insert(path.to_path_buf(), attributes);
        Ok(())
    }

    /// A file, in place of what is there. Returns how many bytes it has.
    ///
    /// # Errors
    /// What the operating system said, what is in the way, or why there is no more content.
    pub fn file(
        &mut self,
        path: &Path,
        attributes: &Attributes,
        content: &mut dyn Read,
    ) -> Result<u64, LayerError> {
        let (parent, name) = self.cleared(path)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(&parent, name, flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(file.map_err(failed("make", path))?);
        let mut bytes = 0;
        loop {
            let read = match content.read(&mut self.piece) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(LayerError::Content(error)),
            };
            let written = file.write_all(&self.piece[..read]);
            written.map_err(|source| system("write", path, source))?;
            bytes += read as u64;
        }
        attributes.apply(file.as_fd(), path)?;
        Ok(bytes)
    }

    /// A symbolic link, in place of what is there. It may say anything.
    ///
    /// # Errors
    /// What the operating system said, or what is in the way.
    pub fn symlink(
        &mut self,
        path: &Path,
        target: &OsStr,
        attributes: &Attributes,
    ) -> Result<(), LayerError> {
        let (parent, name) = self.cleared(path)?;
        fs::symlinkat(target, &parent, name).map_err(failed("make", path))?;
        attributes.apply_to_name(&parent, name, path)
    }

    /// Another name of a file of this layer, in place of what is there.
    ///
    /// # Errors
    /// There is no such file, or what the operating system said, or what is in the way.
    pub fn hard_link(&mut self, path: &Path, target: &Path) -> Result<(), LayerError> {
        let gone = |why| LayerError::Refused {
            path: path.to_path_buf(),
            why,
        };
        let Some((from, file)) = self.existing_parent(target)? else {
            return Err(gone("the file that it is linked to is not there"));
        };
        match lies(&from, file, target)? {
            Lies::Symlink | Lies::Other => {}
            Lies::Folder => return Err(gone("it is linked to a folder")),
            Lies::Nothing | Lies::Whiteout => {
                return Err(gone("the file that it is linked to is not there"));
            }
        }
        if path == target {
            return Ok(());
        }
        let (parent, name) = self.cleared(path)?;
        let linked = fs::linkat(&from, file, &parent, name, AtFlags::empty());
        linked.map_err(failed("link", path))
    }

    /// A named pipe, in place of what is there.
    ///
    /// # Errors
    /// What the operating system said, or what is in the way.
    pub fn fifo(&mut self, path: &Path, attributes: &Attributes) -> Result<(), LayerError> {
        let (parent, name) = self.cleared(path)?;
        let mode = Mode::from_raw_mode(attributes.mode);
        let made = fs::mknodat(&parent, name, FileType::Fifo, mode, 0);
        made.map_err(failed("make", path))?;
        // What this process's mask took.
        let set = fs::chmodat(&parent, name, mode, AtFlags::empty());
        set.map_err(failed("set the mode of", path))?;
        attributes.apply_to_name(&parent, name, path)
    }

    /// Hides what layers below have at a path. What this layer itself has there stays.
    ///
    /// # Errors
    /// What the operating system said, or what is in the way.
    pub fn whiteout(&mut self, path: &Path) -> Result<(), LayerError> {
        let (parent, name) = self.parent(path)?.ok_or_else(|| is_root(path))?;
        match lies(&parent, name, path)? {
            Lies::Nothing => {
                let device = FileType::CharacterDevice;
                let made = fs::mknodat(&parent, name, device, Mode::empty(), 0);
                made.map_err(failed("make", path))
            }
            Lies::Folder => self.opaque(path),
            Lies::Symlink | Lies::Whiteout | Lies::Other => Ok(()),
        }
    }

    /// Hides all that layers below have in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// What the operating system said, or what is in the way.
    pub fn opaque(&mut self, path: &Path) -> Result<(), LayerError> {
        let folder = self.walk(path)?;
        make_opaque(&folder, path)
    }

    /// Gives folders their attributes, writes all of it to the disk, and then gives the layer
    /// its name.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn finish(mut self, to: &Path) -> Result<(), LayerError> {
        // What is inside comes first: afterwards it may be out of reach.
        let folders = std::mem::take(&mut self.folders);
        for (path, attributes) in folders.into_iter().rev() {
            if let Some(folder) = self.existing(&path)? {
                attributes.apply(folder.as_fd(), &path)?;
            }
        }
        fs::syncfs(&self.root).map_err(failed("sync", &self.path))?;
        fs::rename(&self.path, to).map_err(failed("rename", &self.path))?;
        let above = to.parent().unwrap_or(Path::new("."));
        let above_folder = fs::openat(CWD, above, FOLDER, Mode::empty());
        let synced = above_folder.and_then(fs::fsync);
        synced.map_err(failed("sync", above))
    }
}

/// Removes a folder with all that is in it, whatever its folders permit; links are removed, not
/// followed. No error if it is not there.
///
/// # Errors
/// What the operating system said.
pub fn remove(path: &Path) -> Result<(), LayerError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(is_root(path));
    };
    let parent = match fs::openat(CWD, parent, FOLDER, Mode::empty()) {
        Ok(parent) => parent,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(failed("open", parent)(error)),
    };
    match lies(&parent, name, path)? {
        Lies::Nothing => Ok(()),
        Lies::Folder => remove_folder(&parent, name).map_err(failed("remove", path)),
        _ => unlink(&parent, name, path),
    }
}

/// Whether a layer hides all that is below it. Overlayfs does not look for that at the root of a
/// layer: what is below has to be left out.
pub fn is_opaque(path: &Path) -> bool {
    let mut value = [0; 2];
    let mut says_so = |name| {
        let read = fs::lgetxattr(path, name, &mut value);
        read == Ok(1) && value[0] == b'y'
    };
    OPAQUE.into_iter().any(&mut says_so)
}

/// A file that is read from its beginning to its end.
///
/// # Errors
/// What the operating system said.
pub fn open(path: &Path) -> Result<Box<dyn Read + Send>, LayerError> {
    let file = File::open(path).map_err(|source| system("open", path, source))?;
    Ok(Box::new(file))
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(Errno) -> LayerError {
    let path = path.to_path_buf();
    move |source| LayerError::System {
        operation,
        path,
        source: source.into(),
    }
}

fn system(operation: &'static str, path: &Path, source: io::Error) -> LayerError {
    LayerError::System {
        operation,
        path: path.to_path_buf(),
        source,
    }
}
