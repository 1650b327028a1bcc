//! The streams of programs: pipes or a terminal, and which side stays with the shim.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    process::Stdio,
};

use rustix::fs::OFlags;

use crate::workload::{log::Stream, pty, spec::Spec};

/// What a new process gets; nothing is printed or read where there is none.
#[derive(Debug, Default)]
pub(in super::super) struct Streams {
    pub(in super::super) stdin: Option<OwnedFd>,
    pub(in super::super) stdout: Option<OwnedFd>,
    pub(in super::super) stderr: Option<OwnedFd>,
    /// That of its session.
    pub(in super::super) terminal: Option<OwnedFd>,
}

/// The shim's side of those of the workload's program.
#[derive(Debug)]
pub(in super::super) struct Ends {
    pub(in super::super) outputs: Vec<(Stream, OwnedFd)>,
    pub(in super::super) input: InputEnd,
}

/// Where what is written goes to the program. Nothing here waits.
#[derive(Debug)]
pub(in super::super) enum InputEnd {
    /// It has none.
    Closed,
    Pipe(OwnedFd),
    Terminal {
        ours: OwnedFd,
        /// As long as it is open, what the program prints by way of `/dev/tty` gets here, even
        /// if it has closed its streams.
        _theirs: OwnedFd,
    },
}

impl Streams {
    /// All three are a terminal.
    pub(in super::super) fn on(terminal: OwnedFd) -> io::Result<Streams> {
        Ok(Streams {
            stdin: Some(terminal.try_clone()?),
            stdout: Some(terminal.try_clone()?),
            stderr: Some(terminal.try_clone()?),
            terminal: Some(terminal),
        })
    }

    /// Those of a workload's program.
    pub(in super::super) fn of(spec: &Spec) -> io::Result<(Streams, Ends)> {
        if spec.tty {
            let pty::Pair { ours, theirs } = pty::open()?;
            let ends = Ends {
                outputs: vec![(Stream::Stdout, ours.try_clone()?)],
                input: InputEnd::Terminal {
                    ours,
                    _theirs: theirs.try_clone()?,
                },
            };
            return Ok((Streams::on(theirs)?, ends));
        }
        let (stdout, stdout_end) = io::pipe()?;
        let (stderr, stderr_end) = io::pipe()?;
        let (stdin, input) = match spec.stdin {
            true => {
                let (stdin_end, stdin) = io::pipe()?;
                // The program's end of a pipe has flags of its own.
                rustix::fs::fcntl_setfl(&stdin, OFlags::NONBLOCK)?;
                (Some(stdin_end.into()), InputEnd::Pipe(stdin.into()))
            }
            false => (None, InputEnd::Closed),
        };
        let streams = Streams {
            stdin,
            stdout: Some(stdout_end.into()),
            stderr: Some(stderr_end.into()),
            terminal: None,
        };
        let ends = Ends {
            outputs: vec![
                (Stream::Stdout, stdout.into()),
                (Stream::Stderr, stderr.into()),
            ],
            input,
        };
        Ok((streams, ends))
    }

    /// All that is there, to be given to the user that the process is to be: it can open
    /// /dev/stdout only if that is its own.
    pub(super) fn all(&self) -> impl Iterator<Item = impl AsFd> {
        let three = [&self.stdin, &self.stdout, &self.stderr];
        three.into_iter().flatten()
    }
}

pub(super) fn stdio(stream: Option<OwnedFd>) -> Stdio {
    stream.map_or_else(Stdio::null, Stdio::from)
}
