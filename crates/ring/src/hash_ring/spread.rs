//! Distinct nodes for one key, in as many zones as can be.

use super::HashRing;

/// Nodes chosen for one key, and whether one more may join them.
///
/// Of `n` nodes in `min(n, zones)` zones, `n - zones` (if that is more than none) stand where
/// another stands already. A choice may use up this allowance early, and not exceed it.
#[derive(Clone, Debug)]
pub(crate) struct Spread<'a> {
    ring: &'a HashRing,
    count: usize,
    shared_max: usize,
    pub(crate) taken: Vec<usize>,
}

impl<'a> Spread<'a> {
    pub(crate) fn new(ring: &'a HashRing, count: usize) -> Self {
        let count = count.min(ring.nodes.len());
        Self {
            ring,
            count,
            shared_max: count.saturating_sub(ring.zone_count),
            taken: Vec::with_capacity(count),
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.taken.len() >= self.count
    }

    /// How many of these stand in a zone that another of them stands in.
    fn shared(&self, nodes: impl Iterator<Item = usize> + Clone) -> usize {
        let zones = nodes.map(|node| self.ring.zone(node));
        let later = zones.clone().enumerate();
        later
            .filter(|&(place, zone)| zones.clone().take(place).any(|it| it == zone))
            .count()
    }

    /// Whether this node may join.
    pub(crate) fn accepts(&self, node: usize) -> bool {
        !self.is_full() && self.accepts_instead(None, node)
    }

    /// Whether this node may take the place of that one.
    pub(crate) fn accepts_instead(&self, gone: Option<usize>, node: usize) -> bool {
        let rest = self.taken.iter().copied().filter(|&it| Some(it) != gone);
        !self.taken.contains(&node)
            && self.shared(rest.chain(std::iter::once(node))) <= self.shared_max
    }

    /// Takes this node, if it may join.
    pub(crate) fn take(&mut self, node: usize) -> bool {
        let accepted = self.accepts(node);
        if accepted {
            self.taken.push(node);
        }
        accepted
    }
}
