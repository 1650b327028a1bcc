//! What a sandbox sees of the machine: parts of its file systems, cloned as mounts that nobody
//! sees until the new process puts them in their places.

use std::{
    ffi::{CStr, CString},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
    mount::{MountAttrFlags, MoveMountFlags, OpenTreeFlags},
};

use super::MountSpec;

/// Folders that are made on the way to a place.
const FOLDER_MODE: Mode = Mode::RWXU
    .union(Mode::RGRP)
    .union(Mode::XGRP)
    .union(Mode::ROTH)
    .union(Mode::XOTH);
const FILE_MODE: Mode = Mode::RUSR
    .union(Mode::WUSR)
    .union(Mode::RGRP)
    .union(Mode::ROTH);
/// Sets of a mount's attributes are as long, in bytes (`MOUNT_ATTR_SIZE_VER0`).
const ATTRIBUTES_BYTES: usize = size_of::<Attributes>();

/// A place inside with the folders that lead to it, as the kernel takes them.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: CString,
    above: Vec<CString>,
}

impl Place {
    /// A place by its whole path.
    ///
    /// # Errors
    /// It leads up, or holds what no path can.
    pub(super) fn new(path: &Path) -> Result<Place, String> {
        let refuse = || format!("{} can't be a place in a sandbox", path.display());
        let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
        if !path.is_absolute() || !path.components().all(plain) {
            return Err(refuse());
        }
        let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(|_| refuse());
        let mut above = path
            .ancestors()
            .skip(1)
            .map(text)
            .collect::<Result<Vec<_>, _>>()?;
        above.pop();
        above.reverse();
        Ok(Place {
            path: text(path)?,
            above,
        })
    }

    /// Makes the folders that lead to it, as far as they are not there. Asks for no memory.
    pub(super) fn make_above(&self) -> Result<(), Errno> {
        let mut above = self.above.iter().map(CString::as_c_str);
        above.try_for_each(make_folder)
    }

    /// Makes it a folder, if it is nothing yet. Asks for no memory.
    pub(super) fn make(&self) -> Result<(), Errno> {
        self.make_above()?;
        make_folder(&self.path)
    }
}

/// Makes a folder, if nothing is there. Asks for no memory.
pub(super) fn make_folder(path: &CStr) -> Result<(), Errno> {
    match rustix::fs::mkdir(path, FOLDER_MODE) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Something to be mounted.
#[derive(Debug)]
pub(super) struct Volume {
    tree: OwnedFd,
    is_folder: bool,
    target: Place,
}

impl Volume {
    /// Clones what is there. The clone goes its own way: what is mounted below it later, on
    /// either side, is not seen on the other.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn open(spec: &MountSpec) -> Result<Volume, String> {
        let target = Place::new(&spec.target)?;
        let opened = open(spec).and_then(|(source, is_folder)| {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_EMPTY_PATH
                | OpenTreeFlags::AT_RECURSIVE;
            let tree = rustix::mount::open_tree(&source, c"", flags)?;
            set_apart(tree.as_fd(), spec.read_only)?;
            Ok((tree, is_folder))
        });
        let (tree, is_folder) = opened.map_err(|error| {
            let (source, sub_path) = (spec.source.display(), spec.sub_path.as_deref());
            let at = sub_path.map_or(String::new(), |path| format!(", {}", path.display()));
            format!("{source}{at} can't be mounted: {error}")
        })?;
        Ok(Volume {
            tree,
            is_folder,
            target,
        })
    }

    /// Puts it in its place below the present root. Asks for no memory.
    pub(super) fn attach(&self) -> Result<(), Errno> {
        self.target.make_above()?;
        match self.is_folder {
            true => make_folder(&self.target.path)?,
            false => {
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
                match rustix::fs::open(self.target.path.as_c_str(), flags, FILE_MODE) {
                    // What is there and can't be opened can be mounted over.
                    Ok(_) | Err(Errno::EXIST | Errno::ISDIR | Errno::NXIO | Errno::ROFS) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        attach(self.tree.as_fd(), &self.target.path)
    }
}

/// Puts a mount that nobody sees in a place, through links if need be, which lead nowhere but
/// below the present root.
pub(super) fn attach(tree: BorrowedFd<'_>, at: &CStr) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    rustix::mount::move_mount(tree, c"", CWD, at, flags)
}

/// Opens what is to be mounted, and says whether it is a folder.
fn open(spec: &MountSpec) -> io::Result<(OwnedFd, bool)> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let mut source = rustix::fs::open(&spec.source, flags, Mode::empty())?;
    if let Some(sub_path) = &spec.sub_path {
        source = below(source, sub_path)?;
    }
    let found = rustix::fs::fstat(&source)?;
    let is_folder = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
    Ok((source, is_folder))
}

/// A place below a folder that others write to: no link in it leads out.
fn below(folder: OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut at = folder;
    for part in path.components() {
        let Component::Normal(name) = part else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let open = |at: &OwnedFd| rustix::fs::openat2(at, name, flags, Mode::empty(), inside);
        at = match open(&at) {
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&at, name, Mode::RWXU | Mode::RWXG | Mode::RWXO)?;
                open(&at)?
            }
            opened => opened?,
        };
    }
    Ok(at)
}

/// As mount_setattr(2) takes them.
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Makes a mount and all below it its own, and read-only if that is wanted.
fn set_apart(tree: BorrowedFd<'_>, is_read_only: bool) -> io::Result<()> {
    let set = if is_read_only {
        MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into()
    } else {
        0
    };
    let attributes = Attributes {
        set,
        clear: 0,
        propagation: libc::MS_PRIVATE,
        user_namespace: 0,
    };
    let flags = AtFlags::EMPTY_PATH.bits() | OpenTreeFlags::AT_RECURSIVE.bits();
    #[allow(unsafe_code, reason = "there is no safe call for it")]
    // SAFETY: the path is an empty text and the attributes are a structure of the length that is
    // told; the kernel reads both and keeps neither.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            ATTRIBUTES_BYTES,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
