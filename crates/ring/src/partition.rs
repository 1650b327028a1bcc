//! The cluster's data in equal parts of consecutive slots. Their number is chosen when the
//! cluster is made; after that no boundary ever moves, so a partition can be replicated,
//! snapshotted and moved as one thing.

use std::ops::RangeInclusive;

use atoll_base::id::PartitionId;
use thiserror::Error;

use crate::slot::{SLOTS, Slot};

/// The most partitions that a cluster can have.
pub const PARTITIONS_MAX: u16 = 1_024;

/// How many partitions a cluster gets when nobody says otherwise.
pub const PARTITIONS_DEFAULT: u16 = 1_024;

/// How many partitions a cluster has, and with that, where each begins.
///
/// Partition `p` of `n` holds the slots from `⌈16384 p / n⌉` to just before
/// `⌈16384 (p + 1) / n⌉`, so sizes differ by one at most where `n` does not divide the slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partitions {
    count: u16,
}

/// Why there is no such cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PartitionError {
    /// The number asked for is out of range.
    #[error("a cluster has 1 to {PARTITIONS_MAX} partitions, not {count}")]
    Count {
        /// The number asked for.
        count: u16,
    },
}

impl Default for Partitions {
    fn default() -> Self {
        Self {
            count: PARTITIONS_DEFAULT,
        }
    }
}

impl Partitions {
    /// So many partitions.
    ///
    /// # Errors
    /// When it is none, or more than [`PARTITIONS_MAX`].
    pub const fn new(count: u16) -> Result<Self, PartitionError> {
        if count == 0 || count > PARTITIONS_MAX {
            return Err(PartitionError::Count { count });
        }
        Ok(Self { count })
    }

    /// How many there are.
    pub const fn count(self) -> u16 {
        self.count
    }

    /// All of them, in order.
    pub fn ids(self) -> impl DoubleEndedIterator<Item = PartitionId> + ExactSizeIterator {
        (0..self.count).map(PartitionId)
    }

    /// Whether there is such a partition.
    pub const fn contains(self, partition: PartitionId) -> bool {
        partition.0 < self.count
    }

    /// The partition that a slot belongs to.
    pub const fn of_slot(self, slot: Slot) -> PartitionId {
        PartitionId((slot.number() as u32 * self.count as u32 / SLOTS as u32) as u16)
    }

    /// The partition that a key belongs to.
    pub fn of_key(self, key: &[u8]) -> PartitionId {
        self.of_slot(Slot::of_key(key))
    }

    /// The numbers of the slots of a partition; `None` if there is no such partition.
    pub fn slots(self, partition: PartitionId) -> Option<RangeInclusive<u16>> {
        self.contains(partition)
            .then(|| self.begin(partition.0)..=self.begin(partition.0 + 1) - 1)
    }

    const fn begin(self, number: u16) -> u16 {
        (number as u32 * SLOTS as u32).div_ceil(self.count as u32) as u16
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_count_out_of_range_is_refused() {
        assert_eq!(Partitions::new(0), Err(PartitionError::Count { count: 0 }));
        assert_eq!(
            Partitions::new(1_025).map_err(|error| error.to_string()),
            Err("a cluster has 1 to 1024 partitions, not 1025".to_owned())
        );
    }

    #[test]
    fn the_usual_cut_is_of_sixteen_slots_each() {
        let partitions = Partitions::default();
        assert_eq!(partitions.slots(PartitionId(0)), Some(0..=15));
        assert_eq!(partitions.slots(PartitionId(1_023)), Some(16_368..=16_383));
        assert_eq!(partitions.slots(PartitionId(1_024)), None);
        assert_eq!(partitions.of_key(b"foo"), PartitionId(12_182 / 16));
    }

    proptest! {
        #[test]
        fn every_slot_is_in_the_one_partition_that_says_so(count in 1..=PARTITIONS_MAX) {
            let partitions = Partitions::new(count).unwrap();
            let mut next = 0;
            for partition in partitions.ids() {
                let slots = partitions.slots(partition).unwrap();
                prop_assert_eq!(*slots.start(), next, "no gap, no overlap");
                let size = slots.len();
                let even = usize::from(SLOTS / count);
                prop_assert!(size == even || size == even + 1, "{} slots", size);
                for slot in [*slots.start(), *slots.end()] {
                    prop_assert_eq!(partitions.of_slot(Slot::new(slot).unwrap()), partition);
                }
                next = slots.end() + 1;
            }
            prop_assert_eq!(next, SLOTS);
        }
    }
}
