//! A user's rules, as the cluster keeps them: version, then their canonical form
//! (docs/formats/acl.md).

use bytes::Bytes;

use super::{RuleError, User};

/// The version that is written.
const VERSION: &[u8] = b"1";

/// Why rules that the cluster keeps can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// This release knows no such version.
    #[error("they are of a version that this release does not know")]
    Version,
    /// There is a word in them that is no rule.
    #[error("'{}': {error}", String::from_utf8_lossy(.word))]
    Rule {
        /// The word.
        word: Bytes,
        /// What is wrong with it.
        #[source]
        error: RuleError,
    },
}

/// What is kept of a user.
pub fn write_record(user: &User) -> Vec<u8> {
    [VERSION, b" ", &user.text()].concat()
}

/// Reads it.
///
/// # Errors
/// What is wrong with it.
pub fn read_record(record: &[u8]) -> Result<User, RecordError> {
    let rules = record
        .strip_prefix(VERSION)
        .and_then(|rest| rest.strip_prefix(b" "))
        .ok_or(RecordError::Version)?;
    User::parse(rules).map_err(|(word, error)| RecordError::Rule { word, error })
}
