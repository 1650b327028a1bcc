//! What users may do (Redis: "ACL"): rules as Redis writes them, and the check of a command
//! against them.
//!
//! [`User`] is the rules of one user. Words that change them ([`User::apply`]) come from ACL
//! SETUSER and from where rules are kept; [`User`]'s text is their canonical form, which gives
//! the same rules again. [`User::check`] is asked for every command, so it allocates nothing
//! where everything is allowed.

mod caller;
mod category;
mod check;
mod commands;
mod error;
mod patterns;
mod record;
mod selector;
mod user;
mod uses;

#[cfg(test)]
mod tests;

pub use caller::Caller;
pub use category::{Categories, categories_of};
pub use check::{Denied, sorts_by_others};
pub use error::RuleError;
pub use record::{RecordError, read_record, write_record};
pub use selector::Selector;
pub use user::{PasswordChange, RULES_BYTES_MAX, User, check_name};
pub use uses::{KeyUse, uses_of};
