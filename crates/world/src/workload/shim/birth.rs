//! How a shim begins: it leaves everything of the node behind but the lock, and hears of the ends
//! of its children.

use std::{
    fs,
    io::{self, PipeReader, PipeWriter, Read},
    os::unix::fs::MetadataExt,
    path::Path,
    sync::OnceLock,
};

use rustix::{
    fs::{FlockOperation, OFlags},
    process::Pid,
};

use crate::workload::{WorkloadError, state};

/// Whatever the node had open beside the three that are given: its sockets would stay open for
/// as long as the program runs.
pub(super) fn close_inherited() {
    let entries = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let open: Vec<i32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        #[allow(unsafe_code, reason = "there is no handle to what was inherited")]
        // SAFETY: this process has opened nothing yet, so no part of it relies on any of these.
        // (One was that of the listing itself, and is closed already.)
        unsafe {
            libc::close(fd);
        }
    }
}

/// The lock was taken by who started us, and is ours as long as our input is open.
pub(super) fn hold_lock(dir: &Path) -> Result<(), WorkloadError> {
    let refuse = || {
        let message = "a shim is started by its node only, with the workload's lock as its input";
        WorkloadError::Shim(message.to_owned())
    };
    let input = std::io::stdin();
    let given = rustix::fs::fstat(&input).map_err(|_| refuse())?;
    let lock = fs::metadata(dir.join(state::LOCK)).map_err(|_| refuse())?;
    if (given.st_dev, given.st_ino) != (lock.dev(), lock.ino()) {
        return Err(refuse());
    }
    rustix::fs::flock(&input, FlockOperation::NonBlockingLockExclusive).map_err(|_| refuse())
}

/// Leaves the node's session, its directory, and the reach of signals meant for it.
pub(super) fn detach() -> Result<(), WorkloadError> {
    // It fails where we lead a session already.
    let _ = rustix::process::setsid();
    let _ = rustix::process::chdir("/");
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        #[allow(unsafe_code, reason = "there is no safe call for it without a runtime")]
        // SAFETY: the handler does nothing at all. As it is a handler, and the signal not
        // ignored, it does not pass on to the program through exec.
        unsafe {
            libc::signal(
                signal,
                pass as extern "C" fn(libc::c_int) as libc::sighandler_t,
            );
        }
    }
    rustix::process::set_child_subreaper(Pid::from_raw(1))
        .map_err(|errno| WorkloadError::Shim(format!("it can't be a subreaper: {errno}")))
}

/// When the machine is shut down, all processes are asked to end. The program decides for
/// itself; we have to see it.
extern "C" fn pass(_signal: libc::c_int) {}

/// Where the handler of SIGCHLD writes to.
static WAKE: OnceLock<PipeWriter> = OnceLock::new();

/// Can be read from when a child has ended since it was read last.
#[derive(Debug)]
pub(super) struct Wake(PipeReader);

impl Wake {
    pub(super) fn new() -> io::Result<Wake> {
        let (reader, writer) = io::pipe()?;
        rustix::fs::fcntl_setfl(&reader, OFlags::NONBLOCK)?;
        rustix::fs::fcntl_setfl(&writer, OFlags::NONBLOCK)?;
        WAKE.set(writer)
            .map_err(|_| io::Error::from(io::ErrorKind::AlreadyExists))?;
        #[allow(unsafe_code, reason = "there is no safe call for it without a runtime")]
        // SAFETY: the handler reads what was set before, and makes one call of the kernel that
        // never waits.
        unsafe {
            libc::signal(
                libc::SIGCHLD,
                wake as extern "C" fn(libc::c_int) as libc::sighandler_t,
            );
        }
        Ok(Wake(reader))
    }

    pub(super) fn pipe(&self) -> &PipeReader {
        &self.0
    }

    /// Before the children are looked at, so that none ends unseen.
    pub(super) fn clear(&mut self) {
        let mut bytes = [0; 64];
        while self.0.read(&mut bytes).is_ok_and(|taken| taken > 0) {}
    }
}

extern "C" fn wake(_signal: libc::c_int) {
    if let Some(pipe) = WAKE.get() {
        // One that is full wakes as well.
        let _ = rustix::io::write(pipe, &[0]);
    }
}
