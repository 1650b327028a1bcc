//! Names and passwords of clients (RFC 7617), against a list as `htpasswd -B` writes it: one
//! `name:hash` a line, hashed with bcrypt. Other hashes are refused, because they can be
//! guessed.
//!
//! Here lists and credentials are read; hashing takes long on purpose and is the driver's.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::header::HeaderValue;

/// The most users of one list.
pub const USERS_MAX: usize = 10_000;
/// The greatest cost of a hash: as bcrypt counts it, each one more takes twice as long. Twelve
/// are about a quarter of a second.
pub const COST_MAX: u32 = 12;
/// The longest credentials, bytes. bcrypt looks at 72 bytes of a password.
const CREDENTIALS_BYTES_MAX: usize = 1_024;
/// What a bcrypt hash looks like: `$2y$`, the cost, `$`, and 53 letters.
const HASH_BYTES: usize = 60;

/// Who there is, with hashes of passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct Users(BTreeMap<String, String>);

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Users({})", self.0.len())
    }
}

/// What is wrong with a list. Hashes are never told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsersError {
    /// A line without its colon, or an empty name.
    #[error("line {0} is not NAME:HASH")]
    Line(usize),
    /// Another hash than bcrypt's.
    #[error("line {0} has no bcrypt hash: write it with `htpasswd -B`")]
    Hash(usize),
    /// A hash that takes too long to check.
    #[error("line {line} has a hash of cost {cost}, more than {COST_MAX}")]
    Cost {
        /// Where.
        line: usize,
        /// How much.
        cost: u32,
    },
    /// Nobody.
    #[error("nobody is in the list")]
    Empty,
    /// Too many.
    #[error("more than {USERS_MAX} users")]
    TooMany,
}

impl Users {
    /// Reads a list; empty lines and lines that begin with `#` are passed over.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, UsersError> {
        let mut users = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, hash) = line.split_once(':').ok_or(UsersError::Line(number))?;
            if name.is_empty() {
                return Err(UsersError::Line(number));
            }
            let cost = cost(hash).ok_or(UsersError::Hash(number))?;
            if cost > COST_MAX {
                return Err(UsersError::Cost { line: number, cost });
            }
            if users.len() == USERS_MAX {
                return Err(UsersError::TooMany);
            }
            users.insert(name.to_owned(), hash.to_owned());
        }
        match users.is_empty() {
            true => Err(UsersError::Empty),
            false => Ok(Users(users)),
        }
    }

    /// The hash of a user's password.
    pub fn hash(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Anybody's hash: what is compared for a name that nobody has, so that the time does not
    /// tell who there is.
    pub fn some_hash(&self) -> &str {
        let first = self.0.values().next();
        first.expect("a list has somebody")
    }
}

/// The cost of a bcrypt hash.
fn cost(hash: &str) -> Option<u32> {
    let is_known = ["$2a$", "$2b$", "$2y$"]
        .iter()
        .any(|it| hash.starts_with(it));
    if !is_known || hash.len() != HASH_BYTES || !hash.is_ascii() {
        return None;
    }
    let digits = &hash[4..6];
    if !digits.bytes().all(|it| it.is_ascii_digit()) || &hash[6..7] != "$" {
        return None;
    }
    digits.parse().ok()
}

/// The name and the password in an `Authorization` field.
pub fn credentials(field: &HeaderValue) -> Option<(String, String)> {
    let value = field.to_str().ok()?;
    if value.len() > CREDENTIALS_BYTES_MAX {
        return None;
    }
    let (scheme, rest) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$05$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234";

    #[test]
    fn lists_are_read() {
        assert_eq!(HASH.len(), HASH_BYTES);
        let text = format!("# people\n\nann:{HASH}\r\n  bob:{HASH}\n");
        let users = Users::parse(&text).unwrap();
        assert_eq!((users.hash("ann"), users.hash("eve")), (Some(HASH), None));
        assert_eq!(format!("{users:?}"), "Users(2)", "hashes are not told");
        let dear = HASH.replace("$05$", "$13$");
        let odd = HASH.replace("$05$", "$+5$");
        let cases = [
            ("ann", UsersError::Line(1)),
            (":x", UsersError::Line(1)),
            ("# x\nann:$apr1$x$y", UsersError::Hash(2)),
            ("ann:secret", UsersError::Hash(1)),
            (&format!("ann:{odd}"), UsersError::Hash(1)),
            (
                &format!("ann:{dear}"),
                UsersError::Cost { line: 1, cost: 13 },
            ),
            ("\n", UsersError::Empty),
        ];
        for (text, expected) in cases {
            assert_eq!(Users::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn credentials_are_read() {
        let read = |text: &str| credentials(&HeaderValue::from_str(text).unwrap());
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        assert_eq!(read("Basic YW5uOmE6Yg=="), pair("ann", "a:b"));
        assert_eq!(read("bAsIc YW5uOg=="), pair("ann", ""));
        for text in [
            "Basic",
            "Basic ?",
            "Bearer YW5uOmE6Yg==",
            "Basic YW5u",
            "Basic /w==",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read(&format!("Basic {}", "A".repeat(2_000))), None);
    }
}
