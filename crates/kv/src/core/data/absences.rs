//! Since when keys are not there: a key that was watched while it was missing, made and removed
//! again has been changed, though it is missing as before.
//!
//! What is kept is small and may say "later" than is true, for keys that share a bucket, but
//! never "earlier": a watcher is told of a change that was none at worst, and tries again. It is a
//! part of the state, for watched keys are compared when entries are applied.

use std::collections::BTreeMap;

/// So many groups the keys of a partition fall into.
const BUCKETS: usize = 64;
/// Of so many keys that go together each is noted; of more it is noted that any may have gone.
pub(in crate::core) const NOTED_MAX: usize = 256;

/// The group of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) struct Bucket(u8);

impl Bucket {
    /// By FNV-1a (Fowler, Noll and Vo, as in RFC 9923), which is the same everywhere.
    pub(in crate::core) fn of(database: usize, key: &[u8]) -> Bucket {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ database as u64;
        for byte in key {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let folded = (hash >> 32) ^ hash;
        Bucket((folded % BUCKETS as u64).to_le_bytes()[0])
    }
}

/// The entries of the log that removed keys last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Absences {
    /// By database, where any of its keys may have been changed or removed.
    whole: BTreeMap<usize, u64>,
    /// By group; empty as long as nothing was removed.
    buckets: Vec<u64>,
}

impl Absences {
    pub(in crate::core) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.buckets.is_empty()
    }

    /// An entry removed a key of this group.
    pub(in crate::core) fn note(&mut self, bucket: Bucket, index: u64) {
        self.buckets.resize(BUCKETS, 0);
        self.buckets[usize::from(bucket.0)] = index;
    }

    /// An entry may have changed all keys of a database.
    pub(in crate::core) fn note_all(&mut self, database: usize, index: u64) {
        self.whole.insert(database, index);
    }

    /// When all of a database was changed last.
    pub(in crate::core) fn whole(&self, database: usize) -> u64 {
        self.whole.get(&database).copied().unwrap_or_default()
    }

    /// Since when a key that is not there is not, or a later entry.
    pub(in crate::core) fn since(&self, database: usize, key: &[u8]) -> u64 {
        let bucket = usize::from(Bucket::of(database, key).0);
        let noted = self.buckets.get(bucket).copied().unwrap_or_default();
        noted.max(self.whole(database))
    }

    /// What there is to write down: by database, and by group.
    pub(in crate::core) fn parts(&self) -> (&BTreeMap<usize, u64>, &[u64]) {
        (&self.whole, &self.buckets)
    }

    /// The same, read; none, if these can't be.
    pub(in crate::core) fn of(whole: BTreeMap<usize, u64>, buckets: Vec<u64>) -> Option<Absences> {
        let fits = buckets.is_empty() || buckets.len() == BUCKETS;
        fits.then_some(Absences { whole, buckets })
    }
}
