//! Sessions with programs: one that is run beside a container's, or the container's own.

use std::path::Path;

use atoll_world::{
    task,
    workload::{
        attach::{self, Wanted},
        exec::{self, End, Input, Output, Program, Session, SessionError, Size},
    },
};
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{
    api::Ends,
    core::{
        status::{Failure, Reason},
        streams::{FromContainer, PIECE_BYTES_MAX, ToContainer, options::ExecOptions, status},
    },
};

/// So much is under way, each way.
const PIECES_MAX: usize = 4;

/// Begins a session with the attempt in a directory.
///
/// # Errors
/// It does not run, or has too many sessions.
pub(super) async fn begin(
    dir: &Path,
    options: ExecOptions,
) -> Result<Ends<ToContainer, FromContainer>, Failure> {
    let is_attached = options.command.is_empty();
    let container = options.container.clone();
    let opened = match is_attached {
        true => attach::connect(dir, wanted(&options)).await,
        false => exec::start(dir, program(options)).await,
    };
    let (heard, hears) = mpsc::channel(PIECES_MAX);
    let (says, said) = mpsc::channel(PIECES_MAX);
    match opened {
        Ok(session) => {
            task::spawn(run(session, is_attached, hears, says));
        }
        // As if it had begun and ended at once: so clients are told why.
        Err(SessionError::Refused { message, .. }) => {
            let ended = FromContainer::Ended(status::failed(&message));
            says.try_send(ended).expect("there is room");
        }
        Err(error) => return Err(failure(&error, &container)),
    }
    Ok(Ends { heard, said })
}

fn wanted(options: &ExecOptions) -> Wanted {
    Wanted {
        stdin: options.streams.stdin,
        stdout: options.streams.stdout,
        stderr: options.streams.stderr,
    }
}

fn program(options: ExecOptions) -> Program {
    Program {
        argv: options.command,
        stdin: options.streams.stdin,
        stdout: options.streams.stdout,
        stderr: options.streams.stderr,
        tty: options.streams.tty,
        size: None,
    }
}

fn failure(error: &SessionError, container: &str) -> Failure {
    match error {
        SessionError::NotRunning => {
            let message = format!("container not found ({container:?}): it does not run");
            Failure::new(Reason::NotFound, message)
        }
        SessionError::Full(_) => {
            Failure::new(Reason::TooManyRequests, error.to_string()).retry_after(1)
        }
        SessionError::TooLong | SessionError::Unsupported => {
            Failure::bad_request(error.to_string())
        }
        _ => Failure::internal(error.to_string()),
    }
}

/// Carries what is said both ways until the program has ended or the client is gone: a program
/// that was run for it ends with it.
async fn run(
    mut session: Session,
    is_attached: bool,
    hears: mpsc::Receiver<ToContainer>,
    says: mpsc::Sender<FromContainer>,
) {
    let (stdin, stdout, stderr) = (
        session.stdin.take(),
        session.stdout.take(),
        session.stderr.take(),
    );
    let telling = async {
        tokio::join!(
            tell(stdout, &says, FromContainer::Stdout),
            tell(stderr, &says, FromContainer::Stderr),
        );
        let ended = match session.wait().await {
            // Who is attached learns how the container ended from the pod.
            End::Exited { .. } if is_attached => status::exited(0),
            End::Exited { code, .. } => status::exited(u8::try_from(code).unwrap_or(u8::MAX)),
            End::CutOff => status::failed("what it prints was not read in time"),
            End::Closed => status::failed("the container has ended"),
        };
        // If nobody hears it, nobody minds.
        let _ = says.send(FromContainer::Ended(ended)).await;
    };
    tokio::select! {
        () = feed(&session, stdin, hears) => {}
        () = telling => {}
        () = says.closed() => {}
    }
}

/// Hands over what the client says; returns when it is gone.
async fn feed(session: &Session, stdin: Option<Input>, mut hears: mpsc::Receiver<ToContainer>) {
    let mut stdin = stdin;
    while let Some(heard) = hears.recv().await {
        let done = match heard {
            ToContainer::Stdin(bytes) => match &mut stdin {
                Some(input) => input.write_all(&bytes).await,
                None => Ok(()),
            },
            ToContainer::StdinEnd => match stdin.take() {
                Some(input) => input.close().await,
                None => Ok(()),
            },
            ToContainer::Resize { width, height } => session.resize(Size {
                columns: width,
                rows: height,
            }),
        };
        if let Err(error) = done {
            // It reads no more, but may have more to say.
            tracing::trace!(%error, "a program takes no input");
            stdin = None;
        }
    }
}

async fn tell(
    output: Option<Output>,
    says: &mpsc::Sender<FromContainer>,
    say: impl Fn(Bytes) -> FromContainer,
) {
    let Some(mut output) = output else { return };
    let mut buffer = vec![0; PIECE_BYTES_MAX];
    loop {
        match output.read(&mut buffer).await {
            Ok(0) => return,
            Ok(count) => {
                let piece = Bytes::copy_from_slice(&buffer[..count]);
                if says.send(say(piece)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "what a program prints can't be read");
                return;
            }
        }
    }
}

/// Runs a program to its end, and says what was wrong.
///
/// # Errors
/// It can't be run, fails, or does not end in time.
pub(super) async fn probe(dir: &Path, argv: Vec<String>) -> Result<(), String> {
    let program = Program {
        argv,
        stdout: true,
        stderr: true,
        ..Program::default()
    };
    let mut session = exec::start(dir, program)
        .await
        .map_err(|error| error.to_string())?;
    let (stdout, stderr) = (session.stdout.take(), session.stderr.take());
    let (out, err, end) = tokio::join!(said(stdout), said(stderr), session.wait());
    match end {
        End::Exited { code: 0, .. } => Ok(()),
        End::Exited { code, .. } => {
            let said = [out, err].concat();
            let said = String::from_utf8_lossy(&said);
            Err(format!("exit code {code}: {}", said.trim_end()))
        }
        End::CutOff | End::Closed => Err("the container has ended".to_owned()),
    }
}

/// The beginning of what a program prints; the rest is read, so that it is not held up.
async fn said(output: Option<Output>) -> Vec<u8> {
    /// So much is told.
    const SAID_BYTES_MAX: usize = 1_024;
    let mut said = Vec::new();
    let Some(mut output) = output else {
        return said;
    };
    let mut buffer = vec![0; 4_096];
    while let Ok(count @ 1..) = output.read(&mut buffer).await {
        let left = SAID_BYTES_MAX - said.len();
        said.extend_from_slice(&buffer[..count.min(left)]);
    }
    said
}
