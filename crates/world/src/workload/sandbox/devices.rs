//! `/dev` of a sandbox: a file system in memory with the devices that every program may use, and
//! terminals and shared memory of its own (OCI runtime specification, "Default Devices").

use std::{ffi::CStr, io, os::fd::OwnedFd};

use rustix::{
    fs::{AtFlags, FileType, Mode, makedev},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
        fsopen,
    },
};

/// Devices by their numbers.
const DEVICES: [(&CStr, u32, u32); 6] = [
    (c"null", 1, 3),
    (c"zero", 1, 5),
    (c"full", 1, 7),
    (c"random", 1, 8),
    (c"urandom", 1, 9),
    (c"tty", 5, 0),
];
const LINKS: [(&CStr, &CStr); 5] = [
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
    (c"ptmx", c"pts/ptmx"),
];
/// Where something else is mounted.
const FOLDERS: [&CStr; 3] = [c"pts", c"shm", c"mqueue"];
/// `/dev` itself holds no more.
const DEV_BYTES_MAX: &str = "65536k";
/// The group that terminals belong to by long custom.
const TTY_GROUP: &str = "5";

/// What is mounted for devices; nobody sees it yet.
#[derive(Debug)]
pub(super) struct Devices {
    pub(super) dev: OwnedFd,
    pub(super) pts: OwnedFd,
    pub(super) shm: OwnedFd,
}

impl Devices {
    /// Makes them.
    ///
    /// # Errors
    /// What the kernel said.
    pub(super) fn make(shm_bytes_max: u64) -> io::Result<Devices> {
        let dev = mount(
            c"tmpfs",
            &[(c"mode", "755"), (c"size", DEV_BYTES_MAX)],
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC,
        )?;
        let all = Mode::from_raw_mode(0o666);
        for (name, major, minor) in DEVICES {
            let device = makedev(major, minor);
            rustix::fs::mknodat(&dev, name, FileType::CharacterDevice, all, device)?;
            // What the mask took.
            rustix::fs::chmodat(&dev, name, all, AtFlags::empty())?;
        }
        for (name, target) in LINKS {
            rustix::fs::symlinkat(target, &dev, name)?;
        }
        for name in FOLDERS {
            rustix::fs::mkdirat(&dev, name, Mode::from_raw_mode(0o755))?;
        }
        let pts = [
            (c"newinstance", ""),
            (c"ptmxmode", "0666"),
            (c"mode", "0620"),
            (c"gid", TTY_GROUP),
        ];
        let closed = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let shm = [(c"mode", "1777"), (c"size", &*shm_bytes_max.to_string())];
        Ok(Devices {
            dev,
            pts: mount(c"devpts", &pts, closed)?,
            shm: mount(c"tmpfs", &shm, closed | MountAttrFlags::MOUNT_ATTR_NODEV)?,
        })
    }
}

/// A file system that is mounted nowhere yet.
fn mount(
    kind: &CStr,
    options: &[(&CStr, &str)],
    flags: MountAttrFlags,
) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        match value.is_empty() {
            true => rustix::mount::fsconfig_set_flag(&context, *key)?,
            false => fsconfig_set_string(&context, *key, *value)?,
        }
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
}
