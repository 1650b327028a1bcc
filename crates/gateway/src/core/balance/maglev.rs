//! Consistent hashing by a table: "Maglev: A Fast and Reliable Software Network Load Balancer"
//! (NSDI 2016), section 3.4, with weights.
//!
//! Every endpoint has its own permutation of the table's slots and they take slots in turns
//! until all are taken, so each has its share within a fraction of a percent, and an endpoint
//! that comes or goes moves hardly more than its own share. The table depends on identities
//! and weights only: every gateway has the same. An endpoint that is not usable now keeps its
//! slots; only its keys go elsewhere, by hashing again.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Candidates, Member};

/// Slots of the table: a prime, 16 for each of the most endpoints there may be.
const SLOTS: usize = 65_537;
/// How often a key is hashed again before the endpoints are gone through in order.
const REHASHES_MAX: u64 = 8;
/// Seeds of the two hashes that a permutation is made of, and of keys.
const OFFSET_SEED: u64 = 1;
const SKIP_SEED: u64 = 2;
const KEY_SEED: u64 = 3;

/// Which endpoint has which slot.
#[derive(Debug)]
pub(super) struct Maglev(Vec<u16>);

impl Maglev {
    pub(super) fn new(members: &[Member]) -> Self {
        let mut turns: Vec<Turn> = members
            .iter()
            .enumerate()
            .filter(|(_, member)| member.weight > 0)
            .map(|(place, member)| Turn::new(place, member))
            .collect();
        // Who comes first in a turn must not depend on the order in which they were named.
        turns.sort_by_key(|turn| turn.identity);
        let Some(heaviest) = turns.iter().map(|turn| turn.weight).max() else {
            return Maglev(Vec::new());
        };
        let mut slots = vec![u16::MAX; SLOTS];
        let mut left = SLOTS;
        while left > 0 {
            for turn in &mut turns {
                turn.credit += turn.weight;
                if turn.credit < heaviest || left == 0 {
                    continue;
                }
                turn.credit -= heaviest;
                let slot = turn.next_free(&slots);
                slots[slot] = turn.place;
                left -= 1;
            }
        }
        Maglev(slots)
    }

    pub(super) fn pick(&self, candidates: &impl Candidates, key: u64) -> Option<usize> {
        if self.0.is_empty() {
            return None;
        }
        let mut hash = key;
        for _ in 0..REHASHES_MAX {
            let place = usize::from(self.0[(hash % SLOTS as u64) as usize]);
            if candidates.is_usable(place) {
                return Some(place);
            }
            hash = xxh3_64_with_seed(&hash.to_le_bytes(), KEY_SEED);
        }
        let count = candidates.count();
        let start = (hash % count as u64) as usize;
        let mut places = (start..count).chain(0..start);
        places.find(|place| candidates.is_usable(*place))
    }
}

/// One endpoint while the table is filled.
struct Turn {
    place: u16,
    identity: u64,
    weight: u64,
    credit: u64,
    slot: usize,
    skip: usize,
}

impl Turn {
    fn new(place: usize, member: &Member) -> Self {
        let bytes = member.identity.to_le_bytes();
        let offset = xxh3_64_with_seed(&bytes, OFFSET_SEED) % SLOTS as u64;
        let skip = xxh3_64_with_seed(&bytes, SKIP_SEED) % (SLOTS as u64 - 1) + 1;
        Turn {
            place: u16::try_from(place).expect("a checked config has few enough endpoints"),
            identity: member.identity,
            weight: u64::from(member.weight),
            credit: 0,
            slot: offset as usize,
            skip: skip as usize,
        }
    }

    fn next_free(&mut self, slots: &[u16]) -> usize {
        while slots[self.slot] != u16::MAX {
            self.slot = (self.slot + self.skip) % SLOTS;
        }
        self.slot
    }
}
