//! Who is attached to the workload's program, as the shim's first thread sees them: they come and
//! go, and the input ends with one of them if it is to. What is printed gets to them through
//! [`Attachers`].

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::fs::OFlags;

use super::input::Input;
use crate::workload::{
    attachers::{Attacher, Attachers},
    wire::{self, Event, Note, Which},
};

/// So many can be attached at once.
pub const ATTACHERS_MAX: usize = 16;

/// One who is attached.
#[derive(Debug)]
struct Attached {
    attacher: Arc<Attacher>,
    has_input: bool,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Audience {
    input: Input,
    attachers: Attachers,
    list: Vec<Attached>,
}

impl Audience {
    pub(super) fn new(input: Input) -> Audience {
        Audience {
            input,
            attachers: Attachers::default(),
            list: Vec::new(),
        }
    }

    pub(super) fn attachers(&self) -> Attachers {
        self.attachers.clone()
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.list.iter().map(|one| one.attacher.socket.as_fd())
    }

    pub(super) fn attach(&mut self, socket: OwnedFd, which: Which, along: Vec<OwnedFd>) {
        if self.list.len() >= ATTACHERS_MAX {
            let event = Event::Full { max: ATTACHERS_MAX };
            let _ = wire::send(&socket, &event, &[]);
            return;
        }
        let (stdout, stderr) = match pipes(which, along) {
            Ok(pipes) => pipes,
            Err(error) => {
                let message = error.to_string();
                let _ = wire::send(&socket, &Event::Invalid { message }, &[]);
                return;
            }
        };
        let lent = self.input.lend(which.stdin);
        let has_input = lent.stdin;
        let event = Event::Attached {
            tty: lent.tty,
            stdin: has_input,
        };
        // A terminal has one stream.
        let stderr = stderr.filter(|_| !lent.tty);
        let attacher = Arc::new(Attacher::new(stdout, stderr, socket));
        // Whatever is printed once the answer is there, gets to who is attached.
        self.attachers.add(attacher.clone());
        let lent: Vec<BorrowedFd<'_>> = lent.along.into_iter().collect();
        let is_left = wire::send(&attacher.socket, &event, &lent).is_err();
        let attached = Attached {
            attacher,
            has_input,
        };
        match is_left {
            true => self.leave(attached),
            false => self.list.push(attached),
        }
    }

    fn leave(&mut self, mut attached: Attached) {
        self.end_input(&mut attached);
        self.attachers.remove(&attached.attacher);
    }

    fn end_input(&mut self, attached: &mut Attached) {
        if std::mem::take(&mut attached.has_input) {
            self.input.give_back();
        }
    }

    /// Looks which are ready, in the order of their sockets.
    pub(super) fn hear(&mut self, ready: &[bool]) {
        for (mut one, is_ready) in std::mem::take(&mut self.list).into_iter().zip(ready) {
            let heard = is_ready.then(|| wire::receive::<Note>(&one.attacher.socket));
            match heard {
                None => self.list.push(one),
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.list.push(one);
                }
                Some(Ok(Some((Note::InputEnded, _)))) => {
                    self.end_input(&mut one);
                    self.list.push(one);
                }
                Some(_) => self.leave(one),
            }
        }
    }

    /// The workload is over.
    pub(super) fn end(self, code: i32, signal: Option<i32>) {
        for one in self.list {
            let event = Event::Exited { code, signal };
            let _ = wire::send(&one.attacher.socket, &event, &[]);
        }
    }
}

/// Where output and error output go. To write there never waits.
fn pipes(which: Which, along: Vec<OwnedFd>) -> io::Result<(Option<OwnedFd>, Option<OwnedFd>)> {
    let mut along = along.into_iter();
    let mut pipe = |is_asked: bool| -> io::Result<Option<OwnedFd>> {
        let pipe = wire::taken(&mut along, is_asked)?;
        if let Some(pipe) = &pipe {
            rustix::fs::fcntl_setfl(pipe, OFlags::NONBLOCK)?;
        }
        Ok(pipe)
    };
    Ok((pipe(which.stdout)?, pipe(which.stderr)?))
}
