//! Scripts: Lua 5.1 in a sandbox, as Redis 7 has it (Redis: "Scripting with Lua", "Lua API").
//!
//! What a script does to keys goes through its [`Host`], one command after the other; everything
//! else about it is pure but for the time that it takes. A [`Watch`] is asked now and then
//! whether the script may go on: nothing that a script does, not even `pcall`, keeps it from
//! being ended.
//!
//! Interpreters are costly to make, so each thread keeps one, with the scripts and libraries that
//! it compiled last. What a script leaves behind in one is seen by no other: globals and
//! libraries can't be written to. The variables of a function library live as long as the
//! interpreter and are of no replica but the one that ran the function, so they are good for
//! constants only.

mod arguments;
mod catalog;
mod convert;
mod engine;
mod libraries;
mod limits;
mod native;
mod shebang;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use bytes::Bytes;

pub use catalog::{CATALOG_BYTES_MAX, Catalog};
pub use engine::{check, load_library, run};
pub use limits::{LIBRARY_BYTES_MAX, SCRIPT_BYTES_MAX};
pub use shebang::{Flag, Shebang, library_name, script_flags};

use super::{acl::Caller, reply::Reply};

/// Who runs the commands of a script.
pub trait Host {
    /// Runs a command: at least one word. An error is a reply, too.
    fn call(&mut self, words: Vec<Bytes>) -> Reply;
}

/// Why a script was ended before it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Somebody wanted it (SCRIPT KILL, FUNCTION KILL).
    Killed,
    /// It took longer than it may.
    TimedOut,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            End::Killed => "ERR Error running script: Script killed by user with SCRIPT KILL.",
            End::TimedOut => {
                "ERR Error running script: it ran longer than kv.script_time_limit_ms allows, \
                 and nothing of what it did is kept"
            }
        })
    }
}

/// Watches a script while it runs. It is asked about every thousand instructions.
pub trait Watch: fmt::Debug + Send + Sync {
    /// Whether the script has to end, and why.
    fn ends(&self) -> Option<End>;

    /// Seconds since some moment, for `os.clock`.
    fn seconds(&self) -> f64 {
        0.0
    }
}

/// A script to run.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    /// Its text; of a function, its library's.
    pub code: &'a Bytes,
    /// Which function of the library, if it is one.
    pub function: Option<&'a [u8]>,
    /// `KEYS`
    pub keys: &'a [Bytes],
    /// `ARGV`
    pub arguments: &'a [Bytes],
    /// Where `math.random` begins.
    pub seed: u64,
    /// Who may end it; nobody, if none.
    pub watch: Option<Arc<dyn Watch>>,
    /// Who has it run; somebody who may do everything, if none.
    pub caller: Option<&'a Caller>,
}

/// What a script came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Ran {
    /// It answered this, or failed with this error. What its commands did before stays, as in
    /// Redis.
    Answered(Reply),
    /// It was ended, or its interpreter failed; this is the error. Nothing of what it did is to
    /// stay.
    Ended(Reply),
}

/// A library of functions, as FUNCTION LOAD read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Its name.
    pub name: Bytes,
    /// Its text.
    pub code: Bytes,
    /// Its functions, in the order in which they were registered.
    pub functions: Vec<Function>,
}

/// A function of a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name, as it was registered; calls may write it in any case.
    pub name: Bytes,
    /// What it is for.
    pub description: Option<Bytes>,
    /// How it may be called.
    pub flags: Vec<Flag>,
}

/// The name of a script: the SHA-1 of its text.
pub type Digest = [u8; 20];

/// The name of a script.
pub fn digest(code: &[u8]) -> Digest {
    use sha1::Digest as _;
    sha1::Sha1::digest(code).into()
}

/// The name of a script as clients write it.
pub fn hex(digest: &Digest) -> String {
    use std::fmt::Write as _;
    digest
        .iter()
        .fold(String::with_capacity(40), |mut hex, byte| {
            // Writing to a string never fails.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// The name that these words mean, in either case.
pub fn parse_hex(word: &[u8]) -> Option<Digest> {
    let mut digest = [0; 20];
    if word.len() != 40 {
        return None;
    }
    for (byte, digits) in digest.iter_mut().zip(word.chunks(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        // A sign would be read, too.
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(digest)
}
