//! What can go wrong on the command line: what happened, and what to do next.

use std::{io, path::PathBuf};

use atoll_base::config::ConfigError;
use tonic::{Code, Status};

/// The exit codes, as `atoll --help` lists them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused by the cluster, or failed here
  2  wrong usage, or a wrong configuration
  3  no node could answer: unreachable, no leader, timed out. Trying again can help
  4  not logged in, or not allowed
  5  `atoll lock`: the lock was lost, its command was ended
`atoll lock` otherwise exits as its command does (128 + signal if a signal ended it).";

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Arguments that are each fine and together make no sense, or a file that is missing.
    #[error("{what}")]
    Usage {
        /// What is wrong.
        what: String,
        /// What to do.
        next: String,
    },
    /// A file, the terminal or a child process.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// What was tried: "read", "write".
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Nobody answered.
    #[error("no node answers at {}", list(tried))]
    Unreachable {
        /// Each endpoint, and why it did not answer.
        tried: Vec<(String, String)>,
    },
    /// The cluster, or the way to it, answered with an error.
    #[error("{}", told(status))]
    Refused {
        /// The answer.
        status: Box<Status>,
    },
    /// A write was sent, and its answer never came.
    #[error(
        "{endpoint} took the request and did not answer ({why}): it may or may not have been done"
    )]
    OutcomeUnknown {
        /// To whom it was sent.
        endpoint: String,
        /// What came instead of an answer.
        why: String,
    },
    /// The lease behind a lock is gone.
    #[error("the lock {name} was lost ({why}); its command was ended")]
    LockLost {
        /// The lock.
        name: String,
        /// How.
        why: String,
    },
    /// Anything else that ended the command.
    #[error("{what}")]
    Failed {
        /// What happened.
        what: String,
        /// What to do; empty if there is nothing.
        next: String,
    },
    /// Nothing to say: only the exit code matters.
    #[error("exit code {0}")]
    Exit(u8),
}

impl CliError {
    pub(crate) fn usage(what: impl Into<String>, next: impl Into<String>) -> CliError {
        CliError::Usage {
            what: what.into(),
            next: next.into(),
        }
    }

    pub(crate) fn failed(what: impl Into<String>, next: impl Into<String>) -> CliError {
        CliError::Failed {
            what: what.into(),
            next: next.into(),
        }
    }

    pub(crate) fn file(
        what: &'static str,
        path: impl Into<PathBuf>,
        source: io::Error,
    ) -> CliError {
        CliError::File {
            what,
            path: path.into(),
            source,
        }
    }

    /// What the process exits with. See [`EXIT_CODES`].
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            CliError::Config(_) | CliError::Usage { .. } => 2,
            CliError::File { .. } | CliError::Failed { .. } => 1,
            CliError::Unreachable { .. } | CliError::OutcomeUnknown { .. } => 3,
            CliError::Refused { status } if wants_login(status) => 4,
            CliError::Refused { status } => match status.code() {
                Code::PermissionDenied | Code::Unauthenticated => 4,
                Code::Unavailable | Code::DeadlineExceeded => 3,
                _ => 1,
            },
            CliError::LockLost { .. } => 5,
            CliError::Exit(code) => *code,
        }
    }

    /// What to do about it, in a line; empty if there is nothing to say.
    pub(crate) fn next_step(&self) -> String {
        match self {
            CliError::Config(_) => "docs/configuration.md has every setting; `atoll config show` prints what is in force".into(),
            CliError::Usage { next, .. } | CliError::Failed { next, .. } => next.clone(),
            CliError::Unreachable { tried } => unreachable_step(tried),
            CliError::Refused { status } => refused_step(status).into(),
            CliError::OutcomeUnknown { .. } => "read before you try again".into(),
            CliError::File { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => "run it as the owner of that file, or name another".into(),
                io::ErrorKind::NotFound => "check the path".into(),
                _ => String::new(),
            },
            CliError::LockLost { .. } => "what the command did until then is done; run it again if it may be repeated".into(),
            CliError::Exit(_) => String::new(),
        }
    }
}

impl From<Status> for CliError {
    fn from(status: Status) -> CliError {
        CliError::Refused {
            status: Box::new(status),
        }
    }
}

fn list(tried: &[(String, String)]) -> String {
    let one = |(endpoint, why): &(String, String)| format!("{endpoint} ({why})");
    tried.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// etcd's texts begin with the server's name, which tells a person nothing.
fn told(status: &Status) -> String {
    let text = status.message();
    let text = text.strip_prefix("etcdserver: ").unwrap_or(text);
    if text.contains("user name is empty") {
        // What etcd says to who has not logged in.
        "this cluster wants a login".to_owned()
    } else if text.is_empty() {
        format!("the cluster answered {:?}", status.code())
    } else {
        text.to_owned()
    }
}

fn wants_login(status: &Status) -> bool {
    let text = status.message();
    text.contains("user name is empty")
        || text.contains("invalid user ID or password")
        || text.contains("invalid auth token")
}

fn unreachable_step(tried: &[(String, String)]) -> String {
    let says = |parts: &[&str]| {
        let any = |why: &str| parts.iter().any(|part| why.contains(part));
        tried.iter().any(|(_, why)| any(&why.to_lowercase()))
    };
    if says(&["certificate", "tls", "alert", "broken pipe", "protocol"]) {
        "something is there, but the two do not understand each other: check https:// against http://, then --cacert, --cert and --key".into()
    } else if says(&["lookup"]) {
        "check the name, or give an address".into()
    } else if !tried.iter().all(|(_, why)| why.contains("refused")) {
        "something is there and does not answer: see `atoll status`, or name another node with --endpoint or --context".into()
    } else {
        "start one with `atoll start`, or name another with --endpoint or --context".into()
    }
}

fn refused_step(status: &Status) -> &'static str {
    let text = status.message();
    let step = [
        (
            "invalid user ID or password",
            "check the name and the password given with --user",
        ),
        (
            "user name is empty",
            "log in with --user NAME (the password is asked for)",
        ),
        ("invalid auth token", "log in again with --user NAME"),
        (
            "space exceeded",
            "delete keys, or raise control.quota_bytes; then `atoll node disarm` lifts the alarm",
        ),
        (
            "has been compacted",
            "ask for a newer revision, or leave --rev away",
        ),
        (
            "future revision",
            "leave --rev away, or ask for one that exists: `atoll status` shows the newest",
        ),
        (
            "root user does not exist",
            "make it first: `atoll user add root`, then `atoll user grant root root`",
        ),
        (
            "does not have root role",
            "give it: `atoll user grant root root`",
        ),
        (
            "member not found",
            "`atoll node list` shows the nodes there are",
        ),
        (
            "user name not found",
            "`atoll user list` shows the users there are",
        ),
        (
            "role name not found",
            "`atoll role list` shows the roles there are",
        ),
        (
            "in sync with leader",
            "wait until it has caught up: `atoll status` shows how far it is",
        ),
        (
            "lease not found",
            "it may have expired; `atoll lease list` shows the leases there are",
        ),
        (
            "authentication is not enabled",
            "enable it with `atoll auth enable`, or leave --user away",
        ),
        (
            "request is too large",
            "split it; control.request_bytes_max is the limit",
        ),
    ]
    .into_iter()
    .find(|(part, _)| text.contains(part));
    match (step, status.code()) {
        (Some((_, step)), _) => step,
        (None, Code::PermissionDenied) => {
            "a holder of the root role can grant the right: `atoll role grant ROLE read|write|readwrite KEY`"
        }
        (None, Code::Unavailable | Code::DeadlineExceeded) => {
            "a majority of the nodes must be up: see `atoll status`; then try again"
        }
        (None, Code::Unimplemented) => {
            "this node does not serve that; check its version with `atoll status`"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_tell_apart_what_a_script_must_do() {
        let refused = |code, text: &str| CliError::from(Status::new(code, text));
        assert_eq!(
            refused(Code::PermissionDenied, "etcdserver: permission denied").exit_code(),
            4
        );
        assert_eq!(
            refused(Code::InvalidArgument, "etcdserver: user name is empty").exit_code(),
            4
        );
        assert_eq!(
            refused(Code::Unavailable, "etcdserver: no leader").exit_code(),
            3
        );
        assert_eq!(
            refused(Code::NotFound, "etcdserver: member not found").exit_code(),
            1
        );
        assert_eq!(CliError::usage("a", "b").exit_code(), 2);
        assert_eq!(CliError::Exit(7).exit_code(), 7);
    }

    #[test]
    fn errors_say_what_happened_and_what_to_do() {
        let error = CliError::Unreachable {
            tried: vec![("http://127.0.0.1:2379".into(), "connection refused".into())],
        };
        assert_eq!(
            error.to_string(),
            "no node answers at http://127.0.0.1:2379 (connection refused)"
        );
        assert!(error.next_step().contains("atoll start"));
        let error = CliError::from(Status::not_found("etcdserver: member not found"));
        assert_eq!(error.to_string(), "member not found");
        assert!(error.next_step().contains("atoll node list"));
    }
}
