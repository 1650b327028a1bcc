//! The connection to a shim that a session lasts as long as.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::{io::Errno, net::Shutdown};
use tokio::{io::unix::AsyncFd, sync::watch};

use super::{End, SessionError, streams::watched};
use crate::{
    clock, task,
    workload::{
        state::{self, ShimFile},
        wire::{self, Ask, Event, Note, Request},
    },
};

/// A shim answers sooner, unless it hangs.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// What the shim says first, with its descriptors.
#[derive(Debug)]
pub(in super::super) struct Answer {
    pub(in super::super) event: Event,
    pub(in super::super) along: Vec<OwnedFd>,
    pub(in super::super) socket: Socket,
}

/// The socket itself. Clones are the same.
#[derive(Clone, Debug)]
pub(in super::super) struct Socket(Arc<AsyncFd<OwnedFd>>);

impl Socket {
    pub(super) fn tell(&self, note: &Note) {
        // If it can't be told now, it sees that the connection is closed.
        let _ = wire::send(self.0.get_ref(), note, &[]);
    }

    fn shut_down(&self, how: Shutdown) {
        let _ = rustix::net::shutdown(self.0.get_ref(), how);
    }

    /// The next event; `None` once the shim has closed.
    async fn event(&self) -> io::Result<Option<(Event, Vec<OwnedFd>)>> {
        loop {
            let mut ready = self.0.readable().await?;
            if let Ok(received) = ready.try_io(|socket| wire::receive(socket.get_ref())) {
                return received;
            }
        }
    }
}

/// A session's connection.
#[derive(Debug)]
pub(in super::super) struct Connection {
    socket: Socket,
    terminal: Option<OwnedFd>,
    end: watch::Receiver<Option<End>>,
    listening: task::JoinHandle<()>,
}

impl Connection {
    /// Asks the shim of a workload, and takes its answer.
    pub(in super::super) async fn ask(
        dir: &Path,
        ask: Ask,
        along: &[BorrowedFd<'_>],
    ) -> Result<Answer, SessionError> {
        let dir: PathBuf = dir.to_path_buf();
        let (socket, key) = task::blocking(move || reach(&dir)).await?;
        let socket = Socket(Arc::new(watched(socket)?));
        let request = Request { key, ask };
        wire::send(socket.0.get_ref(), &request, along).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => SessionError::TooLong,
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => SessionError::NotRunning,
            _ => SessionError::Streams(error),
        })?;
        let answered = clock::timeout(ANSWER_WAIT, socket.event()).await;
        let (event, along) = match answered {
            Err(_) => return Err(SessionError::Silent),
            Ok(Ok(Some(answer))) => answer,
            // It has ended in between.
            Ok(Ok(None)) => return Err(SessionError::NotRunning),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                return Err(SessionError::NotRunning);
            }
            Ok(Err(error)) => return Err(SessionError::Streams(error)),
        };
        match event {
            Event::Refused { code, message } => Err(SessionError::Refused { code, message }),
            Event::Full { max } => Err(SessionError::Full(max)),
            Event::Invalid { message } => Err(SessionError::Invalid(message)),
            event => Ok(Answer {
                event,
                along,
                socket,
            }),
        }
    }

    pub(in super::super) fn new(socket: Socket, terminal: Option<OwnedFd>) -> Connection {
        let (told, end) = watch::channel(None);
        let listening = task::spawn(listen(socket.clone(), told));
        Connection {
            socket,
            terminal,
            end,
            listening,
        }
    }

    pub(super) fn terminal(&self) -> Option<BorrowedFd<'_>> {
        self.terminal.as_ref().map(AsFd::as_fd)
    }

    /// Where the end is told.
    pub(in super::super) fn end(&self) -> watch::Receiver<Option<End>> {
        self.end.clone()
    }

    pub(super) async fn wait(&self) -> End {
        let mut end = self.end.clone();
        let told = end.wait_for(Option::is_some).await;
        told.ok().and_then(|end| end.clone()).unwrap_or(End::Closed)
    }

    /// The shim sees that nobody is there any more; what it says last is still heard.
    pub(super) fn close(&self) {
        self.socket.shut_down(Shutdown::Write);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Others may hold the socket for a moment more.
        self.socket.shut_down(Shutdown::Both);
        self.listening.abort();
    }
}

async fn listen(socket: Socket, told: watch::Sender<Option<End>>) {
    let end = loop {
        match socket.event().await {
            Ok(Some((Event::Exited { code, signal }, _))) => break End::Exited { code, signal },
            Ok(Some((Event::CutOff, _))) => break End::CutOff,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break End::Closed,
        }
    };
    told.send_replace(Some(end));
}

/// A connection to the shim of a workload, and its key.
fn reach(dir: &Path) -> Result<(OwnedFd, String), SessionError> {
    // What a file says counts only while the shim lives.
    if !state::is_locked(dir)? {
        return Err(SessionError::NotRunning);
    }
    let shim: Option<ShimFile> = state::read(dir, state::SHIM);
    let key = shim.ok_or(SessionError::NotRunning)?.key;
    let key = key.ok_or(SessionError::Unsupported)?;
    match wire::reach(dir) {
        Ok(socket) => Ok((socket, key)),
        Err(Errno::CONNREFUSED) => Err(SessionError::NotRunning),
        // It told so when it began: see `Enforced::notes`.
        Err(Errno::NOENT) => Err(SessionError::Unsupported),
        // As many have connected as it has not looked at yet.
        Err(Errno::AGAIN) => Err(SessionError::Silent),
        Err(errno) => Err(SessionError::Streams(errno.into())),
    }
}
