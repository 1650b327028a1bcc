//! Passwords and bearer tokens. Hashing is slow on purpose, so it happens on threads of its
//! own, and never where a command is applied.

use argon2::{
    Argon2, PasswordHasher as _, PasswordVerifier as _, password_hash::phc::PasswordHash,
};
use atoll_world::{random, task};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
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
