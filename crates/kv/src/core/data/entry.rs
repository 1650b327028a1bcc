//! What belongs to a key.

use std::fmt;

use super::{Heap, Milliseconds, SAMPLES, Value};

/// Bits of an entry's mark that say when it was used.
const USE_BITS: u32 = 24;
/// So many versions are told apart. Two places in a log that are this far from each other have
/// the same version; nobody watches a key for so long that it would matter: at a million entries
/// a second it takes twelve days, at Redis's speeds, on one partition, months.
const VERSIONS: u64 = (1 << (u64::BITS - USE_BITS)) - 1;

/// When a key was used, or how often: 24 bits, as the keyspace's policy reads them (see
/// [`uses`](super::uses)). Every node keeps its own: it is no part of what replicas agree on,
/// and is not compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used(u32);

impl Used {
    /// The lower 24 bits of a number.
    pub fn new(bits: u32) -> Self {
        Used(bits & ((1 << USE_BITS) - 1))
    }

    /// A number of 24 bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

/// What belongs to a key. As narrow as can be: there are as many as there are keys.
#[derive(Clone)]
pub struct Entry {
    /// The value.
    pub value: Value,
    /// When the key ends; the last moment of all is never.
    ends_at_ms: Milliseconds,
    /// The version, and when the key was used.
    mark: u64,
}

impl Entry {
    /// A value that ends or doesn't, of a version (see [`version`](Self::version)); it was never
    /// used.
    pub fn new(value: Value, expires_at_ms: Option<Milliseconds>, version: u64) -> Self {
        let mut entry = Entry {
            value,
            ends_at_ms: Milliseconds::MAX,
            mark: 0,
        };
        entry.expire_at(expires_at_ms);
        entry.set_version(version);
        entry
    }

    /// When the key ends; never, if none.
    pub fn expires_at_ms(&self) -> Option<Milliseconds> {
        (self.ends_at_ms != Milliseconds::MAX).then_some(self.ends_at_ms)
    }

    pub(super) fn expire_at(&mut self, at_ms: Option<Milliseconds>) {
        self.ends_at_ms = at_ms.unwrap_or(Milliseconds::MAX);
    }

    /// Whether the key has ended: only after its last millisecond, as in Redis.
    pub fn has_ended(&self, now_ms: Milliseconds) -> bool {
        self.ends_at_ms < now_ms
    }

    /// Another one whenever the key was changed, for WATCH: it stands for the place of the last
    /// change in the partition's log, and is never 0.
    pub fn version(&self) -> u64 {
        self.mark >> USE_BITS
    }

    pub(super) fn set_version(&mut self, version: u64) {
        let version = match version {
            0 => 0,
            some => (some - 1) % VERSIONS + 1,
        };
        self.mark = version << USE_BITS | u64::from(self.used().bits());
    }

    /// When it was used.
    pub fn used(&self) -> Used {
        // The lower half holds all of it.
        Used::new(self.mark as u32)
    }

    pub(in crate::core) fn set_used(&mut self, used: Used) {
        self.mark = self.version() << USE_BITS | u64::from(used.bits());
    }
}

/// All but the use of the key, which replicas don't agree on.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("value", &self.value)
            .field("expires_at_ms", &self.expires_at_ms())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

impl Heap for Entry {
    fn heap_bytes(&self) -> usize {
        self.value.heap_bytes(SAMPLES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::data::{Kind as _, RedisString};

    #[test]
    fn versions_and_uses_share_a_word() {
        let value = RedisString::Integer(1).into_value();
        let mut entry = Entry::new(value, None, 7);
        assert_eq!((entry.version(), entry.used().bits()), (7, 0));
        entry.set_used(Used::new(u32::MAX));
        assert_eq!((entry.version(), entry.used().bits()), (7, 0xff_ffff));
        for (version, kept) in [
            (0, 0),
            (1, 1),
            (VERSIONS, VERSIONS),
            (VERSIONS + 1, 1),
            (u64::MAX, (u64::MAX - 1) % VERSIONS + 1),
        ] {
            entry.set_version(version);
            assert_eq!(entry.version(), kept);
            // A snapshot brings it back as it is.
            entry.set_version(kept);
            assert_eq!((entry.version(), entry.used().bits()), (kept, 0xff_ffff));
        }
    }

    #[test]
    fn ends_are_as_they_were_given() {
        let mut entry = Entry::new(RedisString::Integer(1).into_value(), Some(0), 1);
        assert_eq!(entry.expires_at_ms(), Some(0));
        assert!(entry.has_ended(1) && !entry.has_ended(0));
        entry.expire_at(None);
        assert_eq!(entry.expires_at_ms(), None);
        assert!(!entry.has_ended(Milliseconds::MAX));
    }
}
