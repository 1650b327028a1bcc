//! What passes over a shim's socket: packets, some with descriptors.
//!
//! The socket `shim.sock` (unix(7), `SOCK_SEQPACKET`) lies in the workload's directory; its
//! requests carry the key of the shim, which only who can read that directory knows. A packet is
//! the version of this format, one byte, and a JSON value. Data is not copied through it: the two
//! sides hand each other the ends of pipes and terminals.
//!
//! | from | packet | with |
//! |---|---|---|
//! | node | [`Request`], first of all | for [`Ask::Exec`] what the new program gets: its input, output and error output as far as asked for, or its terminal; for [`Ask::Attach`] where its output and error output go |
//! | shim | [`Event::Started`] or [`Event::Attached`]; or why not | for `Attached` where input goes: a pipe or the terminal |
//! | node | [`Note::InputEnded`], at most once, of who is attached | |
//! | shim | [`Event::Exited`], or [`Event::CutOff`] for who is attached | |
//!
//! A program that was asked for is killed when the node closes its side.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    cmsg_space,
    fs::{Mode, OFlags},
    io::{Errno, IoSlice, IoSliceMut},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
        SocketType, bind, connect, listen, recvmsg, sendmsg, socket_with,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version of the packets.
pub(super) const WIRE_VERSION: u8 = 1;
/// The socket in a workload's directory.
pub(super) const SOCKET: &str = "shim.sock";
/// No packet is longer.
pub(super) const PACKET_BYTES_MAX: usize = 128 * 1024;
/// With no packet come more descriptors.
const DESCRIPTORS_MAX: usize = 3;
/// So many connections wait until the shim looks: more than are served at once.
const BACKLOG: i32 = 64;

/// What is asked of a shim.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    /// The shim's.
    pub(super) key: String,
    pub(super) ask: Ask,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ask {
    /// To run a program beside the workload's.
    Exec {
        argv: Vec<String>,
        /// One descriptor comes along, a terminal.
        tty: bool,
        #[serde(flatten)]
        which: Which,
    },
    /// For what the workload's program prints from now on.
    Attach {
        #[serde(flatten)]
        which: Which,
    },
}

/// The streams that are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Which {
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
}

/// What is said of a session.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Note {
    /// Nothing more will be written to the program.
    InputEnded,
}

/// What a shim tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Event {
    /// The program runs.
    Started,
    Attached {
        /// A descriptor of the terminal comes along.
        tty: bool,
        /// It may be written to, or if there is no terminal: a descriptor of a pipe comes along.
        stdin: bool,
    },
    /// The program can't be run.
    Refused { code: i32, message: String },
    /// There are as many of this kind as may be.
    Full { max: usize },
    /// The request can't be understood or does not come from the node.
    Invalid { message: String },
    /// The program has ended: the one that was asked for, or the workload's.
    Exited { code: i32, signal: Option<i32> },
    /// What the program prints was not taken in time.
    CutOff,
}

fn socket() -> Result<OwnedFd, Errno> {
    socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
}

/// The socket's place; addresses are short, so it is told by way of the directory's descriptor.
fn place(dir: &Path) -> Result<(OwnedFd, SocketAddrUnix), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(dir, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd());
    Ok((dir, SocketAddrUnix::new(path)?))
}

/// The shim's side. To be called while this process has one thread.
pub(super) fn serve(dir: &Path) -> Result<OwnedFd, Errno> {
    let (dir, address) = place(dir)?;
    match rustix::fs::unlinkat(&dir, SOCKET, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let socket = socket()?;
    // Its own user only, from the first moment on.
    let mask = rustix::process::umask(Mode::RWXG | Mode::RWXO | Mode::XUSR);
    let bound = bind(&socket, &address);
    rustix::process::umask(mask);
    bound?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// The node's side.
pub(super) fn reach(dir: &Path) -> Result<OwnedFd, Errno> {
    let (_dir, address) = place(dir)?;
    let socket = socket()?;
    connect(&socket, &address)?;
    Ok(socket)
}

/// Sends a packet; an error, too, where it would have to wait.
pub(super) fn send<T: Serialize>(
    socket: impl AsFd,
    packet: &T,
    along: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut bytes = vec![WIRE_VERSION];
    serde_json::to_writer(&mut bytes, packet)?;
    if bytes.len() > PACKET_BYTES_MAX || along.len() > DESCRIPTORS_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !along.is_empty() && !control.push(SendAncillaryMessage::ScmRights(along)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, flags)?;
    Ok(())
}

/// Takes a packet with its descriptors. `None` once the other side has closed.
///
/// # Errors
/// `WouldBlock` if there is none now; `InvalidData` if it is none of ours.
pub(super) fn receive<T: DeserializeOwned>(
    socket: impl AsFd,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; PACKET_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let mut into = [IoSliceMut::new(&mut bytes)];
    let taken = recvmsg(socket, &mut into, &mut control, flags)?;
    let mut along = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            along.extend(descriptors);
        }
    }
    let cut = ReturnFlags::TRUNC | ReturnFlags::CTRUNC;
    if taken.flags.intersects(cut) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long"));
    }
    match bytes.get(..taken.bytes) {
        None | Some([]) => Ok(None),
        Some([WIRE_VERSION, json @ ..]) => {
            let packet = serde_json::from_slice(json);
            let packet = packet.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
            Ok(Some((packet?, along)))
        }
        Some([version, ..]) => {
            let message = format!("its version {version} is not known");
            Err(io::Error::new(io::ErrorKind::InvalidData, message))
        }
    }
}

/// The next descriptor that came along, if one was asked for.
pub(super) fn taken(
    along: &mut impl Iterator<Item = OwnedFd>,
    is_asked: bool,
) -> io::Result<Option<OwnedFd>> {
    if !is_asked {
        return Ok(None);
    }
    match along.next() {
        Some(descriptor) => Ok(Some(descriptor)),
        None => Err(io::ErrorKind::InvalidInput.into()),
    }
}

#[cfg(test)]
mod tests;
