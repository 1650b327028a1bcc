//! Which nodes hold which partition: the ring's wishes, within bounds on everybody's load, and
//! with as little moved as can be.
//!
//! # Why the ring alone is not enough
//! "Only what moves to the new node moves", for every set of nodes, means that each partition
//! has one fixed order of preference and lies with the first of those who are there. Orders that
//! come from a hash are independent draws, so of `r` placements on `n` nodes a node gets `r/n`
//! give or take its root: of 1,024 × 3 on fifty nodes 61 ± 8, and the fullest one gets 80. No
//! number of virtual nodes helps against that, as it is the partitions that are few. Consistent
//! hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, 2018) gives overflow to the
//! next in order, but as a function of the set of nodes alone it lets old nodes exchange
//! partitions whenever a bound moves.
//!
//! So placement here also knows what is held (it is written down in the topology anyway), as
//! Dynamo's "Q/S tokens per node, equal-sized partitions" does (DeCandia et al., 2007, section
//! 6.2, strategy 3):
//!
//! 1. What is held by a node that is still there stays, as far as zones allow.
//! 2. A hole goes to the node that the ring wants most.
//! 3. Whoever has less than his share takes from who has most above his, who has more gives to
//!    who has most below: straight, or, where zones or distinctness forbid that, along the
//!    cheapest chain of exchanges. What was given in step 2 is exchanged until all is even, as it
//!    costs nothing yet; what is held moves only to or from a node that is farther than
//!    [`SLACK`] from its share.
//!
//! From nothing, everybody gets his share rounded up or down. After that a join moves the
//! newcomer's share, rounded down, and a leave what the leaver held; between nodes that stay
//! nothing moves while they are within `SLACK` (and rounding) of their shares. With 34
//! placements or more a node is so within 5 % of its weight; below that one placement is more
//! than that.
//!
//! # Shares
//! A node's share is in proportion to its weight as far as that is possible: nobody can hold a
//! partition twice, and spreading over zones bounds what a zone can hold. What does not fit goes
//! to the others in proportion to theirs.

use atoll_base::id::NodeId;

use crate::{
    hash_ring::{HashRing, RingKey, Spread},
    partition::Partitions,
};

mod chain;
mod share;

use share::Share;

/// How far from its share a node may get before partitions move for balance alone.
pub const SLACK: f64 = 0.02;

/// How often the choice of who is first is gone over: each time evens out what the one before
/// could not foresee.
const FIRSTS_ROUNDS: usize = 4;

/// Says for each partition which nodes should hold it: `replicas` of them, or all where there
/// are fewer. The first is the one to own it when all else is equal; these are balanced too.
///
/// `held` says for each partition who holds it now; nodes that are not on the ring count as
/// gone, and what is missing at the end as held by nobody. Placing again what came out changes
/// nothing.
pub fn place(
    ring: &HashRing,
    partitions: Partitions,
    replicas: usize,
    held: &[Vec<NodeId>],
) -> Vec<Vec<NodeId>> {
    let mut table = Table::new(ring, partitions, replicas, held);
    table.fill();
    table.settle(0.0, true);
    table.settle(SLACK, false);
    table.named(held)
}

/// A node, by its place on the ring.
type Index = usize;

struct Table<'a> {
    ring: &'a HashRing,
    shares: Vec<Share>,
    loads: Vec<usize>,
    rows: Vec<Row<'a>>,
}

/// One partition.
struct Row<'a> {
    /// All nodes, the most wanted first.
    order: Vec<Index>,
    /// Who held it and still may.
    kept: Vec<Index>,
    /// Who shall hold it.
    spread: Spread<'a>,
}

impl Row<'_> {
    fn rank(&self, node: Index) -> usize {
        let place = self.order.iter().position(|&it| it == node);
        place.unwrap_or(self.order.len())
    }

    /// Whether this is a placement not made yet, so that changing it moves nothing.
    fn is_fresh(&self, node: Index) -> bool {
        !self.kept.contains(&node)
    }
}

impl<'a> Table<'a> {
    fn new(
        ring: &'a HashRing,
        partitions: Partitions,
        replicas: usize,
        held: &[Vec<NodeId>],
    ) -> Self {
        let mut loads = vec![0; ring.nodes().len()];
        let rows = partitions.ids().map(|partition| {
            let mut spread = Spread::new(ring, replicas);
            let held = held.get(usize::from(partition.0)).into_iter().flatten();
            for index in held.filter_map(|id| index_of(ring, *id)) {
                loads[index] += usize::from(spread.take(index));
            }
            Row {
                order: ring.order(RingKey::of_partition(partition)).collect(),
                kept: spread.taken.clone(),
                spread,
            }
        });
        Self {
            rows: rows.collect(),
            shares: share::shares(ring, usize::from(partitions.count()), replicas),
            ring,
            loads,
        }
    }

    /// Gives every hole to the node that the ring wants there most.
    fn fill(&mut self) {
        for row in &mut self.rows {
            for &node in &row.order {
                if row.spread.is_full() {
                    break;
                }
                self.loads[node] += usize::from(row.spread.take(node));
            }
        }
    }

    /// Brings whoever is farther from his share than `slack` to it, as far as can be.
    fn settle(&mut self, slack: f64, fresh_only: bool) {
        for node in 0..self.loads.len() {
            if self.loads[node] < self.shares[node].low(slack) {
                while self.loads[node] < self.shares[node].floor() && self.pull(node, fresh_only) {}
            }
        }
        for node in 0..self.loads.len() {
            if self.loads[node] > self.shares[node].high(slack) {
                while self.loads[node] > self.shares[node].ceil() && self.push(node, fresh_only) {}
            }
        }
    }

    fn pull(&mut self, to: Index, fresh_only: bool) -> bool {
        let may = |from: Index| self.loads[from] > self.shares[from].floor();
        let rows = self.rows.iter().enumerate();
        let direct = rows.flat_map(|(row, it)| {
            let taken = it.spread.taken.iter();
            taken
                .filter(|&&from| may(from) && (!fresh_only || it.is_fresh(from)))
                .filter(|&&from| it.spread.accepts_instead(Some(from), to))
                .map(move |&from| Exchange { row, from, to })
        });
        let best =
            direct.min_by(|one, other| self.compare(one, other, |it| -self.surplus(it.from)));
        match best {
            Some(exchange) => {
                self.apply(&[exchange]);
                true
            }
            None => {
                let from: Vec<bool> = (0..self.loads.len()).map(may).collect();
                let mut ends = vec![false; self.loads.len()];
                ends[to] = true;
                self.follow(&from, &ends, fresh_only)
            }
        }
    }

    fn push(&mut self, from: Index, fresh_only: bool) -> bool {
        let may = |to: Index| self.loads[to] < self.shares[to].ceil();
        let rows = self.rows.iter().enumerate();
        let held = rows.filter(|(_, it)| {
            it.spread.taken.contains(&from) && (!fresh_only || it.is_fresh(from))
        });
        let direct = held.flat_map(|(row, it)| {
            let order = it.order.iter().filter(|&&to| may(to));
            order
                .filter(|&&to| it.spread.accepts_instead(Some(from), to))
                .map(move |&to| Exchange { row, from, to })
        });
        let best = direct.min_by(|one, other| self.compare(one, other, |it| self.surplus(it.to)));
        match best {
            Some(exchange) => {
                self.apply(&[exchange]);
                true
            }
            None => {
                let ends: Vec<bool> = (0..self.loads.len()).map(may).collect();
                let mut begins = vec![false; self.loads.len()];
                begins[from] = true;
                self.follow(&begins, &ends, fresh_only)
            }
        }
    }

    /// By what it moves, then by a measure of load, then by the ring's wish, then by number, so
    /// that there is always one that is first.
    fn compare(
        &self,
        one: &Exchange,
        other: &Exchange,
        measure: impl Fn(&Exchange) -> f64,
    ) -> std::cmp::Ordering {
        let key = |it: &Exchange| (!self.rows[it.row].is_fresh(it.from), measure(it));
        let wish = |it: &Exchange| (self.rows[it.row].rank(it.to), it.row, it.from);
        let ((moved, load), (other_moved, other_load)) = (key(one), key(other));
        moved
            .cmp(&other_moved)
            .then(load.total_cmp(&other_load))
            .then_with(|| wish(one).cmp(&wish(other)))
    }

    fn surplus(&self, node: Index) -> f64 {
        self.loads[node] as f64 - self.shares[node].exact()
    }

    fn apply(&mut self, exchanges: &[Exchange]) {
        for &Exchange { row, from, to } in exchanges {
            let taken = &mut self.rows[row].spread.taken;
            taken.retain(|&it| it != from);
            taken.push(to);
            self.loads[from] -= 1;
            self.loads[to] += 1;
        }
    }

    /// The result with the nodes' names. Where the holders stay, so does their order; elsewhere
    /// the first is one who is first in few, measured by his share.
    fn named(self, held: &[Vec<NodeId>]) -> Vec<Vec<NodeId>> {
        let mut firsts = vec![0.0; self.loads.len()];
        let mut changed = Vec::new();
        let mut members: Vec<Vec<Index>> = Vec::with_capacity(self.rows.len());
        for (place, row) in self.rows.iter().enumerate() {
            let mut taken = row.spread.taken.clone();
            let held = held.get(place).map_or(0, Vec::len);
            if taken != row.kept || held != taken.len() {
                taken.sort_by_key(|&it| (row.is_fresh(it), row.rank(it)));
                changed.push(place);
            }
            if let Some(&first) = taken.first() {
                firsts[first] += 1.0;
            }
            members.push(taken);
        }
        let relative = |node: Index, firsts: &[f64]| firsts[node] / self.shares[node].exact();
        for _ in 0..FIRSTS_ROUNDS {
            for &place in &changed {
                let row = &mut members[place];
                let Some(&first) = row.first() else { continue };
                firsts[first] -= 1.0;
                let least = (0..row.len()).min_by(|&one, &other| {
                    relative(row[one], &firsts).total_cmp(&relative(row[other], &firsts))
                });
                row[..=least.unwrap_or(0)].rotate_right(1);
                firsts[row[0]] += 1.0;
            }
        }
        let nodes = self.ring.nodes();
        let names = |row: Vec<Index>| row.into_iter().map(|it| nodes[it].id).collect();
        members.into_iter().map(names).collect()
    }
}

fn index_of(ring: &HashRing, id: NodeId) -> Option<Index> {
    ring.nodes().binary_search_by_key(&id, |it| it.id).ok()
}

/// One node takes another's place in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Exchange {
    row: usize,
    from: Index,
    to: Index,
}

#[cfg(test)]
mod tests;
