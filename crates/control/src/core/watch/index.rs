//! From a key to the watchers that watch it, without looking at the others.
//!
//! Watchers of a single key are found by that key. Watchers of ranges are found in an interval
//! tree: a treap (Aragon and Seidel 1989) ordered by range, in which every node knows the
//! largest end below it (Cormen et al., "Interval trees"). A look-up visits O(log n + found × log n)
//! nodes. Watchers of the same range share a node.

use std::{cmp::Ordering, collections::BTreeMap, mem};

use bytes::Bytes;
use smallvec::SmallVec;

/// A watcher's number in the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WatcherSlot(pub(crate) u32);

/// Sorted, so that one is found and removed fast even among very many.
type Slots = SmallVec<[WatcherSlot; 4]>;

/// Where a range ends: before a key, or nowhere. Ordered, so that "nowhere" is the largest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Before(Bytes),
    Never,
}

impl End {
    fn is_after(&self, key: &[u8]) -> bool {
        match self {
            End::Before(end) => end[..] > *key,
            End::Never => true,
        }
    }
}

/// The keys that a watcher watches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Keys {
    One(Bytes),
    Range(Bytes, End),
}

impl Keys {
    /// Reads the API's pair of key and range end; none if the range is empty. Copies the keys,
    /// so that a small key does not keep a large request in memory.
    pub(crate) fn parse(key: &[u8], range_end: &[u8]) -> Option<Keys> {
        let begin = Bytes::copy_from_slice(if key.is_empty() { b"\0" } else { key });
        match range_end {
            [] => Some(Keys::One(begin)),
            [0] => Some(Keys::Range(begin, End::Never)),
            end if *end > begin[..] => {
                Some(Keys::Range(begin, End::Before(Bytes::copy_from_slice(end))))
            }
            _ => None,
        }
    }

    /// Bytes of the keys themselves.
    pub(crate) fn key_bytes(&self) -> usize {
        match self {
            Keys::One(key) | Keys::Range(key, End::Never) => key.len(),
            Keys::Range(begin, End::Before(end)) => begin.len() + end.len(),
        }
    }
}

/// From a key to the watchers that watch it.
#[derive(Debug, Default)]
pub(crate) struct Index {
    keys: BTreeMap<Bytes, Slots>,
    ranges: Tree,
    /// How many nodes were made, from which each gets its place in the heap order.
    nodes_made: u64,
}

impl Index {
    pub(crate) fn insert(&mut self, keys: &Keys, slot: WatcherSlot) {
        let slots = match keys {
            Keys::One(key) => self.keys.entry(key.clone()).or_default(),
            Keys::Range(begin, end) => {
                if find(&mut self.ranges, begin, end).is_none() {
                    self.nodes_made += 1;
                    let node = Node::new(begin.clone(), end.clone(), scatter(self.nodes_made));
                    insert(&mut self.ranges, Box::new(node));
                }
                find(&mut self.ranges, begin, end).expect("the node was just made")
            }
        };
        match slots.binary_search(&slot) {
            Ok(_) => panic!("watcher {slot:?} is already in the index"),
            Err(place) => slots.insert(place, slot),
        }
    }

    pub(crate) fn remove(&mut self, keys: &Keys, slot: WatcherSlot) {
        let slots = match keys {
            Keys::One(key) => self.keys.get_mut(key),
            Keys::Range(begin, end) => find(&mut self.ranges, begin, end),
        };
        let slots = slots.expect("a watcher that is removed was in the index");
        let place = slots
            .binary_search(&slot)
            .expect("a watcher that is removed was in the index");
        slots.remove(place);
        if !slots.is_empty() {
            if slots.len() * 4 < slots.capacity() {
                slots.shrink_to_fit();
            }
            return;
        }
        match keys {
            Keys::One(key) => {
                self.keys.remove(key);
            }
            Keys::Range(begin, end) => remove(&mut self.ranges, begin, end),
        }
    }

    /// Names every watcher of `key`, each once, in an order that depends only on the history
    /// of the index. Answers how many nodes of the tree were visited.
    pub(crate) fn lookup(&self, key: &[u8], mut found: impl FnMut(WatcherSlot)) -> usize {
        if let Some(slots) = self.keys.get(key) {
            slots.iter().copied().for_each(&mut found);
        }
        let mut visited = 0;
        stab(&self.ranges, key, &mut visited, &mut found);
        visited
    }
}

type Tree = Option<Box<Node>>;

#[derive(Debug)]
struct Node {
    begin: Bytes,
    end: End,
    /// The largest end in this subtree.
    end_max: End,
    /// No child has a higher one.
    priority: u64,
    slots: Slots,
    left: Tree,
    right: Tree,
}

impl Node {
    fn new(begin: Bytes, end: End, priority: u64) -> Self {
        Node {
            begin,
            end_max: end.clone(),
            end,
            priority,
            slots: Slots::new(),
            left: None,
            right: None,
        }
    }

    fn compare(&self, begin: &Bytes, end: &End) -> Ordering {
        (begin, end).cmp(&(&self.begin, &self.end))
    }

    fn update(&mut self) {
        let children = [&self.left, &self.right];
        let below = children.into_iter().flatten().map(|child| &child.end_max);
        let end_max = below
            .chain([&self.end])
            .max()
            .expect("there is its own end");
        if self.end_max != *end_max {
            self.end_max = end_max.clone();
        }
    }
}

fn find<'a>(tree: &'a mut Tree, begin: &Bytes, end: &End) -> Option<&'a mut Slots> {
    let node = tree.as_deref_mut()?;
    match node.compare(begin, end) {
        Ordering::Equal => Some(&mut node.slots),
        Ordering::Less => find(&mut node.left, begin, end),
        Ordering::Greater => find(&mut node.right, begin, end),
    }
}

fn insert(tree: &mut Tree, new: Box<Node>) {
    let Some(node) = tree else {
        *tree = Some(new);
        return;
    };
    let side = node.compare(&new.begin, &new.end);
    let child = if side == Ordering::Less {
        &mut node.left
    } else {
        &mut node.right
    };
    insert(child, new);
    let rises = child
        .as_ref()
        .is_some_and(|child| child.priority > node.priority);
    node.update();
    match (rises, side) {
        (false, _) => {}
        (true, Ordering::Less) => lift_left(tree),
        (true, _) => lift_right(tree),
    }
}

/// Makes the left child the root; the old root becomes its right child.
fn lift_left(tree: &mut Tree) {
    let Some(mut root) = tree.take() else { return };
    let mut child = root
        .left
        .take()
        .expect("the left child outranks its parent");
    root.left = child.right.take();
    root.update();
    child.right = Some(root);
    child.update();
    *tree = Some(child);
}

/// Makes the right child the root; the old root becomes its left child.
fn lift_right(tree: &mut Tree) {
    let Some(mut root) = tree.take() else { return };
    let mut child = root
        .right
        .take()
        .expect("the right child outranks its parent");
    root.right = child.left.take();
    root.update();
    child.left = Some(root);
    child.update();
    *tree = Some(child);
}

fn remove(tree: &mut Tree, begin: &Bytes, end: &End) {
    let Some(node) = tree else { return };
    match node.compare(begin, end) {
        Ordering::Less => remove(&mut node.left, begin, end),
        Ordering::Greater => remove(&mut node.right, begin, end),
        Ordering::Equal => {
            let (left, right) = (node.left.take(), node.right.take());
            *tree = join(left, right);
            return;
        }
    }
    node.update();
}

/// One tree out of two, where all of `left` lies before all of `right`.
fn join(left: Tree, right: Tree) -> Tree {
    match (left, right) {
        (None, tree) | (tree, None) => tree,
        (Some(mut left), Some(right)) if left.priority >= right.priority => {
            let inner = mem::take(&mut left.right);
            left.right = join(inner, Some(right));
            left.update();
            Some(left)
        }
        (left, Some(mut right)) => {
            let inner = mem::take(&mut right.left);
            right.left = join(left, inner);
            right.update();
            Some(right)
        }
    }
}

fn stab(tree: &Tree, key: &[u8], visited: &mut usize, found: &mut impl FnMut(WatcherSlot)) {
    let Some(node) = tree else { return };
    *visited += 1;
    if !node.end_max.is_after(key) {
        return;
    }
    stab(&node.left, key, visited, found);
    if node.begin[..] <= *key {
        if node.end.is_after(key) {
            node.slots.iter().copied().for_each(&mut *found);
        }
        stab(&node.right, key, visited, found);
    }
}

/// Scatters a count over all numbers (the finalizer of SplitMix64, Steele et al. 2014), so that
/// the tree is as balanced as a random one and yet the same in every run.
fn scatter(count: u64) -> u64 {
    let mut z = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
