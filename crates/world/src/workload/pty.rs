//! Terminals that programs run on (pty(7)): the program has one side, whoever looks at it the
//! other.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    fs::OFlags,
    io::Errno,
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use serde::{Deserialize, Serialize};

/// How much a terminal shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// The two sides of a terminal.
#[derive(Debug)]
pub(super) struct Pair {
    /// The side of whoever looks at it. Its calls never wait.
    pub(super) ours: OwnedFd,
    /// The program's.
    pub(super) theirs: OwnedFd,
}

/// A new terminal. It does not become that of this process.
pub(super) fn open() -> Result<Pair, Errno> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    // By the first side and not by its path, which another mount may hide.
    let theirs = ioctl_tiocgptpeer(&ours, flags)?;
    rustix::fs::fcntl_setfl(&ours, OFlags::RDWR | OFlags::NONBLOCK)?;
    Ok(Pair { ours, theirs })
}

/// Tells the program in front, by SIGWINCH, that more or less can be seen.
pub(super) fn resize(terminal: impl AsFd, size: Size) -> Result<(), Errno> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size)
}
