//! Who owns which hash slots, as a node tells clients of Redis Cluster (CLUSTER SLOTS). Nodes
//! are told apart by the port of their cluster listener: all are on this machine.

use std::ops::RangeInclusive;

use atoll_ring::{
    partition::Partitions,
    slot::{SLOTS, Slot},
};

use crate::client::redis::Reply;

/// Some slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slots(Vec<bool>);

impl Slots {
    /// These.
    #[cfg(test)]
    pub(super) fn of(slots: impl IntoIterator<Item = Slot>) -> Slots {
        let mut all = vec![false; usize::from(SLOTS)];
        for slot in slots {
            all[usize::from(slot.number())] = true;
        }
        Slots(all)
    }

    /// Whether this is one of them.
    pub(super) fn has(&self, slot: Slot) -> bool {
        self.0[usize::from(slot.number())]
    }

    /// How many partitions lie in them. One has one owner, who has all of its slots.
    pub(super) fn count(&self, partitions: Partitions) -> usize {
        let first = |id| partitions.slots(id).map(|slots| *slots.start());
        let firsts = partitions.ids().filter_map(first);
        firsts.filter(|slot| self.0[usize::from(*slot)]).count()
    }
}

/// The port of each slot's owner, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owners(Vec<Option<u16>>);

impl Owners {
    /// Reads the answer to CLUSTER SLOTS; none if it is something else.
    pub(super) fn read(reply: &Reply) -> Option<Owners> {
        let Reply::List(ranges) = reply else {
            return None;
        };
        let mut owners = vec![None; usize::from(SLOTS)];
        for range in ranges {
            let (slots, port) = read_range(range)?;
            owners.get_mut(slots)?.fill(Some(port));
        }
        Some(Owners(owners))
    }

    /// What a node owns.
    pub(super) fn slots_of(&self, port: u16) -> Slots {
        Slots(self.0.iter().map(|owner| *owner == Some(port)).collect())
    }
}

/// A range's slots, and the port of its owner, who stands before its replicas.
fn read_range(range: &Reply) -> Option<(RangeInclusive<usize>, u16)> {
    let Reply::List(parts) = range else {
        return None;
    };
    let [
        Reply::Integer(first),
        Reply::Integer(last),
        Reply::List(owner),
        ..,
    ] = &parts[..]
    else {
        return None;
    };
    let [_, Reply::Integer(port), ..] = owner[..] else {
        return None;
    };
    let slots = usize::try_from(*first).ok()?..=usize::try_from(*last).ok()?;
    (!slots.is_empty()).then_some((slots, u16::try_from(port).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(port: i64) -> Reply {
        let host = Reply::String("127.0.0.1".into());
        let id = Reply::String("0a".into());
        Reply::List(vec![host, Reply::Integer(port), id, Reply::List(vec![])])
    }

    fn range(first: i64, last: i64, ports: &[i64]) -> Reply {
        let bounds = [first, last].map(Reply::Integer);
        let nodes = ports.iter().map(|port| node(*port));
        Reply::List(bounds.into_iter().chain(nodes).collect())
    }

    #[test]
    fn owners_stand_before_replicas() {
        let reply = Reply::List(vec![
            range(0, 0, &[7001]),
            range(1, 8_191, &[7001, 7002, 7003]),
            range(8_192, 12_287, &[7002, 7001]),
        ]);
        let owners = Owners::read(&reply).unwrap();
        let partitions = Partitions::new(16).unwrap();
        let count = |port| owners.slots_of(port).count(partitions);
        assert_eq!((count(7001), count(7002), count(7003)), (8, 4, 0));
        let slots = owners.slots_of(7001);
        let has = |key| slots.has(Slot::of_key(key));
        assert!(has(b"hello") && has(b"bar") && !has(b"foo"));
    }

    #[test]
    fn what_is_no_such_answer_is_refused() {
        let short = Reply::List(vec![Reply::Integer(1), Reply::Integer(2)]);
        for wrong in [
            Reply::Done,
            Reply::List(vec![Reply::Done]),
            Reply::List(vec![short]),
            Reply::List(vec![range(0, 16_384, &[1])]),
            Reply::List(vec![range(5, 4, &[1])]),
            Reply::List(vec![range(-1, 4, &[1])]),
            Reply::List(vec![range(0, 4, &[65_536])]),
        ] {
            assert!(Owners::read(&wrong).is_none(), "{wrong:?}");
        }
    }
}
