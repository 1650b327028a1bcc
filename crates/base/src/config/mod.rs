//! One tree of settings for a node: a TOML file, the environment and flags are three ways to
//! write to the same tree.
//!
//! What flows through: text in (a file's content, a map of variables, a list of flags), a typed
//! [`Config`] out, together with the place that each value came from. Nothing here reads a file
//! or the environment.
//!
//! Invariants:
//! - A setting is declared once, in `tree.rs`, with its doc line, unit, default and range; its
//!   variable and its flag follow from its path. docs/configuration.md is written from the same
//!   declaration and a test keeps it equal.
//! - A later source wins: default, then file, then environment, then flag. A wrong value is an
//!   error even where a later source hides it.
//! - What nobody declared is refused, never ignored: a mistyped limit must not look like one
//!   that is in force.

mod check;
mod closest;
mod describe;
mod error;
mod load;
mod tree;
mod types;

#[cfg(test)]
mod tests;

pub use self::{
    describe::{Described, reference},
    error::{ConfigError, Origin, Side},
    load::{File, Loaded, Sources},
    tree::{Config, Control, Journal, Listen, Log, Node, SETTINGS, Security, Store},
    types::{Address, CompactionMode, Durability, EvictionPolicy, Kind, LogFormat, Setting},
};

/// What every variable of ours begins with.
pub const VARIABLE_PREFIX: &str = "ATOLL_";

/// Variables that begin with [`VARIABLE_PREFIX`] and are no settings of a node: the command
/// line reads them itself. With what each is for.
pub const OTHER_VARIABLES: &[(&str, &str)] = &[
    ("ATOLL_CONFIG", "the configuration file, as --config"),
    (
        "ATOLL_HOME",
        "the folder of contexts.toml; ~/.config/atoll where it is not set",
    ),
    ("ATOLL_CONTEXT", "the context to use, as --context"),
    (
        "ATOLL_ENDPOINT",
        "endpoints to talk to, separated by commas, as --endpoint",
    ),
    ("ATOLL_USER", "the user to log in as, as --user"),
    ("ATOLL_PASSWORD", "the password of that user"),
    (
        "ATOLL_PASSWORD_NEW",
        "the password that `atoll user add` and `atoll user passwd` set",
    ),
    ("ATOLL_CACERT", "the authority to trust, as --cacert"),
    ("ATOLL_CERT", "the client certificate, as --cert"),
    ("ATOLL_KEY", "the key of the client certificate, as --key"),
    ("ATOLL_OUTPUT", "table or json, as --output"),
    (
        "ATOLL_TOKEN",
        "the token to join with, as `atoll start --token`",
    ),
    (
        "ATOLL_LOCK_KEY",
        "set by `atoll lock` for its command: the key that stands for the lock",
    ),
    (
        "ATOLL_LOCK_REVISION",
        "set by `atoll lock` for its command: the lock's fencing token",
    ),
];
