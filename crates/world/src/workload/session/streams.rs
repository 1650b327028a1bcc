//! What is written to a program, and what it prints.

use std::{io, os::fd::OwnedFd};

use rustix::{fs::OFlags, io::Errno};
use tokio::{io::unix::AsyncFd, sync::watch};

use super::{End, connection::Socket};
use crate::workload::wire::Note;

/// What a terminal takes for the end of input at the beginning of a line (termios(3), VEOF).
const END_OF_INPUT: u8 = 4;

/// What is written to a program.
#[derive(Debug)]
pub struct Input {
    to: AsyncFd<OwnedFd>,
    close: Close,
}

/// What ends an input.
#[derive(Debug)]
enum Close {
    /// The pipe has one end, which is closed.
    Pipe,
    /// A byte; two where a line has begun.
    Terminal { line_begun: bool },
    /// The shim, if that is its workload's way, once it is told.
    Shim(Socket),
}

/// The writing end of a pipe; where a shim has it, too, that is told of the end.
pub(in super::super) fn input_of_pipe(
    pipe: impl Into<OwnedFd>,
    shared_with: Option<Socket>,
) -> io::Result<Input> {
    Ok(Input {
        to: watched(pipe.into())?,
        close: shared_with.map_or(Close::Pipe, Close::Shim),
    })
}

/// A terminal's side.
pub(in super::super) fn input_of_terminal(
    terminal: OwnedFd,
    shared_with: Option<Socket>,
) -> io::Result<Input> {
    let own = Close::Terminal { line_begun: false };
    Ok(Input {
        to: watched(terminal)?,
        close: shared_with.map_or(own, Close::Shim),
    })
}

impl Input {
    /// Writes some of it and says how much; waits while the program takes nothing.
    ///
    /// # Errors
    /// `BrokenPipe` once the program reads no more.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = loop {
            let mut ready = self.to.writable().await?;
            let write = |to: &AsyncFd<OwnedFd>| Ok(rustix::io::write(to.get_ref(), bytes)?);
            match ready.try_io(write) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                // A terminal that is gone says so.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                Ok(written) => break written?,
                Err(_not_ready) => {}
            }
        };
        if let (Close::Terminal { line_begun }, [.., last]) = (&mut self.close, &bytes[..written]) {
            *line_begun = !matches!(last, b'\n' | b'\r' | &END_OF_INPUT);
        }
        Ok(written)
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// As `write`.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.write(bytes).await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Ends the input: the program sees its end once it has read all. On a terminal of its own
    /// it gets an end of file (Ctrl-D), which it may read as it likes; that of a workload that was
    /// attached to ends only if its spec says `stdin_once` and it has no terminal. Dropping does
    /// the same, but for a terminal.
    ///
    /// # Errors
    /// As `write`.
    pub async fn close(mut self) -> io::Result<()> {
        let bytes: &[u8] = match self.close {
            Close::Terminal { line_begun: true } => &[END_OF_INPUT, END_OF_INPUT],
            Close::Terminal { line_begun: false } => &[END_OF_INPUT],
            Close::Pipe | Close::Shim(_) => &[],
        };
        self.write_all(bytes).await
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if let Close::Shim(socket) = &self.close {
            socket.tell(&Note::InputEnded);
        }
    }
}

/// What a program prints.
#[derive(Debug)]
pub struct Output {
    from: AsyncFd<OwnedFd>,
    /// Nobody may print any more whose output belongs here.
    is_over: bool,
    end: watch::Receiver<Option<End>>,
}

/// A pipe's reading end, or a terminal's side.
pub(in super::super) fn output(
    from: impl Into<OwnedFd>,
    end: watch::Receiver<Option<End>>,
) -> io::Result<Output> {
    Ok(Output {
        from: watched(from.into())?,
        is_over: false,
        end,
    })
}

impl Output {
    /// Waits for some and puts it into the buffer; 0 at its end. That is when the program has
    /// ended and all that it printed was read, even if others that it has left behind hold the
    /// stream open.
    ///
    /// # Errors
    /// The operating system's.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.is_over {
                return match read(&self.from, buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                    read => read,
                };
            }
            tokio::select! {
                ready = self.from.readable() => {
                    if let Ok(read) = ready?.try_io(|from| read(from, buffer)) {
                        return read;
                    }
                }
                _ = self.end.wait_for(Option::is_some) => self.is_over = true,
            }
        }
    }
}

fn read(from: &AsyncFd<OwnedFd>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match rustix::io::read(from.get_ref(), &mut *buffer) {
            Ok(read) => return Ok(read),
            Err(Errno::INTR) => {}
            // A terminal that nobody has open on the other side.
            Err(Errno::IO) => return Ok(0),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// With calls that don't wait, and word when they would not have to.
pub(super) fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    let flags = rustix::fs::fcntl_getfl(&descriptor)?;
    rustix::fs::fcntl_setfl(&descriptor, flags | OFlags::NONBLOCK)?;
    #[allow(
        unsafe_code,
        reason = "there is no safe call for descriptors of all kinds"
    )]
    // SAFETY: an `OwnedFd` stands for the same open descriptor for as long as it is there.
    let watched = unsafe { AsyncFd::register(descriptor) };
    Ok(watched?)
}
