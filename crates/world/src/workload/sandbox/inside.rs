//! The namespaces of a sandbox, for programs that are run beside its first one.

use std::{fs::File, io};

use rustix::{
    io::Errno,
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space},
};
use std::os::fd::AsFd;

/// Namespaces that a new process joins by itself, in this order: with the last one, its root
/// changes.
const JOINED: [(&str, LinkNameSpaceType); 4] = [
    ("net", LinkNameSpaceType::Network),
    ("ipc", LinkNameSpaceType::InterProcessCommunication),
    ("uts", LinkNameSpaceType::HostNameAndNISDomainName),
    ("mnt", LinkNameSpaceType::Mount),
];

/// The namespaces that a process is in. As long as this is there, so are they.
#[derive(Debug)]
pub(in super::super) struct Inside {
    processes: File,
    others: Vec<(File, LinkNameSpaceType)>,
}

impl Inside {
    /// Those of a process; none if it has ended.
    pub(in super::super) fn of(pid: u32) -> Option<Inside> {
        let open = |name: &str| File::open(format!("/proc/{pid}/ns/{name}")).ok();
        let others = JOINED.iter().map(|(name, kind)| Some((open(name)?, *kind)));
        Some(Inside {
            processes: open("pid")?,
            others: others.collect::<Option<_>>()?,
        })
    }

    /// Has the calling process join them. Asks for no memory.
    pub(in super::super) fn join(&self) -> Result<(), Errno> {
        self.others
            .iter()
            .try_for_each(|(file, kind)| move_into_link_name_space(file.as_fd(), Some(*kind)))
    }
}

/// While it is there, processes that this thread starts are in another process namespace than it
/// is. The thread can start no threads meanwhile.
#[derive(Debug)]
pub(in super::super) struct Apart(File);

impl Apart {
    /// The next one is the first process of a new namespace.
    ///
    /// # Errors
    /// What the kernel said.
    pub(in super::super) fn anew() -> io::Result<Apart> {
        let own = File::open("/proc/thread-self/ns/pid")?;
        #[allow(unsafe_code, reason = "it is unsafe for file tables only")]
        // SAFETY: the flag is about processes that are started later, and not about descriptors.
        unsafe {
            rustix::thread::unshare_unsafe(UnshareFlags::NEWPID)?;
        }
        Ok(Apart(own))
    }

    /// The next ones are in the one of a sandbox.
    ///
    /// # Errors
    /// What the kernel said: its first program has ended.
    pub(in super::super) fn beside(inside: &Inside) -> io::Result<Apart> {
        let own = File::open("/proc/thread-self/ns/pid")?;
        let kind = Some(LinkNameSpaceType::ProcessID);
        move_into_link_name_space(inside.processes.as_fd(), kind)?;
        Ok(Apart(own))
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // The way back to one's own is always open.
        let _ = move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::ProcessID));
    }
}
