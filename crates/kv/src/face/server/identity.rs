//! Who clients are, and who may be what.

use std::{pin::Pin, sync::LazyLock};

use bytes::Bytes;

use crate::{
    core::{acl::RuleError, command::CommandError},
    face::{acl::Acl, session::Credentials},
};

/// An answer that takes its time.
pub type Awaited<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The users' store.
pub trait Identity: Send + Sync + 'static {
    /// The users and what they may do, as this node knows it now; the same for good.
    fn acl(&self) -> &Acl;

    /// Whether this is the password of a user that there is.
    fn check<'a>(&'a self, credentials: &'a Credentials) -> Awaited<'a, bool>;

    /// ACL SETUSER: creates a user, or changes what it may do, on behalf of another, and
    /// returns when this node goes by it.
    fn set_user<'a>(
        &'a self,
        asker: &'a [u8],
        user: &'a [u8],
        rules: &'a [Bytes],
    ) -> Awaited<'a, Result<(), CommandError>>;

    /// ACL DELUSER: deletes users, and tells how many there were.
    fn delete_users<'a>(
        &'a self,
        asker: &'a [u8],
        users: &'a [Bytes],
    ) -> Awaited<'a, Result<usize, CommandError>>;
}

/// What ACL SETUSER answers to a word that is wrong.
pub fn wrong_rule((word, error): (Bytes, RuleError)) -> CommandError {
    let word = String::from_utf8_lossy(&word);
    CommandError::Text(match error {
        RuleError::Parenthesis => {
            format!("ERR Unmatched parenthesis in acl selector starting at '{word}'.")
        }
        error => format!("ERR Error in ACL SETUSER modifier '{word}': {error}"),
    })
}

/// Where nobody has a password: whoever says to be nobody in particular is believed, whatever
/// the password, as by a Redis whose user `default` has none (Redis: "ACL", `nopass`).
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPasswords;

static NOBODY: LazyLock<Acl> = LazyLock::new(Acl::open);

const FIXED: CommandError = CommandError::Other("ERR there are no users that could be changed");

impl Identity for NoPasswords {
    fn acl(&self) -> &Acl {
        &NOBODY
    }

    fn check<'a>(&'a self, credentials: &'a Credentials) -> Awaited<'a, bool> {
        Box::pin(std::future::ready(credentials.user == "default"))
    }

    fn set_user<'a>(
        &'a self,
        _: &'a [u8],
        _: &'a [u8],
        _: &'a [Bytes],
    ) -> Awaited<'a, Result<(), CommandError>> {
        Box::pin(std::future::ready(Err(FIXED)))
    }

    fn delete_users<'a>(
        &'a self,
        _: &'a [u8],
        _: &'a [Bytes],
    ) -> Awaited<'a, Result<usize, CommandError>> {
        Box::pin(std::future::ready(Err(FIXED)))
    }
}
