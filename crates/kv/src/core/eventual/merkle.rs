//! What a replica holds, as a tree of digests: two replicas find what differs between them by
//! telling each other few of them (Merkle, "A digital signature based on a conventional
//! encryption function", 1987; for replicas DeCandia and others, "Dynamo", 2007, section 4.7).
//!
//! A key's place is its hash; the tree has [`FAN_OUT`] children at each node and
//! [`DEPTH`] levels below the root, so its leaves are ranges of hashes. A leaf's digest is the
//! sum of its keys' digests (an additive multiset hash, Bellare and Micciancio 1997), so that a
//! change of one key is one subtraction and one addition, and a leaf keeps nothing else: its
//! keys are found by their hashes. A node's digest is the hash of its children's. The hashes
//! are quick ones: they find differences, and withstand no forgery, but a peer that lies about
//! its digests could lie about its data as well.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Children of a node.
pub const FAN_OUT: usize = 16;
/// Levels below the root. A tree takes 2 KiB, and a node keeps one for each partition that holds
/// anything.
pub const DEPTH: u8 = 2;
/// Leaves.
pub const LEAVES: usize = FAN_OUT.pow(DEPTH as u32);
/// Bits of a hash that lead down one level.
const LEVEL_BITS: u32 = FAN_OUT.ilog2();
/// Bits of a hash below those that say which leaf it is in.
const LEAF_BITS: u32 = u64::BITS - LEVEL_BITS * DEPTH as u32;

/// A key's place.
pub fn place_of(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// What a key and its item's digest add to a leaf.
pub fn key_digest(place: u64, item_digest: u64) -> u64 {
    xxh3_64_with_seed(&place.to_le_bytes(), item_digest)
}

/// A node: its level, 0 being the root's, and its number within the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// Levels above it.
    pub level: u8,
    /// From left to right.
    pub index: u16,
}

impl Node {
    /// The whole tree.
    pub const ROOT: Node = Node { level: 0, index: 0 };

    /// Whether there is such a node.
    pub fn is_there(self) -> bool {
        self.level <= DEPTH && usize::from(self.index) < width(self.level)
    }

    /// Whether it has no children.
    pub fn is_leaf(self) -> bool {
        self.level == DEPTH
    }

    /// Its children, if it is no leaf.
    pub fn children(self) -> impl Iterator<Item = Node> {
        let first = usize::from(self.index) * FAN_OUT;
        (first..first + FAN_OUT).map(move |index| Node {
            level: self.level + 1,
            index: index as u16,
        })
    }

    /// The places in a leaf: the first and the last.
    pub fn places(self) -> (u64, u64) {
        let first = u64::from(self.index) << LEAF_BITS;
        (first, first | ((1 << LEAF_BITS) - 1))
    }
}

/// Nodes of a level.
fn width(level: u8) -> usize {
    FAN_OUT.pow(level.into())
}

/// The tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// The digests of each level, from the root's on; without room while there is no key.
    levels: Vec<Vec<u64>>,
}

impl Tree {
    /// A key's part of its leaf was `before` and is `after`; 0 where there is no such key.
    pub fn change(&mut self, place: u64, before: u64, after: u64) {
        if before == after {
            return;
        }
        if self.levels.is_empty() {
            self.levels = (0..=DEPTH).map(|level| vec![0; width(level)]).collect();
        }
        let mut index = (place >> LEAF_BITS) as usize;
        let leaf = &mut self.levels[usize::from(DEPTH)][index];
        *leaf = leaf.wrapping_sub(before).wrapping_add(after);
        for level in (0..usize::from(DEPTH)).rev() {
            index /= FAN_OUT;
            let children = &self.levels[level + 1][index * FAN_OUT..(index + 1) * FAN_OUT];
            self.levels[level][index] = digest(children);
        }
    }

    /// A node's digest. The node is there.
    pub fn digest(&self, node: Node) -> u64 {
        let level = self.levels.get(usize::from(node.level));
        level.map_or(0, |level| level[usize::from(node.index)])
    }

    /// Those of a node's children. The node is there and no leaf.
    pub fn children(&self, node: Node) -> [u64; FAN_OUT] {
        let mut digests = [0; FAN_OUT];
        for (digest, child) in digests.iter_mut().zip(node.children()) {
            *digest = self.digest(child);
        }
        digests
    }
}

/// Of nothing it is 0, so that an empty tree is the same as one that became empty.
fn digest(children: &[u64]) -> u64 {
    if children.iter().all(|child| *child == 0) {
        return 0;
    }
    let mut bytes = [0; FAN_OUT * size_of::<u64>()];
    for (to, child) in bytes.chunks_exact_mut(size_of::<u64>()).zip(children) {
        to.copy_from_slice(&child.to_le_bytes());
    }
    xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// The leaves that differ, level by level, and how many nodes were looked at.
    fn differing(one: &Tree, other: &Tree) -> (Vec<Node>, usize) {
        let mut level = vec![Node::ROOT];
        let mut looked = 0;
        for _ in 0..DEPTH {
            looked += level.len();
            level.retain(|node| one.digest(*node) != other.digest(*node));
            level = level.into_iter().flat_map(Node::children).collect();
        }
        looked += level.len();
        level.retain(|node| one.digest(*node) != other.digest(*node));
        (level, looked)
    }

    fn tree(keys: &BTreeMap<u64, u64>) -> Tree {
        let mut tree = Tree::default();
        for (place, item) in keys {
            tree.change(*place, 0, key_digest(*place, *item));
        }
        tree
    }

    #[test]
    fn leaves_are_ranges_that_cover_all_places() {
        let mut next = 0;
        for index in 0..LEAVES {
            let leaf = Node {
                level: DEPTH,
                index: index as u16,
            };
            let (first, last) = leaf.places();
            assert_eq!(first, next);
            next = last.wrapping_add(1);
        }
        assert_eq!(next, 0);
    }

    #[test]
    fn one_difference_is_found_by_few_looks() {
        let keys: BTreeMap<u64, u64> = (0..10_000)
            .map(|at| (place_of(&[at as u8, (at >> 8) as u8]), at))
            .collect();
        let mut other = keys.clone();
        let place = *keys.keys().nth(777).expect("many");
        other.insert(place, u64::MAX);
        let (found, looked) = differing(&tree(&keys), &tree(&other));
        assert_eq!(found.len(), 1);
        let (first, last) = found[0].places();
        assert!((first..=last).contains(&place));
        assert_eq!(looked, 1 + usize::from(DEPTH) * FAN_OUT);
    }

    proptest! {
        /// What differs is found, and nothing else; the way there doesn't matter.
        #[test]
        fn just_what_differs(
            both in vec((any::<u64>(), 0..3_u64), 0..50),
            one in vec((any::<u64>(), 0..3_u64), 0..5),
            removed in 0..10_usize,
        ) {
            let first: BTreeMap<u64, u64> = both.iter().copied().collect();
            let mut second = first.clone();
            second.extend(one.iter().copied());
            let mut changed = tree(&first);
            for (place, item) in &one {
                let before = first.get(place).map_or(0, |item| key_digest(*place, *item));
                changed.change(*place, before, key_digest(*place, *item));
            }
            for (place, _) in both.iter().take(removed) {
                if let Some(item) = second.remove(place) {
                    changed.change(*place, key_digest(*place, item), 0);
                }
            }
            prop_assert_eq!(differing(&changed, &tree(&second)).0, vec![]);
            let mut expected: Vec<Node> = first.iter().chain(&second)
                .filter(|(place, _)| first.get(place) != second.get(place))
                .map(|(place, _)| Node { level: DEPTH, index: (place >> LEAF_BITS) as u16 })
                .collect();
            expected.sort();
            expected.dedup();
            prop_assert_eq!(differing(&tree(&first), &changed).0, expected);
        }
    }
}
