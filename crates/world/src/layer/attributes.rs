//! What files of a layer have beside their content.

use std::{
    ffi::{OsStr, OsString},
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{self, AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags},
    io::Errno,
};

use super::{LayerError, failed};

/// Folders that an archive implies and does not mention have it.
const IMPLIED_MODE: u32 = 0o755;

/// What a file has beside its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permissions, with the bits that run a program as its owner.
    pub mode: u32,
    /// Its owner and its group. Kept only by root: nobody else can give files away.
    pub owner: (u32, u32),
    /// When it was changed, in seconds since the epoch.
    pub modified_s: i64,
    /// Extended attributes, names and values. What the file system or the lack of a privilege
    /// does not let it have is left out.
    pub xattrs: Vec<(OsString, Vec<u8>)>,
}

impl Attributes {
    /// Those of a folder that an archive implies and does not mention.
    pub(super) fn implied() -> Attributes {
        Attributes {
            mode: IMPLIED_MODE,
            ..Attributes::default()
        }
    }

    /// Gives what is open its attributes. The owner comes first: a change of it takes away the
    /// bits that run a program as its owner, and its capabilities.
    pub(super) fn apply(&self, file: BorrowedFd<'_>, path: &Path) -> Result<(), LayerError> {
        if gives_away() {
            let (user, group) = self.ids();
            fs::fchown(file, user, group).map_err(failed("give away", path))?;
        }
        let mode = Mode::from_raw_mode(self.mode);
        fs::fchmod(file, mode).map_err(failed("set the mode of", path))?;
        for (name, value) in &self.xattrs {
            match fs::fsetxattr(file, name.as_os_str(), value, XattrFlags::empty()) {
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(error) => return Err(failed("set an attribute of", path)(error)),
            }
        }
        let timed = fs::futimens(file, &self.times());
        timed.map_err(failed("set the time of", path))
    }

    /// Gives a link or a pipe, which can't be opened, what it can have.
    pub(super) fn apply_to_name(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        path: &Path,
    ) -> Result<(), LayerError> {
        let itself = AtFlags::SYMLINK_NOFOLLOW;
        if gives_away() {
            let (user, group) = self.ids();
            let given = fs::chownat(parent, name, user, group, itself);
            given.map_err(failed("give away", path))?;
        }
        let timed = fs::utimensat(parent, name, &self.times(), itself);
        timed.map_err(failed("set the time of", path))
    }

    fn ids(&self) -> (Option<Uid>, Option<Gid>) {
        let (user, group) = self.owner;
        // The highest number means "leave it".
        let is_one = |id: &u32| *id != u32::MAX;
        let user = Some(user).filter(is_one).map(Uid::from_raw);
        (user, Some(group).filter(is_one).map(Gid::from_raw))
    }

    fn times(&self) -> Timestamps {
        let time = Timespec {
            tv_sec: self.modified_s,
            tv_nsec: 0,
        };
        Timestamps {
            last_access: time,
            last_modification: time,
        }
    }
}

/// Whether this program can give files to other users.
fn gives_away() -> bool {
    rustix::process::geteuid().is_root()
}
