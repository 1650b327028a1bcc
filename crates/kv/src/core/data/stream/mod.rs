//! Streams: entries of fields and values in the order of their ids, and groups that read them.
//!
//! Entries are a tree by id, each a [`Pack`] of fields and values in turn. Groups and consumers
//! are trees by name, so what lists them is sorted, as in Redis.

mod group;
mod id;

use std::collections::BTreeMap;

use super::{
    heap::{allocation_bytes, sampled_bytes, tree_bytes},
    kind,
    pack::Pack,
};

pub use group::{Consumer, Group, Pending};
pub use id::StreamId;

/// A stream. One pointer wide, so that strings don't pay for it in every entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stream {
    body: Box<Body>,
}

// A stream stays when it is empty: its last id and its groups are worth keeping.
kind!(Stream, Stream, |_this| false);

#[derive(Clone, Debug, Default, PartialEq)]
struct Body {
    entries: BTreeMap<StreamId, Pack>,
    groups: BTreeMap<Box<[u8]>, Group>,
    last_id: StreamId,
    max_deleted_id: StreamId,
    entries_added: u64,
}

/// What trimming keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// So many entries, the latest.
    Latest(usize),
    /// Entries from an id on.
    From(StreamId),
}

/// How a stream is trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    /// What is kept.
    pub keep: Keep,
    /// So many entries go at once or none: 1 where trimming is exact, and where it may be
    /// approximate (`~`) about as many as Redis keeps in a node (`stream-node-max-entries`).
    pub at_once: usize,
    /// So many entries are taken out at most, where trimming is approximate.
    pub removed_max: Option<usize>,
}

impl Stream {
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.body.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.body.entries.is_empty()
    }

    /// What OBJECT ENCODING answers.
    pub fn encoding(&self) -> &'static str {
        "stream"
    }

    /// The last id that was given, even if its entry is gone.
    pub fn last_id(&self) -> StreamId {
        self.body.last_id
    }

    /// The id of the first entry that is there; 0-0 if none is.
    pub fn first_entry_id(&self) -> StreamId {
        let first = self.body.entries.first_key_value();
        first.map_or(StreamId::MIN, |(id, _)| *id)
    }

    /// The id of the last entry that is there; 0-0 if none is.
    pub fn last_entry_id(&self) -> StreamId {
        let last = self.body.entries.last_key_value();
        last.map_or(StreamId::MIN, |(id, _)| *id)
    }

    /// The last entry by id that was ever deleted by XDEL.
    pub fn max_deleted_id(&self) -> StreamId {
        self.body.max_deleted_id
    }

    /// How many entries were ever added.
    pub fn entries_added(&self) -> u64 {
        self.body.entries_added
    }

    /// What XSETID sets.
    pub fn set_counters(
        &mut self,
        last_id: StreamId,
        entries_added: Option<u64>,
        max_deleted_id: Option<StreamId>,
    ) {
        let body = &mut *self.body;
        body.last_id = last_id;
        body.entries_added = entries_added.unwrap_or(body.entries_added);
        body.max_deleted_id = max_deleted_id.unwrap_or(body.max_deleted_id);
    }

    /// Adds an entry, whose id is after the last one.
    pub fn add(&mut self, id: StreamId, fields: Pack) {
        assert!(id > self.body.last_id, "ids only grow");
        self.body.entries.insert(id, fields);
        self.body.last_id = id;
        self.body.entries_added += 1;
    }

    /// An entry's fields and values in turn.
    pub fn get(&self, id: StreamId) -> Option<&Pack> {
        self.body.entries.get(&id)
    }

    /// Entries of a range of ids, both ends included.
    pub fn range(
        &self,
        from: StreamId,
        to: StreamId,
    ) -> impl DoubleEndedIterator<Item = (StreamId, &Pack)> {
        // A tree refuses ranges that end before they begin.
        let range = (from <= to).then(|| self.body.entries.range(from..=to));
        range
            .into_iter()
            .flatten()
            .map(|(id, fields)| (*id, fields))
    }

    /// Takes an entry out; whether it was there.
    pub fn remove(&mut self, id: StreamId) -> bool {
        let body = &mut *self.body;
        let removed = body.entries.remove(&id).is_some();
        if removed {
            body.max_deleted_id = body.max_deleted_id.max(id);
        }
        removed
    }

    /// Takes entries out at the beginning; how many.
    pub fn trim(&mut self, trim: &Trim) -> usize {
        let removed_max = trim.removed_max.unwrap_or(usize::MAX);
        // Redis's nodes begin at every so manyth entry that was ever added.
        let gone = self.body.entries_added.saturating_sub(self.len() as u64) as usize;
        let entries = &mut self.body.entries;
        let mut excess = match trim.keep {
            Keep::Latest(kept) => entries.len().saturating_sub(kept).min(removed_max),
            Keep::From(id) => entries.range(..id).take(removed_max).count(),
        };
        let end = gone.saturating_add(excess);
        excess = (end - end % trim.at_once.max(1)).saturating_sub(gone);
        for _ in 0..excess {
            entries.pop_first();
        }
        excess
    }

    /// What it takes of the heap, judged by so many of its entries from both ends, and of its
    /// groups.
    pub(super) fn heap_bytes(&self, samples: usize) -> usize {
        let Body {
            entries, groups, ..
        } = &*self.body;
        let (len, half) = (entries.len(), samples.div_ceil(2).max(1));
        let first = entries.values().take(half.min(len));
        let last = entries
            .values()
            .rev()
            .take(half.min(len.saturating_sub(half)));
        let entry_bytes = size_of::<(StreamId, Pack)>();
        let sampled = first.chain(last).map(Pack::heap_bytes);
        let groups_sampled = groups.iter().take(samples.max(1));
        let groups_sampled =
            groups_sampled.map(|(name, group)| allocation_bytes(name.len()) + group.heap_bytes());
        allocation_bytes(size_of::<Body>())
            + tree_bytes(len, entry_bytes)
            + sampled_bytes(len, sampled)
            + tree_bytes(groups.len(), size_of::<(Box<[u8]>, Group)>())
            + sampled_bytes(groups.len(), groups_sampled)
    }

    /// Groups in the order of their names.
    pub fn groups(&self) -> &BTreeMap<Box<[u8]>, Group> {
        &self.body.groups
    }

    /// A group, to change it.
    pub fn group_mut(&mut self, name: &[u8]) -> Option<&mut Group> {
        self.body.groups.get_mut(name)
    }

    /// Adds a group, unless there is one of this name; whether it did.
    pub fn add_group(&mut self, name: &[u8], group: Group) -> bool {
        if self.body.groups.contains_key(name) {
            return false;
        }
        self.body.groups.insert(name.into(), group);
        true
    }

    /// Takes a group out; whether it was there.
    pub fn remove_group(&mut self, name: &[u8]) -> bool {
        self.body.groups.remove(name).is_some()
    }

    /// Moves a group on to an entry that is delivered to it, and counts it as read where the
    /// count can be known.
    pub fn advance_group(&mut self, name: &[u8], id: StreamId) {
        let up_to = self.entries_up_to(id);
        let gaps = self.has_gaps_from(id);
        let group = self.body.groups.get_mut(name);
        if let Some(group) = group.filter(|group| group.last_id < id) {
            let counted = group.entries_read.filter(|_| !gaps);
            group.entries_read = up_to.or(counted.map(|read| read + 1));
            group.last_id = id;
        }
    }

    /// How many entries a group has not been given yet, where that can be known (Redis: "XINFO
    /// GROUPS"). What the stream itself tells comes first: the group's own count doesn't know
    /// what was trimmed away unread.
    pub fn lag(&self, group: &Group) -> Option<u64> {
        let counted = || {
            let gaps = self.has_gaps_from(group.last_id);
            group.entries_read.filter(|_| !gaps)
        };
        let read = self.entries_up_to(group.last_id).or_else(counted)?;
        Some(self.body.entries_added.saturating_sub(read))
    }

    /// Whether entries may have been deleted from the middle, at this id or after it.
    fn has_gaps_from(&self, id: StreamId) -> bool {
        let deleted = self.body.max_deleted_id;
        !self.is_empty()
            && deleted != StreamId::MIN
            && self.first_entry_id() <= deleted
            && id <= deleted
    }

    /// How many entries were ever added up to this id, where that can be known: at the end, and
    /// at or before the first entry of a stream without gaps.
    pub(in crate::core) fn entries_up_to(&self, id: StreamId) -> Option<u64> {
        let body = &*self.body;
        if body.entries_added == 0 {
            return Some(0);
        }
        if self.is_empty() && id < body.last_id {
            return Some(body.entries_added);
        }
        if id >= body.last_id {
            return (id == body.last_id).then_some(body.entries_added);
        }
        let first = self.first_entry_id();
        if body.max_deleted_id != StreamId::MIN && body.max_deleted_id >= first {
            return None;
        }
        let before_first = body.entries_added.saturating_sub(self.len() as u64);
        match id.cmp(&first) {
            std::cmp::Ordering::Less => Some(before_first),
            std::cmp::Ordering::Equal => Some(before_first + 1),
            std::cmp::Ordering::Greater => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(seq: u64) -> StreamId {
        StreamId { ms: 0, seq }
    }

    fn filled(entries: u64) -> Stream {
        let mut stream = Stream::default();
        for seq in 1..=entries {
            stream.add(id(seq), [b"f", b"v"].into_iter().collect());
        }
        stream
    }

    #[test]
    fn trimming_keeps_what_it_is_told() {
        let exact = |keep| Trim {
            keep,
            at_once: 1,
            removed_max: None,
        };
        assert_eq!(filled(250).trim(&exact(Keep::Latest(10))), 240);
        assert_eq!(filled(250).trim(&exact(Keep::Latest(300))), 0);
        assert_eq!(filled(250).trim(&exact(Keep::From(id(11)))), 10);
        let about = |keep, removed_max| Trim {
            keep,
            at_once: 100,
            removed_max,
        };
        assert_eq!(filled(250).trim(&about(Keep::Latest(10), None)), 200);
        assert_eq!(filled(250).trim(&about(Keep::Latest(200), None)), 0);
        assert_eq!(filled(250).trim(&about(Keep::From(id(205)), None)), 200);
        assert_eq!(filled(250).trim(&about(Keep::Latest(0), Some(150))), 100);
        assert_eq!(filled(250).trim(&about(Keep::Latest(0), Some(99))), 0);
        let mut stream = filled(250);
        assert_eq!(stream.trim(&exact(Keep::Latest(220))), 30);
        assert_eq!(stream.trim(&about(Keep::Latest(40), None)), 170);
        assert_eq!(stream.trim(&about(Keep::Latest(0), None)), 0);
    }

    #[test]
    fn ids_follow_each_other() {
        let edge = StreamId {
            ms: 4,
            seq: u64::MAX,
        };
        let after = StreamId { ms: 5, seq: 0 };
        assert_eq!(edge.next(), Some(after));
        assert_eq!(after.previous(), Some(edge));
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(StreamId::MIN.previous(), None);
    }

    proptest! {
        /// A lag that is told is exact, and without deletions it is always told.
        #[test]
        fn lags_are_true(
            entries in 1_u64..20,
            deleted in proptest::collection::vec(1_u64..20, 0..4),
            reads in 0_u64..25,
        ) {
            let mut stream = filled(entries);
            stream.add_group(b"g", Group::new(StreamId::MIN, Some(0)));
            for seq in &deleted {
                stream.remove(id(*seq));
            }
            let ids: Vec<StreamId> = stream
                .range(StreamId::MIN, StreamId::MAX)
                .map(|(id, _)| id)
                .collect();
            let read = usize::try_from(reads).unwrap().min(ids.len());
            for id in &ids[..read] {
                stream.advance_group(b"g", *id);
            }
            let left = (ids.len() - read) as u64;
            let lag = stream.lag(&stream.groups()[&b"g"[..]]);
            prop_assert!(lag.is_none_or(|lag| lag == left), "{:?} of {}", lag, left);
            if deleted.iter().all(|seq| *seq > entries) {
                prop_assert_eq!(lag, Some(left));
            }
            if left == 0 && read > 0 && ids.last() == Some(&stream.last_id()) {
                prop_assert_eq!(lag, Some(0));
            }
        }
    }
}
