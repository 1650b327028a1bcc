//! Network namespaces that a file keeps, and threads that go there.
//!
//! A namespace lives as long as a process is in it or something refers to it: here a file that it
//! is mounted on (network_namespaces(7), `ip netns`). So it outlives this process, and ends with
//! the machine, which leaves the file, empty.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsFd,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::Path,
    thread,
};

use rustix::{
    io::Errno,
    mount::UnmountFlags,
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space},
};

/// The file system of namespaces (`NSFS_MAGIC` of linux/magic.h).
const NSFS_MAGIC: u64 = 0x6e73_6673;
/// That of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";
/// A file has no more namespaces mounted over each other: one, or two if two nodes ran at once.
const MOUNTS_MAX: usize = 8;

/// The namespace that a file keeps, if it does.
pub(super) fn open(file: &Path) -> io::Result<Option<File>> {
    let opened = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let kept_by = rustix::fs::fstatfs(&opened)?;
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_sign_loss,
        reason = "its type is the architecture's"
    )]
    let is_namespace = kept_by.f_type as u64 == NSFS_MAGIC;
    Ok(is_namespace.then_some(opened))
}

/// Makes a namespace that a file keeps, and the file.
pub(super) fn make(file: &Path) -> io::Result<File> {
    make_file(file)?;
    on_thread(|| {
        leave_network()?;
        rustix::mount::mount_bind(OWN, file)?;
        Ok(())
    })?;
    open(file)?.ok_or_else(|| io::Error::other("it is gone"))
}

/// Has a file keep the namespace that a process is in; whether it is another than the calling
/// thread's, and so is kept.
pub(super) fn keep(file: &Path, process: u32) -> io::Result<bool> {
    let theirs = format!("/proc/{process}/ns/net");
    if fs::metadata(&theirs)?.ino() == fs::metadata(OWN)?.ino() {
        return Ok(false);
    }
    make_file(file)?;
    rustix::mount::mount_bind(theirs, file)?;
    Ok(true)
}

/// Makes the file that a namespace can be mounted on.
fn make_file(file: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(file).map(drop)
}

/// Ends what keeps a namespace, and removes the file; fine if it is not there.
pub(super) fn remove(file: &Path) -> io::Result<()> {
    for _ in 0..MOUNTS_MAX {
        match rustix::mount::unmount(file, UnmountFlags::DETACH) {
            Ok(()) => {}
            // It is not there, or nothing is mounted on it.
            Err(Errno::NOENT | Errno::INVAL) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Does something in a namespace, on a thread that ends there.
pub(super) fn within<T: Send>(namespace: &File, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    on_thread(|| {
        let network = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(namespace.as_fd(), network)?;
        Ok(work())
    })
}

/// Does something on a thread of its own.
fn on_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("pod-network".to_owned());
        let done = thread.spawn_scoped(scope, work)?.join();
        done.unwrap_or_else(|_| Err(io::Error::other("the thread for it panicked")))
    })
}

/// Has the calling thread be in a network namespace that nobody else is in.
pub(super) fn leave_network() -> io::Result<()> {
    #[allow(unsafe_code, reason = "it is unsafe for file tables only")]
    // SAFETY: descriptors are not among what is no longer shared.
    let left = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) };
    Ok(left?)
}
