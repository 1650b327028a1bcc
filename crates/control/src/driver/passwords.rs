//! Passwords and bearer tokens. Hashing is slow on purpose, so it happens on threads of its
//! own, and never where a command is applied.

use std::collections::HashMap;

use argon2::{
    Argon2, PasswordHasher as _, PasswordVerifier as _, password_hash::phc::PasswordHash,
};
use atoll_world::{random, task};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;

/// Passwords hashed or checked at a time: each takes 19 MiB and tens of milliseconds.
const HASHING_MAX: usize = 2;

/// Random bytes in a bearer token.
const TOKEN_BYTES: usize = 24;

static HASHING: Semaphore = Semaphore::const_new(HASHING_MAX);

/// The argon2id hash of a password, as a PHC string.
pub(crate) async fn hash(password: String) -> Option<String> {
    let _slot = HASHING.acquire().await.ok()?;
    task::blocking(move || {
        let mut salt = [0; 16];
        random::fill(&mut salt);
        let hash = Argon2::default()
            .hash_password_with_salt(password.as_bytes(), &salt)
            .ok()?;
        Some(hash.to_string())
    })
    .await
}

/// Whether the password is the one that was hashed. A hash of another form never matches.
pub(crate) async fn verify(password: String, hash: String) -> bool {
    let Ok(_slot) = HASHING.acquire().await else {
        return false;
    };
    task::blocking(move || {
        PasswordHash::new(&hash).is_ok_and(|hash| {
            Argon2::default()
                .verify_password(password.as_bytes(), &hash)
                .is_ok()
        })
    })
    .await
}

/// A new bearer token.
pub(crate) fn new_token() -> String {
    let mut bytes = [0; TOKEN_BYTES];
    random::fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What the cluster keeps of a token.
pub(crate) fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Passwords that may be remembered.
const VERIFIED_MAX: usize = 10_000;

/// Passwords that were right, so that many connections with the same one need not wait for each
/// other. What is kept of them is a digest under a key of this process; wrong ones are not
/// kept, so that guessing stays as slow as it is made to be.
pub(crate) struct Verified {
    key: [u8; 32],
    /// By user: the stored hash that it was checked against, and the digest.
    known: Mutex<HashMap<String, (Bytes, [u8; 32])>>,
}

impl Default for Verified {
    fn default() -> Verified {
        let mut key = [0; 32];
        random::fill(&mut key);
        Verified {
            key,
            known: Mutex::default(),
        }
    }
}

impl Verified {
    fn digest(&self, password: &str) -> [u8; 32] {
        let keyed = Sha256::new().chain_update(self.key);
        keyed.chain_update(password).finalize().into()
    }

    /// Whether this was the user's password while this was what is stored of it.
    pub(crate) fn knows(&self, name: &str, stored: &Bytes, password: &str) -> bool {
        let known = self.known.lock();
        let fits = |(of, digest): &(Bytes, [u8; 32])| {
            of == stored && bool::from(digest.ct_eq(&self.digest(password)))
        };
        known.get(name).is_some_and(fits)
    }

    /// It is.
    pub(crate) fn note(&self, name: &str, stored: Bytes, password: &str) {
        let mut known = self.known.lock();
        if known.len() >= VERIFIED_MAX && !known.contains_key(name) {
            known.clear();
        }
        known.insert(name.to_owned(), (stored, self.digest(password)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_passwords_are_known_while_they_are_stored() {
        let verified = Verified::default();
        let (old, new) = (Bytes::from("old"), Bytes::from("new"));
        assert!(!verified.knows("ann", &old, "secret"));
        verified.note("ann", old.clone(), "secret");
        assert!(verified.knows("ann", &old, "secret"));
        assert!(!verified.knows("ann", &old, "other"));
        assert!(!verified.knows("ann", &new, "secret"));
        assert!(!verified.knows("bob", &old, "secret"));
        verified.note("ann", new.clone(), "other");
        assert!(verified.knows("ann", &new, "other"));
        assert!(!verified.knows("ann", &old, "secret"));
        for user in 0..VERIFIED_MAX + 1 {
            verified.note(&user.to_string(), old.clone(), "secret");
        }
        assert!(verified.known.lock().len() <= VERIFIED_MAX);
        assert!(verified.knows(&VERIFIED_MAX.to_string(), &old, "secret"));
    }
}
