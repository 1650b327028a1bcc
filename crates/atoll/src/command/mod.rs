//! One file for each family of commands that talk to a cluster, or about one.

pub(crate) mod auth;
pub(crate) mod ca;
pub(crate) mod certificate;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod context;
mod drain;
pub(crate) mod hot;
pub(crate) mod image;
pub(crate) mod key;
pub(crate) mod keyspace;
pub(crate) mod kubeconfig;
mod lag;
pub(crate) mod lease;
pub(crate) mod lock;
pub(crate) mod node;
pub(crate) mod redis;
pub(crate) mod role;
pub(crate) mod snapshot;
pub(crate) mod status;
pub(crate) mod txn;
pub(crate) mod user;
pub(crate) mod watch;

mod range;

use crate::error::CliError;

/// Reads an id as etcd and we print it: hexadecimal.
fn parse_hex(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16)
        .map_err(|_| "expected an id in hexadecimal, as it is listed".to_owned())
}

/// Reads a lease id.
fn parse_lease(text: &str) -> Result<i64, String> {
    i64::try_from(parse_hex(text)?)
        .ok()
        .filter(|id| *id > 0)
        .ok_or_else(|| "expected a lease id in hexadecimal, as it is listed".to_owned())
}

/// The one thing that an answer must hold; a server that left it out is broken.
fn required<T>(part: Option<T>, name: &str) -> Result<T, CliError> {
    part.ok_or_else(|| {
        CliError::failed(
            format!("the node answered without a {name}"),
            "is it Atoll or etcd that listens there?",
        )
    })
}
