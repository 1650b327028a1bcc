//! What a node's hot data takes, what it may take, and what goes when it is too much (Redis:
//! "Key eviction"). Shared by whoever holds data and whoever is asked about it.
//!
//! Counted is everything that is held here, owned or not. Only what is owned here can be
//! evicted here: what owners evict goes from all replicas, and a node that only holds copies
//! gets room by its partitions' owners, or not at all.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
};

use crate::core::{data::Uses, evict::Policy};

/// What an operator may tune.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tuning {
    /// `maxmemory`: so much may be taken, in bytes; anything, if 0.
    BytesMax,
    /// `maxmemory-policy`, as a place in Redis's list.
    Policy,
    /// `maxmemory-samples`
    Samples,
    /// `lfu-log-factor`
    LogFactor,
    /// `lfu-decay-time`, in minutes.
    DecayMinutes,
}

const TUNINGS: usize = 5;

/// What a node begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemorySettings {
    /// So much may be taken, in bytes; anything, if 0.
    pub bytes_max: u64,
    /// What goes when it is too much.
    pub policy: Policy,
}

/// What a node's hot data takes. Clones are the same.
#[derive(Clone)]
pub struct Memory(Arc<Inner>);

struct Inner {
    tuned: [AtomicU64; TUNINGS],
    /// Rises with every change of what is tuned.
    changes: AtomicU64,
    used_bytes: AtomicI64,
    peak_bytes: AtomicI64,
    /// What evictions will free that are on their way.
    leaving_bytes: AtomicI64,
    keys: AtomicI64,
    evicted_keys: AtomicU64,
    /// Shards that found nothing to evict.
    barren: AtomicUsize,
}

fn positive(bytes: &AtomicI64) -> u64 {
    // One shard may have told what went before another told what came.
    u64::try_from(bytes.load(Ordering::Relaxed)).unwrap_or(0)
}

impl Memory {
    /// Nothing is held yet.
    pub fn new(settings: MemorySettings) -> Memory {
        let memory = Memory(Arc::new(Inner {
            tuned: [const { AtomicU64::new(0) }; TUNINGS],
            changes: AtomicU64::new(0),
            used_bytes: AtomicI64::new(0),
            peak_bytes: AtomicI64::new(0),
            leaving_bytes: AtomicI64::new(0),
            keys: AtomicI64::new(0),
            evicted_keys: AtomicU64::new(0),
            barren: AtomicUsize::new(0),
        }));
        memory.tune(Tuning::BytesMax, settings.bytes_max);
        memory.tune(Tuning::Policy, settings.policy.place());
        memory.tune(Tuning::Samples, 5);
        memory.tune(Tuning::LogFactor, 10);
        memory.tune(Tuning::DecayMinutes, 1);
        memory
    }

    /// What is tuned, as a number.
    pub fn tuned(&self, tuning: Tuning) -> u64 {
        self.0.tuned[tuning as usize].load(Ordering::Relaxed)
    }

    /// Tunes.
    pub fn tune(&self, tuning: Tuning, value: u64) {
        self.0.tuned[tuning as usize].store(value, Ordering::Relaxed);
        self.0.changes.fetch_add(1, Ordering::Release);
    }

    /// What goes when there is too much.
    pub fn policy(&self) -> Policy {
        Policy::at(self.tuned(Tuning::Policy))
    }

    /// How much all that is held here takes, in bytes.
    pub fn used_bytes(&self) -> u64 {
        positive(&self.0.used_bytes)
    }

    /// The most that it ever took, in bytes.
    pub fn peak_bytes(&self) -> u64 {
        positive(&self.0.peak_bytes)
    }

    /// How many keys are held here.
    pub fn keys(&self) -> u64 {
        positive(&self.0.keys)
    }

    /// How many keys were evicted that are owned here.
    pub fn evicted_keys(&self) -> u64 {
        self.0.evicted_keys.load(Ordering::Relaxed)
    }

    /// Counts evicted keys anew.
    pub fn reset_evicted_keys(&self) {
        self.0.evicted_keys.store(0, Ordering::Relaxed);
    }

    /// A number that is another one after every change of what is tuned.
    pub(crate) fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Acquire)
    }

    /// What is to be noted of the use of keys.
    pub(crate) fn uses(&self) -> Uses {
        let number = |tuning| u32::try_from(self.tuned(tuning)).unwrap_or(u32::MAX);
        match self.policy().counts_uses() {
            true => Uses::Frequency {
                log_factor: number(Tuning::LogFactor),
                decay_minutes: number(Tuning::DecayMinutes),
            },
            false => Uses::Last,
        }
    }

    /// Some of what is held here takes so much more, and is so many more keys.
    pub(crate) fn grew(&self, bytes: i64, keys: i64) {
        self.0.keys.fetch_add(keys, Ordering::Relaxed);
        let before = self.0.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        let peak_bytes = &self.0.peak_bytes;
        peak_bytes.fetch_max(before + bytes, Ordering::Relaxed);
    }

    /// So much more will be freed by evictions that are on their way.
    pub(crate) fn leaves(&self, bytes: i64) {
        self.0.leaving_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many keys were evicted.
    pub(crate) fn evicted(&self, keys: u64) {
        self.0.evicted_keys.fetch_add(keys, Ordering::Relaxed);
    }

    /// Whether more is held than may be.
    pub(crate) fn is_exceeded(&self) -> bool {
        let bytes_max = self.tuned(Tuning::BytesMax);
        bytes_max > 0 && self.used_bytes() > bytes_max
    }

    /// How much too much is held, what is on its way out not counted.
    pub(crate) fn excess_bytes(&self) -> u64 {
        let leaving_bytes = positive(&self.0.leaving_bytes);
        let kept_bytes = self.used_bytes().saturating_sub(leaving_bytes);
        match self.tuned(Tuning::BytesMax) {
            0 => 0,
            bytes_max => kept_bytes.saturating_sub(bytes_max),
        }
    }

    /// One more shard found nothing to evict, or one less.
    pub(crate) fn set_barren(&self, is_barren: bool) {
        let barren = &self.0.barren;
        match is_barren {
            true => barren.fetch_add(1, Ordering::Relaxed),
            false => barren.fetch_sub(1, Ordering::Relaxed),
        };
    }

    /// Whether what may need memory is refused, where there are so many shards: too much is held,
    /// and nothing goes.
    pub(crate) fn is_full(&self, shards: usize) -> bool {
        self.is_exceeded() && (!self.policy().evicts() || self.is_barren(shards))
    }

    /// Whether none of so many shards found anything to evict.
    pub(crate) fn is_barren(&self, shards: usize) -> bool {
        self.0.barren.load(Ordering::Relaxed) >= shards
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_told() {
        let memory = Memory::new(MemorySettings {
            bytes_max: 100,
            policy: Policy::AllKeysLfu,
        });
        memory.grew(150, 3);
        memory.grew(-20, -1);
        assert_eq!((memory.used_bytes(), memory.peak_bytes()), (130, 150));
        assert_eq!(memory.keys(), 2);
        assert!(memory.is_exceeded());
        assert_eq!(memory.excess_bytes(), 30);
        memory.leaves(20);
        assert_eq!(memory.excess_bytes(), 10);
        memory.leaves(-20);
        let changes = memory.changes();
        memory.tune(Tuning::BytesMax, 0);
        assert_ne!(memory.changes(), changes);
        assert!(!memory.is_exceeded());
        assert_eq!(memory.excess_bytes(), 0);
        let counted = Uses::Frequency {
            log_factor: 10,
            decay_minutes: 1,
        };
        assert_eq!(memory.uses(), counted);
        memory.tune(Tuning::Policy, Policy::NoEviction.place());
        assert_eq!(memory.uses(), Uses::Last);
        memory.grew(-200, -5);
        assert_eq!((memory.used_bytes(), memory.keys()), (0, 0));
    }
}
