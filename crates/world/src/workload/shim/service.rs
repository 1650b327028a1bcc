//! What a shim does for its node at the workload's [socket](wire): it [runs programs](super::execs)
//! beside the workload's, and lets people [attach](super::audience) to that.
//!
//! Nothing here waits for who is connected: who is not ready for an event, is not told.

use std::{
    io::{self, PipeReader},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{SocketFlags, accept_with, sockopt::socket_peercred},
    process::Pid,
};

use super::{audience::Audience, execs::Execs, input::Input};
use crate::{
    random,
    workload::{
        Pauses,
        attachers::Attachers,
        launch::Surroundings,
        state::Enforced,
        wire::{self, Ask, Event, Request},
    },
};

/// So many connections may not have asked for anything yet.
const PENDING_MAX: usize = 8;
/// How long a connection may ask for nothing.
const PENDING_AGE_MAX: Duration = Duration::from_secs(5);
const KEY_BYTES: usize = 16;

/// Where the socket is, and who may ask there.
#[derive(Debug)]
pub(super) struct Place {
    dir: PathBuf,
    key: String,
}

impl Place {
    pub(super) fn new(dir: &Path) -> Place {
        let mut bytes = [0; KEY_BYTES];
        random::fill(&mut bytes);
        Place {
            dir: dir.to_path_buf(),
            key: bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Without a socket the program runs all the same.
    pub(super) fn listen(&self, enforced: &mut Enforced) -> Option<OwnedFd> {
        let served = wire::serve(&self.dir).map_err(|errno| {
            let note = format!("nothing can be run beside the program, nor attached: {errno}");
            enforced.notes.push(note);
        });
        served.ok()
    }

    fn is_key(&self, given: &str) -> bool {
        let (own, given) = (self.key.as_bytes(), given.as_bytes());
        let differing = own.iter().zip(given).fold(0, |sum, (a, b)| sum | (a ^ b));
        own.len() == given.len() && differing == 0
    }
}

/// A connection that has not asked yet.
#[derive(Debug)]
struct Pending {
    socket: OwnedFd,
    since: Instant,
}

#[derive(Debug)]
pub(super) struct Service {
    place: Place,
    listener: Option<OwnedFd>,
    pending: Vec<Pending>,
    execs: Execs,
    audience: Audience,
}

/// Who has something to say, each in the order of its list.
#[derive(Debug)]
struct Ready {
    listener: bool,
    pending: Vec<bool>,
    execs: Vec<bool>,
    audience: Vec<bool>,
}

impl Service {
    pub(super) fn new(
        place: Place,
        listener: Option<OwnedFd>,
        around: Surroundings,
        enforced: Enforced,
        input: Input,
    ) -> Service {
        Service {
            execs: Execs::new(place.dir.clone(), around, enforced),
            audience: Audience::new(input),
            place,
            listener,
            pending: Vec::new(),
        }
    }

    /// Those who get what the program prints.
    pub(super) fn attachers(&self) -> Attachers {
        self.audience.attachers()
    }

    /// Waits until something is asked, which is done then, or `wake` can be read from.
    pub(super) fn wait(&mut self, wake: &PipeReader) {
        let ready = match self.poll(wake) {
            Ok(ready) => ready,
            Err(Errno::INTR) => return,
            Err(_) => return std::thread::sleep(Pauses::MAX),
        };
        self.audience.hear(&ready.audience);
        self.execs.hear(&ready.execs);
        self.hear_pending(&ready.pending);
        if ready.listener {
            self.accept();
        }
    }

    fn poll(&self, wake: &PipeReader) -> Result<Ready, Errno> {
        let has_room = self.pending.len() < PENDING_MAX;
        let listener = self.listener.as_ref().filter(|_| has_room);
        let pending = self.pending.iter().map(|pending| pending.socket.as_fd());
        let execs: Vec<BorrowedFd<'_>> = self.execs.sockets().collect();
        let audience: Vec<BorrowedFd<'_>> = self.audience.sockets().collect();
        let all = [wake.as_fd()].into_iter().chain(pending);
        let all = all.chain(execs.iter().chain(&audience).copied());
        let mut polled: Vec<PollFd<'_>> = all
            .chain(listener.map(AsFd::as_fd))
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let ages = self.pending.iter().map(|pending| pending.since.elapsed());
        let timeout = ages.max().map(|age| PENDING_AGE_MAX.saturating_sub(age));
        let timeout = timeout.and_then(|left| Timespec::try_from(left).ok());
        poll(&mut polled, timeout.as_ref())?;
        let mut ready = polled.iter().map(|fd| !fd.revents().is_empty()).skip(1);
        let mut take = |count: usize| ready.by_ref().take(count).collect();
        Ok(Ready {
            pending: take(self.pending.len()),
            execs: take(execs.len()),
            audience: take(audience.len()),
            listener: ready.next().unwrap_or(false),
        })
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else {
            return;
        };
        let socket = match accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(socket) => socket,
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return,
            Err(_) => return std::thread::sleep(Pauses::MAX),
        };
        let (own, root) = (rustix::process::geteuid(), rustix::process::Uid::ROOT);
        let is_ours = socket_peercred(&socket).is_ok_and(|peer| [own, root].contains(&peer.uid));
        if is_ours {
            self.pending.push(Pending {
                socket,
                since: Instant::now(),
            });
        }
    }

    fn hear_pending(&mut self, ready: &[bool]) {
        for (pending, is_ready) in std::mem::take(&mut self.pending).into_iter().zip(ready) {
            if *is_ready {
                self.hear_request(pending);
            } else if pending.since.elapsed() < PENDING_AGE_MAX {
                self.pending.push(pending);
            }
        }
    }

    fn hear_request(&mut self, pending: Pending) {
        let invalid = |message: String| {
            let _ = wire::send(&pending.socket, &Event::Invalid { message }, &[]);
        };
        match wire::receive::<Request>(&pending.socket) {
            Ok(Some((request, along))) if self.place.is_key(&request.key) => match request.ask {
                Ask::Exec { argv, tty, which } => {
                    let execs = &mut self.execs;
                    execs.start(pending.socket, argv, tty, which, along);
                }
                Ask::Attach { which } => self.audience.attach(pending.socket, which, along),
            },
            Ok(Some(_)) => invalid("the key is another".to_owned()),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.pending.push(pending),
            Err(error) => invalid(error.to_string()),
        }
    }

    /// A child has ended, and that was taken note of.
    pub(super) fn ended(&mut self, pid: Pid, how: (i32, Option<i32>)) {
        self.execs.ended(pid, how);
    }

    /// The workload is over.
    pub(super) fn end(self, code: i32, signal: Option<i32>) {
        self.audience.end(code, signal);
    }
}
