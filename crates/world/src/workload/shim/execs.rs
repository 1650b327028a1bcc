//! Programs that run beside the workload's own.
//!
//! Each is the shim's child like the first one, with the same spec but for its arguments and
//! streams; so it belongs to the workload, ends with it and with its lease. When the connection
//! that asked for it is closed, it is killed with its whole session. (What has left the session
//! goes on, as in Kubernetes, until the workload ends.)

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use rustix::process::{Pid, Signal};

use crate::workload::{
    launch::{self, CODE_NOT_RUN, Refusal, Streams, Surroundings},
    proc::Stat,
    spec::Spec,
    state::Enforced,
    wire::{self, Event, Note, Which},
};

/// So many programs run at once beside a workload's own.
pub const EXECS_MAX: usize = 32;

/// A program that was asked for.
#[derive(Debug)]
struct Exec {
    socket: OwnedFd,
    /// It leads its session.
    pid: Pid,
    /// Nobody is there any more.
    is_left: bool,
}

/// All of them, and what they are started with.
#[derive(Debug)]
pub(super) struct Execs {
    dir: PathBuf,
    around: Surroundings,
    enforced: Enforced,
    list: Vec<Exec>,
}

impl Execs {
    pub(super) fn new(dir: PathBuf, around: Surroundings, enforced: Enforced) -> Execs {
        Execs {
            dir,
            around,
            enforced,
            list: Vec::new(),
        }
    }

    /// The connections that are there.
    pub(super) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let present = self.list.iter().filter(|exec| !exec.is_left);
        present.map(|exec| exec.socket.as_fd())
    }

    pub(super) fn start(
        &mut self,
        socket: OwnedFd,
        argv: Vec<String>,
        tty: bool,
        which: Which,
        along: Vec<OwnedFd>,
    ) {
        let tell = |event: &Event| wire::send(&socket, event, &[]);
        if self.list.len() >= EXECS_MAX {
            let _ = tell(&Event::Full { max: EXECS_MAX });
            return;
        }
        let begun = streams(tty, which, along).and_then(|streams| self.launch(argv, tty, streams));
        match begun {
            Ok(pid) => {
                let is_left = tell(&Event::Started).is_err();
                if is_left {
                    kill_session(pid);
                }
                self.list.push(Exec {
                    socket,
                    pid,
                    is_left,
                });
            }
            Err(Refusal { code, message }) => {
                let _ = tell(&Event::Refused { code, message });
            }
        }
    }

    fn launch(&self, argv: Vec<String>, tty: bool, streams: Streams) -> Result<Pid, Refusal> {
        let refuse = |message: String| Refusal::new(CODE_NOT_RUN, message);
        let mut spec = Spec::read(&self.dir).map_err(refuse)?;
        spec.argv = argv;
        spec.tty = tty;
        spec.check().map_err(refuse)?;
        if spec.sandbox.is_some() && self.around.inside.is_none() {
            return Err(refuse("the container has ended".to_owned()));
        }
        // What holds was told when the workload was started.
        let mut enforced = self.enforced.clone();
        let launched = launch::launch(&spec, &self.around, streams, &mut enforced)?;
        let pid = i32::try_from(launched.main.pid).ok();
        let pid = pid.and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| refuse("the new process has no number".to_owned()))?;
        if !launched.has_joined {
            // Its end is taken note of as that of an orphan.
            kill_session(pid);
            let message = "the program can't join the workload's control group";
            return Err(refuse(message.to_owned()));
        }
        Ok(pid)
    }

    /// Looks which are ready, in the order of their sockets.
    pub(super) fn hear(&mut self, ready: &[bool]) {
        let present = self.list.iter_mut().filter(|exec| !exec.is_left);
        for (exec, _) in present.zip(ready).filter(|(_, is_ready)| **is_ready) {
            let heard = wire::receive::<Note>(&exec.socket);
            let is_there = match heard {
                Ok(heard) => heard.is_some(),
                Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            };
            if !is_there {
                exec.is_left = true;
                kill_session(exec.pid);
            }
        }
    }

    /// A child has ended, and that was taken note of.
    pub(super) fn ended(&mut self, pid: Pid, (code, signal): (i32, Option<i32>)) {
        if let Some(at) = self.list.iter().position(|exec| exec.pid == pid) {
            let exec = self.list.swap_remove(at);
            let _ = wire::send(&exec.socket, &Event::Exited { code, signal }, &[]);
        }
    }
}

/// What a program that was asked for gets.
fn streams(tty: bool, which: Which, along: Vec<OwnedFd>) -> Result<Streams, Refusal> {
    let mut along = along.into_iter();
    let mut streams = || -> io::Result<Streams> {
        if tty {
            let terminal = along.next().ok_or(io::ErrorKind::InvalidInput)?;
            return Streams::on(terminal);
        }
        Ok(Streams {
            stdin: wire::taken(&mut along, which.stdin)?,
            stdout: wire::taken(&mut along, which.stdout)?,
            stderr: wire::taken(&mut along, which.stderr)?,
            terminal: None,
        })
    };
    streams().map_err(|error| {
        let message = format!("the program can't be given streams: {error}");
        Refusal::new(CODE_NOT_RUN, message)
    })
}

/// Kills a program with all that is in its session.
fn kill_session(leader: Pid) {
    // As long as its end was not taken note of, its number is nobody else's.
    let _ = rustix::process::kill_process_group(leader, Signal::KILL);
    let number = u32::try_from(leader.as_raw_nonzero().get());
    let all = Stat::all().into_iter();
    for stat in all.filter(|stat| Ok(stat.session) == number && !stat.ended) {
        let _ = stat.identity.send(Signal::KILL);
    }
}
