//! Programs that are run beside a workload's own (`kubectl exec`, `kubectl cp`, probes).
//!
//! The workload's shim runs them, so they have all that its program has: environment, directory,
//! user, limits, control group, what can be reached in the file system; and they belong to the
//! workload, so [`kill`](super::kill) ends them, and they go when it or its lease does. Each is in
//! a session of its own. The shim hears when this process closes the connection or dies, and then
//! kills the program: nobody would see what it does. (What it has left behind in other sessions
//! goes on until the workload ends.)

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

pub use super::session::{End, Input, Output, Session, SessionError, Size};
use super::{
    pty,
    session::{Answer, Connection, input_of_pipe, input_of_terminal, output},
    wire::{Ask, Event, Which},
};

/// What is to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The program and its arguments. One without a slash is looked for in the workload's `PATH`.
    pub argv: Vec<String>,
    /// It gets an input; an empty one otherwise.
    pub stdin: bool,
    /// What it prints is wanted.
    pub stdout: bool,
    /// Its error output is wanted. With a terminal, that is a part of its output.
    pub stderr: bool,
    /// It runs on a terminal.
    pub tty: bool,
    /// The terminal's size at first.
    pub size: Option<Size>,
}

/// The ends that stay here.
#[derive(Debug, Default)]
struct Ours {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
}

/// Runs a program beside the workload of a directory. At most [`EXECS_MAX`](super::EXECS_MAX) run
/// at a time.
///
/// # Errors
/// `Refused` if the program can't be run; all others of [`SessionError`].
pub async fn start(dir: &Path, program: Program) -> Result<Session, SessionError> {
    let (ours, theirs) = ends(&program)?;
    let along: Vec<BorrowedFd<'_>> = theirs.iter().map(AsFd::as_fd).collect();
    let ask = Ask::Exec {
        argv: program.argv,
        tty: program.tty,
        which: Which {
            stdin: program.stdin,
            stdout: program.stdout,
            stderr: program.stderr,
        },
    };
    let Answer { event, socket, .. } = Connection::ask(dir, ask, &along).await?;
    // With ours still open, an end would never be seen.
    drop(theirs);
    let connection = Connection::new(socket, ours.terminal);
    if event != Event::Started {
        return Err(SessionError::Invalid(format!("{event:?}")));
    }
    let told = || connection.end();
    let stdin = match program.tty {
        true => ours.stdin.map(|to| input_of_terminal(to, None)),
        false => ours.stdin.map(|to| input_of_pipe(to, None)),
    };
    Ok(Session {
        stdin: stdin.transpose()?,
        stdout: ours.stdout.map(|from| output(from, told())).transpose()?,
        stderr: ours.stderr.map(|from| output(from, told())).transpose()?,
        connection,
    })
}

/// Our ends of the streams, and the program's in the order in which the shim expects them.
fn ends(program: &Program) -> io::Result<(Ours, Vec<OwnedFd>)> {
    let (mut ours, mut theirs) = (Ours::default(), Vec::new());
    if program.tty {
        let pair = pty::open()?;
        if let Some(size) = program.size {
            pty::resize(&pair.ours, size)?;
        }
        ours.stdin = program.stdin.then(|| pair.ours.try_clone()).transpose()?;
        let is_shown = program.stdout || program.stderr;
        ours.stdout = is_shown.then(|| pair.ours.try_clone()).transpose()?;
        ours.terminal = Some(pair.ours);
        return Ok((ours, vec![pair.theirs]));
    }
    if program.stdin {
        let (reader, writer) = io::pipe()?;
        (ours.stdin, _) = (Some(writer.into()), theirs.push(reader.into()));
    }
    for (is_asked, end) in [
        (program.stdout, &mut ours.stdout),
        (program.stderr, &mut ours.stderr),
    ] {
        if is_asked {
            let (reader, writer) = io::pipe()?;
            *end = Some(reader.into());
            theirs.push(writer.into());
        }
    }
    Ok((ours, theirs))
}
