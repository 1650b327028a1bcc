//! An order with ranks: a B+ tree whose inner nodes know how many items are below each child.
//!
//! Items are found, added and removed by rank in logarithmic time; the tree itself compares
//! nothing. Next to a skip list it takes a third of the memory (16 bytes an item, in rows of up
//! to [`LEAF_ITEMS_MAX`]) and far fewer cache misses, and it needs no chance.

/// So many items a leaf has at most: two kilobytes.
const LEAF_ITEMS_MAX: usize = 128;
/// So many children an inner node has at most.
const INNER_CHILDREN_MAX: usize = 32;
/// A node with fewer than one in so many of what it may have is merged with a neighbour, where
/// both fit one node.
const SPARSE_FRACTION: usize = 4;

/// What is ordered: a score, and the place of the member in the table of members.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) score: f64,
    pub(super) place: usize,
}

/// Items by rank.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tree {
    root: Node,
    count: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Leaf(Vec<Item>),
    Inner(Vec<Child>),
}

/// A child of an inner node; it is never empty.
#[derive(Clone, Debug, PartialEq)]
struct Child {
    /// The item of lowest rank below.
    first: Item,
    /// Number of items below.
    count: usize,
    node: Node,
}

/// Where in the whole order an item is added. Nodes that are split at an edge are split there,
/// so that adding in order leaves full nodes.
#[derive(Clone, Copy, PartialEq)]
enum Edge {
    First,
    Middle,
    Last,
}

impl Default for Tree {
    fn default() -> Self {
        Tree {
            root: Node::Leaf(Vec::new()),
            count: 0,
        }
    }
}

impl Tree {
    /// Number of items.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Number of items for which `before` holds; it has to hold for all those up to some rank
    /// and for none from there on.
    pub(super) fn partition_point(&self, before: impl Fn(&Item) -> bool) -> usize {
        let (mut rank, mut node) = (0, &self.root);
        loop {
            match node {
                Node::Leaf(items) => return rank + items.partition_point(&before),
                Node::Inner(children) => {
                    let after = children.partition_point(|child| before(&child.first));
                    let Some(at) = after.checked_sub(1) else {
                        return rank;
                    };
                    rank += children[..at]
                        .iter()
                        .map(|child| child.count)
                        .sum::<usize>();
                    node = &children[at].node;
                }
            }
        }
    }

    /// The leaf that holds this rank, which is below the length, and where in it.
    fn leaf(&self, mut rank: usize) -> (&[Item], usize) {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(items) => return (items, rank),
                Node::Inner(children) => {
                    let at = descend(children, &mut rank);
                    node = &children[at].node;
                }
            }
        }
    }

    /// Items from one rank up to another; both are at most the length.
    pub(super) fn range(&self, ranks: std::ops::Range<usize>) -> Items<'_> {
        assert!(ranks.end <= self.count, "a range beyond the end");
        Items {
            tree: self,
            from: ranks.start,
            to: ranks.end,
            front: [].iter(),
            back: [].iter(),
        }
    }

    /// Adds an item before the one of this rank, which is at most the length.
    pub(super) fn insert_at(&mut self, rank: usize, item: Item) {
        assert!(rank <= self.count, "a rank beyond the end");
        let edge = match rank {
            rank if rank == self.count => Edge::Last,
            0 => Edge::First,
            _ => Edge::Middle,
        };
        if let Some(right) = self.root.insert_at(rank, item, edge) {
            let left = Child::of(std::mem::replace(&mut self.root, Node::Leaf(Vec::new())));
            self.root = Node::Inner(vec![left, right]);
        }
        self.count += 1;
    }

    /// Takes out the item of this rank, which is below the length.
    pub(super) fn remove_at(&mut self, rank: usize) {
        assert!(rank < self.count, "a rank beyond the last");
        self.root.remove_at(rank);
        self.count -= 1;
        while let Node::Inner(children) = &mut self.root {
            if children.len() > 1 {
                break;
            }
            self.root = match children.pop() {
                Some(only) => only.node,
                None => Node::Leaf(Vec::new()),
            };
        }
    }

    /// Says where the member of the item of this rank, which is below the length, has moved.
    pub(super) fn set_place(&mut self, mut rank: usize, place: usize) {
        let mut node = &mut self.root;
        loop {
            match node {
                Node::Leaf(items) => {
                    items[rank].place = place;
                    return;
                }
                Node::Inner(children) => {
                    let at = descend(children, &mut rank);
                    if rank == 0 {
                        children[at].first.place = place;
                    }
                    node = &mut children[at].node;
                }
            }
        }
    }
}

/// The child that holds this rank; the rank becomes the one within it.
fn descend(children: &[Child], rank: &mut usize) -> usize {
    for (at, child) in children.iter().enumerate() {
        if *rank < child.count {
            return at;
        }
        *rank -= child.count;
    }
    unreachable!("the rank is below the number of items")
}

impl Child {
    fn of(node: Node) -> Self {
        let Some(first) = node.first() else {
            unreachable!("only nodes with items become children");
        };
        Child {
            first,
            count: node.count(),
            node,
        }
    }
}

impl Node {
    fn first(&self) -> Option<Item> {
        match self {
            Node::Leaf(items) => items.first().copied(),
            Node::Inner(children) => children.first().map(|child| child.first),
        }
    }

    fn count(&self) -> usize {
        match self {
            Node::Leaf(items) => items.len(),
            Node::Inner(children) => children.iter().map(|child| child.count).sum(),
        }
    }

    /// Adds an item; a node that is too large afterwards gives its right part away.
    fn insert_at(&mut self, mut rank: usize, item: Item, edge: Edge) -> Option<Child> {
        match self {
            Node::Leaf(items) => {
                items.insert(rank, item);
                let right = split(items, LEAF_ITEMS_MAX, edge)?;
                Some(Child::of(Node::Leaf(right)))
            }
            Node::Inner(children) => {
                let at = match edge {
                    // Beyond the last item there is no child to be found.
                    Edge::Last => {
                        let last = children.len() - 1;
                        rank = children[last].count;
                        last
                    }
                    Edge::First | Edge::Middle => descend(children, &mut rank),
                };
                let child = &mut children[at];
                let right = child.node.insert_at(rank, item, edge);
                child.count += 1;
                if rank == 0 {
                    child.first = item;
                }
                if let Some(right) = right {
                    child.count -= right.count;
                    children.insert(at + 1, right);
                }
                let right = split(children, INNER_CHILDREN_MAX, edge)?;
                Some(Child::of(Node::Inner(right)))
            }
        }
    }

    fn remove_at(&mut self, mut rank: usize) {
        match self {
            Node::Leaf(items) => {
                items.remove(rank);
            }
            Node::Inner(children) => {
                let at = descend(children, &mut rank);
                let child = &mut children[at];
                child.node.remove_at(rank);
                child.count -= 1;
                match child.node.first() {
                    Some(first) => {
                        child.first = first;
                        if child.node.is_sparse() {
                            merge(children, at);
                        }
                    }
                    None => {
                        children.remove(at);
                    }
                }
            }
        }
    }

    fn is_sparse(&self) -> bool {
        match self {
            Node::Leaf(items) => items.len() < LEAF_ITEMS_MAX / SPARSE_FRACTION,
            Node::Inner(children) => children.len() < INNER_CHILDREN_MAX / SPARSE_FRACTION,
        }
    }
}

/// The right part of a row that is longer than it may be.
fn split<T>(row: &mut Vec<T>, length_max: usize, edge: Edge) -> Option<Vec<T>> {
    if row.len() <= length_max {
        return None;
    }
    let at = match edge {
        Edge::First => 1,
        Edge::Middle => row.len() / 2,
        Edge::Last => row.len() - 1,
    };
    let mut right = row.split_off(at);
    // What stays full keeps no room for more.
    match edge {
        Edge::First => right.shrink_to_fit(),
        Edge::Middle => {}
        Edge::Last => row.shrink_to_fit(),
    }
    Some(right)
}

/// Merges a child with a neighbour, where both fit one node.
fn merge(children: &mut Vec<Child>, at: usize) {
    for left in [at.checked_sub(1), Some(at)].into_iter().flatten() {
        let Some(right) = children.get(left + 1) else {
            continue;
        };
        let fits = match (&children[left].node, &right.node) {
            (Node::Leaf(left), Node::Leaf(right)) => left.len() + right.len() <= LEAF_ITEMS_MAX,
            (Node::Inner(left), Node::Inner(right)) => {
                left.len() + right.len() <= INNER_CHILDREN_MAX
            }
            _ => unreachable!("all leaves are equally deep"),
        };
        if !fits {
            continue;
        }
        let right = children.remove(left + 1);
        let left = &mut children[left];
        left.count += right.count;
        match (&mut left.node, right.node) {
            (Node::Leaf(left), Node::Leaf(mut right)) => left.append(&mut right),
            (Node::Inner(left), Node::Inner(mut right)) => left.append(&mut right),
            _ => unreachable!("all leaves are equally deep"),
        }
        return;
    }
}

/// Items in order, from both ends.
#[derive(Clone, Debug)]
pub(super) struct Items<'a> {
    tree: &'a Tree,
    from: usize,
    to: usize,
    front: std::slice::Iter<'a, Item>,
    back: std::slice::Iter<'a, Item>,
}

impl Iterator for Items<'_> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        if self.from >= self.to {
            return None;
        }
        if self.front.as_slice().is_empty() {
            let (items, at) = self.tree.leaf(self.from);
            self.front = items[at..].iter();
        }
        self.from += 1;
        self.front.next().copied()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.to.saturating_sub(self.from);
        (left, Some(left))
    }
}

impl DoubleEndedIterator for Items<'_> {
    fn next_back(&mut self) -> Option<Item> {
        if self.from >= self.to {
            return None;
        }
        if self.back.as_slice().is_empty() {
            let (items, at) = self.tree.leaf(self.to - 1);
            self.back = items[..=at].iter();
        }
        self.to -= 1;
        self.back.next_back().copied()
    }
}

impl ExactSizeIterator for Items<'_> {}

#[cfg(test)]
mod tests;
