//! Entries of a layer's tar, turned into what is made on disk (OCI Image Layer Filesystem
//! Changeset; Linux's overlayfs for what whiteouts become).
//!
//! A layer is unpacked on its own, without those below it. What it removes from them is kept as
//! overlayfs has it: a [whiteout](Step::Whiteout) in place of a file, an
//! [opaque](Step::Opaque) folder in place of a folder's content. An entry is:
//! - *refused*, and its layer with it, if it names a place outside: a `..` in its path or in the
//!   target of a hard link, a whiteout of `.` or `..`. An absolute path is one from the image's
//!   root, as other runtimes have it. Symbolic links may say anything; nobody follows them here.
//! - *skipped*, if it is a device: `/dev` is made by who runs a container, and a device in an
//!   image would be a way to the machine's own. Old images have a `/dev/console`, so that to
//!   refuse them would help nobody. A device 0/0 is skipped, too: it would be a whiteout that the
//!   format does not know. So are entries that AUFS keeps for itself.

use super::ENTRIES_MAX;

/// A path, and the text of a link, has less than so many bytes (Linux's `PATH_MAX`).
pub const PATH_BYTES_MAX: usize = 4_096;
/// A part of a path has at most so many bytes (Linux's `NAME_MAX`).
pub const NAME_BYTES_MAX: usize = 255;
/// A path has at most so many parts. Folders are removed one in the other.
pub const DEPTH_MAX: usize = 256;
/// An entry has at most so many extended attributes that are kept.
pub const XATTRS_MAX: usize = 64;
/// The name of an extended attribute has at most so many bytes (Linux's `XATTR_NAME_MAX`).
const XATTR_NAME_BYTES_MAX: usize = 255;
/// The extended attributes of an entry have at most so many bytes.
pub const XATTRS_BYTES_MAX: usize = 64 << 10;
/// Permissions, and the bits that run a program as its owner.
const MODE: u32 = 0o7777;

/// What comes before the name of an extended attribute in a pax record.
const XATTR: &[u8] = b"SCHILY.xattr.";
/// How the records of a file with holes begin. Writers of images don't make them, and their sizes
/// would have to be believed.
const SPARSE: &[u8] = b"GNU.sparse.";
/// What comes before the name of a file that is removed.
const WHITEOUT: &[u8] = b".wh.";
/// A folder with it in it has nothing of the layers below.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What AUFS keeps for itself.
const AUFS: &[u8] = b".wh..wh.";

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file with content.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// Another name of a file.
    HardLink,
    /// A named pipe.
    Fifo,
    /// A character or block device.
    Device,
    /// Anything else that tar knows, by its type's byte.
    Other(u8),
}

/// What is to be done for an entry. Paths are relative, without `.` and `..`; an empty one is
/// the layer's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make a folder, or give one its attributes.
    Folder(Vec<u8>),
    /// Write a file.
    File(Vec<u8>),
    /// Make a symbolic link with this text.
    Symlink(Vec<u8>, Vec<u8>),
    /// Give the file at the second path another name.
    HardLink(Vec<u8>, Vec<u8>),
    /// Make a named pipe.
    Fifo(Vec<u8>),
    /// Hide what layers below have at the path.
    Whiteout(Vec<u8>),
    /// Hide all that layers below have in the folder.
    Opaque(Vec<u8>),
    /// Do nothing; why, in words.
    Skip(&'static str),
}

/// Why a layer is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the entry {path:?} of a layer is refused: {why}")]
pub struct EntryError {
    /// Its path, as far as it is text.
    pub path: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl EntryError {
    /// Of the entry with this path.
    pub fn of(path: &[u8], why: &'static str) -> EntryError {
        let shown = &path[..path.len().min(PATH_BYTES_MAX)];
        EntryError {
            path: String::from_utf8_lossy(shown).into_owned(),
            why,
        }
    }
}

/// What is to be done for an entry with this path, and this target if it is a link.
///
/// # Errors
/// The entry must not be: its layer is to be refused.
pub fn step(path: &[u8], kind: Kind, target: Option<&[u8]>) -> Result<Step, EntryError> {
    let refused = |why| EntryError::of(path, why);
    let parts = parts(path).map_err(refused)?;
    let Some((name, folder)) = parts.split_last() else {
        return match kind {
            Kind::Folder => Ok(Step::Folder(Vec::new())),
            _ => Err(refused("it stands for the root and is no folder")),
        };
    };
    if parts
        .iter()
        .any(|part| part.starts_with(AUFS) && *part != OPAQUE)
    {
        return Ok(Step::Skip("AUFS kept it for itself"));
    }
    if folder.iter().any(|part| part.starts_with(WHITEOUT)) {
        return Err(refused("it is inside of what stands for nothing"));
    }
    if *name == OPAQUE {
        return Ok(Step::Opaque(folder.join(&b'/')));
    }
    if let Some(hidden) = name.strip_prefix(WHITEOUT) {
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(refused("it removes no file"));
        }
        return Ok(Step::Whiteout([folder, &[hidden]].concat().join(&b'/')));
    }
    let path = parts.join(&b'/');
    let target = target.unwrap_or_default();
    match kind {
        Kind::Folder => Ok(Step::Folder(path)),
        Kind::File => Ok(Step::File(path)),
        Kind::Fifo => Ok(Step::Fifo(path)),
        Kind::Symlink => {
            text(target).map_err(refused)?;
            Ok(Step::Symlink(path, target.to_vec()))
        }
        Kind::HardLink => {
            let target = self::parts(target).map_err(|_| refused("its target is outside"))?;
            match target.is_empty() {
                true => Err(refused("it is a hard link to the root")),
                false => Ok(Step::HardLink(path, target.join(&b'/'))),
            }
        }
        Kind::Device => Ok(Step::Skip("devices are made by who runs a container")),
        Kind::Other(_) => Err(refused("its type is not known")),
    }
}

/// The parts of a path from the root of an image.
fn parts(path: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    if path.is_empty() {
        return Err("it has no name");
    }
    if path.len() >= PATH_BYTES_MAX {
        return Err("its path is too long");
    }
    if path.contains(&0) {
        return Err("its path has a zero byte");
    }
    let is_part = |part: &&[u8]| !matches!(*part, b"" | b".");
    let parts: Vec<_> = path.split(|byte| *byte == b'/').filter(is_part).collect();
    if parts.iter().any(|part| *part == b"..") {
        return Err("its path has a .. in it");
    }
    if parts.len() > DEPTH_MAX {
        return Err("its path has too many parts");
    }
    match parts.iter().any(|part| part.len() > NAME_BYTES_MAX) {
        true => Err("a part of its path is too long"),
        false => Ok(parts),
    }
}

/// Whether a symbolic link can have this text.
fn text(target: &[u8]) -> Result<(), &'static str> {
    match target {
        [] => Err("it is a link to nothing"),
        _ if target.len() >= PATH_BYTES_MAX => Err("its target is too long"),
        _ if target.contains(&0) => Err("its target has a zero byte"),
        _ => Ok(()),
    }
}

/// The permissions of an entry: those bits that are any; one that runs a program as its owner
/// stays.
pub fn mode(told: u32) -> u32 {
    told & MODE
}

/// An owner as Linux can have it; the last number means "leave it".
pub fn owner(told: u64) -> Option<u32> {
    u32::try_from(told).ok().filter(|id| *id != u32::MAX)
}

/// Names of extended attributes, and their values.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// The extended attributes of an entry that are kept, by their names, from its records in the
/// pax format.
///
/// # Errors
/// There are more of them than a file may have, or the records say something that is not done.
pub fn xattrs<'a>(
    records: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<Xattrs, &'static str> {
    let mut kept = Vec::new();
    let mut bytes = 0;
    for (key, value) in records {
        if key.starts_with(SPARSE) {
            return Err("it has holes");
        }
        let Some(name) = key.strip_prefix(XATTR).filter(|name| keeps_xattr(name)) else {
            continue;
        };
        bytes += name.len() + value.len();
        if kept.len() == XATTRS_MAX || bytes > XATTRS_BYTES_MAX {
            return Err("it has too many extended attributes");
        }
        kept.push((name.to_vec(), value.to_vec()));
    }
    Ok(kept)
}

/// Whether an extended attribute is kept: users' own, and the capabilities of a program. Others
/// are the machine's or the file system's affair, and those of overlayfs would let a layer say
/// what is shown of others.
fn keeps_xattr(name: &[u8]) -> bool {
    let is_own = name
        .strip_prefix(b"user.")
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(b"overlay."));
    (is_own || name == b"security.capability")
        && name.len() <= XATTR_NAME_BYTES_MAX
        && !name.contains(&0)
}

/// Counts what is unpacked of an image, against what may be.
#[derive(Clone, Debug)]
pub struct Budget {
    bytes_left: u64,
    entries_left: u64,
}

/// There is more than may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// Of bytes.
    #[error("its layers have more bytes than an image may have")]
    Bytes,
    /// Of entries.
    #[error("a layer has more entries than {ENTRIES_MAX}")]
    Entries,
}

impl Budget {
    /// For an image whose layers may have so many bytes together.
    pub fn new(bytes_max: u64) -> Budget {
        Budget {
            bytes_left: bytes_max,
            entries_left: ENTRIES_MAX,
        }
    }

    /// A layer begins.
    pub fn begin_layer(&mut self) {
        self.entries_left = ENTRIES_MAX;
    }

    /// Takes an entry.
    ///
    /// # Errors
    /// It is one too many.
    pub fn take_entry(&mut self) -> Result<(), TooMuch> {
        let left = self.entries_left.checked_sub(1);
        self.entries_left = left.ok_or(TooMuch::Entries)?;
        Ok(())
    }

    /// Takes so many bytes of a tar.
    ///
    /// # Errors
    /// There are not so many left.
    pub fn take_bytes(&mut self, bytes: u64) -> Result<(), TooMuch> {
        let left = self.bytes_left.checked_sub(bytes);
        self.bytes_left = left.ok_or(TooMuch::Bytes)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
