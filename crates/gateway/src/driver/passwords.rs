//! Passwords of clients. To check one takes long on purpose, so it happens on threads of its
//! own, few at a time, and what was right once is remembered: by a hash of the password, the
//! list's entry and a secret of this process.

use std::{collections::BTreeSet, sync::Arc};

use atoll_world::{random, task};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use crate::core::{basic::Users, breaker::Gauge};

/// Passwords checked at a time.
const CHECKING_MAX: usize = 2;
/// Requests that wait for that; more are refused.
const WAITING_MAX: u32 = 64;
/// Passwords that are remembered.
const REMEMBERED_MAX: usize = 4_096;

/// Checks passwords.
#[derive(Debug)]
pub(crate) struct Passwords {
    secret: [u8; 32],
    remembered: Mutex<BTreeSet<[u8; 32]>>,
    checking: Arc<Semaphore>,
    waiting: Gauge,
}

impl Default for Passwords {
    fn default() -> Self {
        let mut secret = [0; 32];
        random::fill(&mut secret);
        Passwords {
            secret,
            remembered: Mutex::default(),
            checking: Arc::new(Semaphore::new(CHECKING_MAX)),
            waiting: Gauge::default(),
        }
    }
}

impl Passwords {
    /// Whether it is the user's; `None`: too many wait to hear the same.
    pub(crate) async fn check(&self, users: &Users, name: &str, password: String) -> Option<bool> {
        let known = users.hash(name);
        let hash = known.unwrap_or_else(|| users.some_hash()).to_owned();
        let mark = self.mark(&hash, &password);
        if known.is_some() && self.remembered.lock().contains(&mark) {
            return Some(true);
        }
        let _waiting = self.waiting.take(WAITING_MAX)?;
        let turn = self.checking.clone().acquire_owned().await.ok()?;
        let verify = move || {
            // Until it is done, even if whoever asked is gone.
            let _turn = turn;
            bcrypt::verify(password, &hash).unwrap_or(false)
        };
        let is_right = task::blocking(verify).await && known.is_some();
        if is_right {
            let mut remembered = self.remembered.lock();
            if remembered.len() == REMEMBERED_MAX {
                remembered.clear();
            }
            remembered.insert(mark);
        }
        Some(is_right)
    }

    fn mark(&self, hash: &str, password: &str) -> [u8; 32] {
        let digest = Sha256::new()
            .chain_update(self.secret)
            // All hashes are of the same length.
            .chain_update(hash)
            .chain_update(password);
        digest.finalize().into()
    }
}
