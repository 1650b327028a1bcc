//! Attaching to a workload's own program (`kubectl attach`, `kubectl run -it`).
//!
//! One who is attached gets what the program prints from then on, beside its log, and may write
//! to its input if its spec has `stdin`. The program goes on when that one leaves. Who takes too
//! little of what is printed is cut off before the program is held up for long; see the bounds in
//! the module `attachers`.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

pub use super::session::{End, Input, Output, Session, SessionError, Size};
use super::{
    session::{Answer, Connection, input_of_pipe, input_of_terminal, output},
    wire::{Ask, Event, Which},
};

/// So much may be printed that was not read yet (what a user without rights may have in a pipe).
const BUFFER_BYTES: usize = 1024 * 1024;

/// The streams that are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// To write to the program. It gets its end with [`Input::close`] or with the session, if its
    /// spec has `stdin_once` and not `tty`.
    pub stdin: bool,
    /// What it prints.
    pub stdout: bool,
    /// Its error output. With a terminal, that is a part of its output.
    pub stderr: bool,
}

/// Attaches to the workload of a directory. At most [`ATTACHERS_MAX`](super::ATTACHERS_MAX) are
/// attached at a time. There is no `stdin` in the session if the workload has none for this one.
///
/// # Errors
/// Those of [`SessionError`] but for `Refused`.
pub async fn connect(dir: &Path, wanted: Wanted) -> Result<Session, SessionError> {
    let Wanted {
        stdin,
        stdout,
        stderr,
    } = wanted;
    let (stdout_ours, stdout_theirs) = pipe(stdout)?.unzip();
    let (stderr_ours, stderr_theirs) = pipe(stderr)?.unzip();
    let theirs = [stdout_theirs, stderr_theirs];
    let along: Vec<BorrowedFd<'_>> = theirs.iter().flatten().map(AsFd::as_fd).collect();
    let which = Which {
        stdin,
        stdout,
        stderr,
    };
    let answer = Connection::ask(dir, Ask::Attach { which }, &along).await?;
    drop(theirs);
    let Answer {
        event,
        along,
        socket,
    } = answer;
    let Event::Attached { tty, stdin } = event else {
        return Err(SessionError::Invalid(format!("{event:?}")));
    };
    let lent = along.into_iter().next();
    let shared_with = Some(socket.clone());
    let (stdin, terminal) = match (tty, lent) {
        (true, Some(terminal)) => {
            let to = stdin.then(|| terminal.try_clone()).transpose()?;
            let input = to.map(|to| input_of_terminal(to, shared_with));
            (input.transpose()?, Some(terminal))
        }
        (false, Some(pipe)) if stdin => (Some(input_of_pipe(pipe, shared_with)?), None),
        _ => (None, None),
    };
    let connection = Connection::new(socket, terminal);
    let read = |from: Option<OwnedFd>| from.map(|from| output(from, connection.end()));
    Ok(Session {
        stdin,
        stdout: read(stdout_ours).transpose()?,
        stderr: read(stderr_ours.filter(|_| !tty)).transpose()?,
        connection,
    })
}

/// The reading and the writing end of a pipe, if it is wanted.
fn pipe(is_wanted: bool) -> io::Result<Option<(OwnedFd, OwnedFd)>> {
    if !is_wanted {
        return Ok(None);
    }
    let (reader, writer) = io::pipe()?;
    // A smaller one does as well, if there is no room.
    let _ = rustix::pipe::fcntl_setpipe_size(&writer, BUFFER_BYTES);
    Ok(Some((reader.into(), writer.into())))
}
