//! What values take of the heap.
//!
//! Figures are those of what a value asks the allocator for, rounded as glibc's rounds: near
//! enough to say when a node is full, and the same wherever a value is looked at. Each takes
//! constant time, or looks at a few samples (Redis: "MEMORY USAGE"), because it is asked before
//! and after every change.

/// What the allocator keeps in front of what it gives.
const HEADER_BYTES: usize = 8;
/// What it gives begins at multiples of this.
const ALIGNMENT_BYTES: usize = 16;
/// It never gives less, its header included.
const ALLOCATION_BYTES_MIN: usize = 32;
/// A node of a tree of the standard library is filled to about two thirds, and knows its parent.
const TREE_FRACTION: (usize, usize) = (3, 2);

/// Redis's default for `MEMORY USAGE`'s SAMPLES, and how many parts of a large value are looked
/// at to say how large it is.
pub const SAMPLES: usize = 5;

/// What an allocation of so many bytes takes; nothing where there is none.
pub(super) fn allocation_bytes(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        some => some
            .saturating_add(HEADER_BYTES)
            .checked_next_multiple_of(ALIGNMENT_BYTES)
            .unwrap_or(usize::MAX)
            .max(ALLOCATION_BYTES_MIN),
    }
}

/// What entries of so many bytes take in a tree of the standard library.
pub(super) fn tree_bytes(entries: usize, entry_bytes: usize) -> usize {
    entries.saturating_mul(entry_bytes) / TREE_FRACTION.1 * TREE_FRACTION.0
}

/// What so many parts take, judged by some of them.
pub(super) fn sampled_bytes(parts: usize, samples: impl Iterator<Item = usize>) -> usize {
    let (mut count, mut bytes) = (0_usize, 0_usize);
    for sample in samples {
        count += 1;
        bytes = bytes.saturating_add(sample);
    }
    match count {
        0 => 0,
        count if count >= parts => bytes,
        count => {
            let all = bytes as u128 * parts as u128 / count as u128;
            usize::try_from(all).unwrap_or(usize::MAX)
        }
    }
}

/// What takes some of the heap, apart from its own place.
pub trait Heap {
    /// How much of the heap it takes, in bytes.
    fn heap_bytes(&self) -> usize;
}

/// Makes types that take nothing of the heap.
macro_rules! heapless {
    ($($type:ty),*) => {
        $(impl Heap for $type {
            fn heap_bytes(&self) -> usize {
                0
            }
        })*
    };
}

heapless!((), u64, f64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_are_rounded_up() {
        for (asked, taken) in [
            (0, 0),
            (1, 32),
            (24, 32),
            (25, 48),
            (64, 80),
            (usize::MAX, usize::MAX),
        ] {
            assert_eq!(allocation_bytes(asked), taken, "{asked}");
        }
    }

    #[test]
    fn samples_stand_for_all() {
        assert_eq!(sampled_bytes(10, [].into_iter()), 0);
        assert_eq!(sampled_bytes(2, [3, 5].into_iter()), 8);
        assert_eq!(sampled_bytes(10, [3, 5].into_iter()), 40);
    }
}
