//! Whether clients are who they say.

use std::pin::Pin;

use crate::face::session::Credentials;

/// The users' store.
pub trait Identity: Send + Sync + 'static {
    /// Whether a client that comes now has to say who it is.
    fn is_required(&self) -> bool;

    /// Whether there is such a user with such a password.
    fn check<'a>(
        &'a self,
        credentials: &'a Credentials,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>>;
}

/// Where nobody has a password: whoever says to be nobody in particular is believed, whatever
/// the password, as by a Redis whose user `default` has none (Redis: "ACL", `nopass`).
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPasswords;

impl Identity for NoPasswords {
    fn is_required(&self) -> bool {
        false
    }

    fn check<'a>(
        &'a self,
        credentials: &'a Credentials,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(std::future::ready(credentials.user == "default"))
    }
}
