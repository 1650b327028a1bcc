//! Names in an open folder: what is there, and what is made and removed. Nothing is followed.

use std::{
    ffi::{OsStr, OsString},
    os::{fd::OwnedFd, unix::ffi::OsStringExt as _},
    path::Path,
};

use rustix::{
    fs::{self, AtFlags, Dir, FileType, Mode, XattrFlags},
    io::Errno,
};

use super::{FOLDER, LayerError, OPAQUE, OWN_MODE, failed};

/// What is at a name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lies {
    Nothing,
    Folder,
    Symlink,
    Whiteout,
    Other,
}

pub(super) fn lies(at: &OwnedFd, name: &OsStr, path: &Path) -> Result<Lies, LayerError> {
    let found = match fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(Lies::Nothing),
        Err(error) => return Err(failed("look at", path)(error)),
    };
    Ok(match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => Lies::Folder,
        FileType::Symlink => Lies::Symlink,
        FileType::CharacterDevice if found.st_rdev == 0 => Lies::Whiteout,
        _ => Lies::Other,
    })
}

pub(super) fn mkdir(at: &OwnedFd, name: &OsStr, path: &Path) -> Result<(), LayerError> {
    fs::mkdirat(at, name, OWN_MODE).map_err(failed("make", path))
}

pub(super) fn unlink(at: &OwnedFd, name: &OsStr, path: &Path) -> Result<(), LayerError> {
    fs::unlinkat(at, name, AtFlags::empty()).map_err(failed("remove", path))
}

pub(super) fn remove_folder(at: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    let folder = match fs::openat(at, name, FOLDER, Mode::empty()) {
        Err(Errno::ACCESS) => {
            fs::chmodat(at, name, OWN_MODE, AtFlags::empty())?;
            fs::openat(at, name, FOLDER, Mode::empty())?
        }
        opened => opened?,
    };
    fs::fchmod(&folder, OWN_MODE)?;
    for name in names(&folder)? {
        match fs::unlinkat(&folder, &name, AtFlags::empty()) {
            // Folders are not removed so; Linux says the first, POSIX the second.
            Err(Errno::ISDIR | Errno::PERM) => remove_folder(&folder, &name)?,
            removed => removed?,
        }
    }
    fs::unlinkat(at, name, AtFlags::REMOVEDIR)
}

fn names(folder: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
}

pub(super) fn make_opaque(folder: &OwnedFd, path: &Path) -> Result<(), LayerError> {
    let [trusted, own] = OPAQUE;
    let made = match fs::fsetxattr(folder, trusted, b"y", XattrFlags::empty()) {
        Err(Errno::PERM) => fs::fsetxattr(folder, own, b"y", XattrFlags::empty()),
        made => made,
    };
    made.map_err(failed("set an attribute of", path))
}
