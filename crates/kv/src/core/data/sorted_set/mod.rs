//! Sorted sets: members with scores, ordered by score and then by bytes.
//!
//! A small one is a single row. A large one is a table from members to scores, whose places
//! stand for the members in a [`tree`] of ranks, so that a member's bytes are kept once. The
//! limits between the forms are the defaults of Redis ("Memory optimization"), and a sorted set
//! never goes back to the smaller form.
//!
//! Scores are never NaN. Minus nothing becomes nothing, as in Redis's small sorted sets.

mod small;
mod tree;

use std::ops::Range;

use bytes::Bytes;

use self::{
    small::Small,
    tree::{Item, Items, Tree},
};
use super::{
    Table,
    heap::{allocation_bytes, tree_bytes},
    kind,
};

/// A row has at most so many members (`zset-max-listpack-entries`)…
const SMALL_MEMBERS_MAX: usize = 128;
/// …of at most so many bytes each (`zset-max-listpack-value`).
const SMALL_MEMBER_BYTES_MAX: usize = 64;

/// A sorted set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SortedSet(Form);

#[derive(Clone, Debug, PartialEq)]
enum Form {
    Small(Small),
    Large(Box<Large>),
}

impl Default for Form {
    fn default() -> Self {
        Form::Small(Small::default())
    }
}

/// Members with scores, and their places in the order of scores.
#[derive(Clone, Debug, Default, PartialEq)]
struct Large {
    scores: Table<f64>,
    order: Tree,
}

kind!(SortedSet, SortedSet, |this| this.is_empty());

impl SortedSet {
    /// A small one with these members, which are in order; none if there can be no such set.
    pub(in crate::core) fn restore_small(members: &[(Bytes, f64)]) -> Option<SortedSet> {
        let rises =
            members.is_sorted_by(|(one, at), (next, score)| is_before(*at, || one, *score, next));
        let has_nan = members.iter().any(|(_, score)| score.is_nan());
        if members.len() > SMALL_MEMBERS_MAX || !rises || has_nan {
            return None;
        }
        let mut small = Small::default();
        for (rank, (member, score)) in members.iter().enumerate() {
            small.insert_at(rank, member, *score);
        }
        Some(SortedSet(Form::Small(small)))
    }

    /// A large one, of its table; none if there can be no such set.
    pub(in crate::core) fn restore_large(scores: Table<f64>) -> Option<SortedSet> {
        if scores.values().any(|score| score.is_nan()) {
            return None;
        }
        let mut places: Vec<usize> = (0..scores.len()).collect();
        let by_score = |place: &usize| (scores[*place], scores.get_index(*place).map(|it| it.0));
        places.sort_unstable_by(|one, other| {
            let ((at, one), (score, other)) = (by_score(one), by_score(other));
            at.total_cmp(&score).then_with(|| one.cmp(&other))
        });
        let mut order = Tree::default();
        for (rank, place) in places.into_iter().enumerate() {
            let score = scores[place];
            order.insert_at(rank, Item { score, place });
        }
        Some(SortedSet(Form::Large(Box::new(Large { scores, order }))))
    }

    /// An empty one that is about to get so many members, the first of them being this; a good
    /// guess saves the way through the smaller form.
    pub fn expecting(first: &[u8], members: usize) -> Self {
        let mut set = SortedSet::default();
        if first.len() > SMALL_MEMBER_BYTES_MAX {
            set.become_large();
        }
        set.expect(members);
        set
    }

    /// Prepares for so many members to come.
    pub fn expect(&mut self, members: usize) {
        if members > SMALL_MEMBERS_MAX && self.is_small() {
            self.become_large();
        }
    }

    /// What OBJECT ENCODING answers. Large ones have no skip list, but do what one does.
    pub fn encoding(&self) -> &'static str {
        match &self.0 {
            Form::Small(_) => "listpack",
            Form::Large(_) => "skiplist",
        }
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Small(small) => small.len(),
            Form::Large(large) => large.order.len(),
        }
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether scans take it whole, since it is small.
    pub fn is_small(&self) -> bool {
        matches!(self.0, Form::Small(_))
    }

    /// A member's score.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.0 {
            Form::Small(small) => small.find(member).map(|(_, score)| score),
            Form::Large(large) => large.scores.get(member).copied(),
        }
    }

    /// How many members come before this one, if it is there.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        match &self.0 {
            Form::Small(small) => small.find(member).map(|(rank, _)| rank),
            Form::Large(large) => {
                let score = *large.scores.get(member)?;
                Some(large.rank_of(score, member))
            }
        }
    }

    /// Adds a member, or gives it another score; returns the score that it had.
    pub fn insert(&mut self, member: &[u8], score: f64) -> Option<f64> {
        assert!(!score.is_nan(), "NaN has no place in an order");
        // Minus nothing plus nothing is nothing; any other number stays the same.
        let score = score + 0.0;
        if let Form::Small(small) = &mut self.0 {
            let before = small.find(member);
            let fits = small.len() < SMALL_MEMBERS_MAX && member.len() <= SMALL_MEMBER_BYTES_MAX;
            if before.is_some() || fits {
                insert_small(small, member, score, before);
                return before.map(|(_, before)| before);
            }
            self.become_large();
        }
        match &mut self.0 {
            Form::Large(large) => large.insert(member, score),
            Form::Small(_) => unreachable!("it was left above"),
        }
    }

    /// Takes a member out; returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match &mut self.0 {
            Form::Small(small) => {
                let (rank, score) = small.find(member)?;
                small.remove(rank..rank + 1);
                Some(score)
            }
            Form::Large(large) => {
                let (place, _, score) = large.scores.get_full(member)?;
                let score = *score;
                let rank = large.rank_of(score, member);
                large.remove(rank, place);
                Some(score)
            }
        }
    }

    /// Takes out the members of these ranks; they are at most the length.
    pub fn remove_range(&mut self, ranks: Range<usize>) {
        match &mut self.0 {
            Form::Small(small) => small.remove(ranks),
            Form::Large(large) => {
                let rank = ranks.start;
                for _ in ranks {
                    if let Some(item) = large.order.range(rank..rank + 1).next() {
                        large.remove(rank, item.place);
                    }
                }
            }
        }
    }

    /// Members with scores from one rank up to another; they are at most the length.
    pub fn range(&self, ranks: Range<usize>) -> Members<'_> {
        Members(match &self.0 {
            Form::Small(small) => {
                let members: Vec<(&[u8], f64)> =
                    small.iter().take(ranks.end).skip(ranks.start).collect();
                Source::Small(members.into_iter())
            }
            Form::Large(large) => Source::Large(&large.scores, large.order.range(ranks)),
        })
    }

    /// All members with scores.
    pub fn iter(&self) -> Members<'_> {
        self.range(0..self.len())
    }

    /// How many members come first for whose scores `before` holds; it has to hold for all
    /// scores up to some, and for none above.
    pub fn count_by_score(&self, before: impl Fn(f64) -> bool) -> usize {
        match &self.0 {
            Form::Small(small) => small.iter().take_while(|(_, score)| before(*score)).count(),
            Form::Large(large) => large.order.partition_point(|item| before(item.score)),
        }
    }

    /// The same with members, which makes sense where all scores are the same.
    pub fn count_by_member(&self, before: impl Fn(&[u8]) -> bool) -> usize {
        match &self.0 {
            Form::Small(small) => small
                .iter()
                .take_while(|(member, _)| before(member))
                .count(),
            Form::Large(large) => large
                .order
                .partition_point(|item| before(large.member(item.place))),
        }
    }

    /// The member with its score at a place of an order in which a large set's member keeps its
    /// place until it, or the last one, is taken out; places are `0..len`. What scans go by.
    pub fn at(&self, place: usize) -> Option<(&[u8], f64)> {
        match &self.0 {
            Form::Small(small) => small.iter().nth(place),
            Form::Large(large) => resolve(&large.scores, place),
        }
    }

    /// What it takes of the heap, apart from its own place.
    pub(super) fn heap_bytes(&self) -> usize {
        match &self.0 {
            Form::Small(small) => small.heap_bytes(),
            Form::Large(large) => {
                let order = tree_bytes(large.order.len(), size_of::<Item>());
                allocation_bytes(size_of::<Large>()) + large.scores.heap_bytes() + order
            }
        }
    }

    pub(super) fn become_large(&mut self) {
        let mut large = Large::default();
        for (member, score) in self.iter() {
            large.insert(member, score);
        }
        self.0 = Form::Large(Box::new(large));
    }
}

/// Whether a member with the score `at` comes before another; its bytes are asked for only
/// where scores are the same.
fn is_before<'a>(at: f64, bytes: impl FnOnce() -> &'a [u8], score: f64, member: &[u8]) -> bool {
    at < score || (at == score && bytes() < member)
}

/// Adds a member, or moves it from the rank and score that it has.
fn insert_small(small: &mut Small, member: &[u8], score: f64, before: Option<(usize, f64)>) {
    match before {
        Some((_, before)) if before == score => return,
        Some((rank, _)) => small.remove(rank..rank + 1),
        None => {}
    }
    let rank = small
        .iter()
        .take_while(|(other, at)| is_before(*at, || other, score, member))
        .count();
    small.insert_at(rank, member, score);
}

impl Large {
    fn member(&self, place: usize) -> &[u8] {
        match self.scores.get_index(place) {
            Some((member, _)) => member,
            None => unreachable!("the order holds places of the table"),
        }
    }

    /// The rank of this score and member, or where they would be.
    fn rank_of(&self, score: f64, member: &[u8]) -> usize {
        self.order.partition_point(|item| {
            is_before(item.score, || self.member(item.place), score, member)
        })
    }

    fn insert(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let known = self.scores.get_full(member);
        let known = known.map(|(place, _, before)| (place, *before));
        match known {
            Some((_, before)) if before == score => return Some(before),
            Some((_, before)) => {
                let rank = self.rank_of(before, member);
                self.order.remove_at(rank);
            }
            None => {}
        }
        let rank = self.rank_of(score, member);
        let place = match known {
            Some((place, _)) => {
                self.scores.replace_at(place, score);
                place
            }
            None => self.scores.insert_full(member.into(), score).0,
        };
        self.order.insert_at(rank, Item { score, place });
        known.map(|(_, before)| before)
    }

    /// Takes out the member of a rank and place. The last one of the table takes its place.
    fn remove(&mut self, rank: usize, place: usize) {
        self.order.remove_at(rank);
        let last = self.scores.len() - 1;
        if place != last
            && let Some((member, score)) = self.scores.get_index(last)
        {
            let rank = self.rank_of(*score, member);
            self.order.set_place(rank, place);
        }
        self.scores.swap_remove_index(place);
    }
}

/// Members with scores in order, from both ends.
#[derive(Clone, Debug)]
pub struct Members<'a>(Source<'a>);

#[derive(Clone, Debug)]
enum Source<'a> {
    Small(std::vec::IntoIter<(&'a [u8], f64)>),
    Large(&'a Table<f64>, Items<'a>),
}

fn resolve(scores: &Table<f64>, place: usize) -> Option<(&[u8], f64)> {
    let (member, score) = scores.get_index(place)?;
    Some((member, *score))
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], f64);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Source::Small(members) => members.next(),
            Source::Large(scores, items) => resolve(scores, items.next()?.place),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Source::Small(members) => members.size_hint(),
            Source::Large(_, items) => items.size_hint(),
        }
    }
}

impl DoubleEndedIterator for Members<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Source::Small(members) => members.next_back(),
            Source::Large(scores, items) => resolve(scores, items.next_back()?.place),
        }
    }
}

impl ExactSizeIterator for Members<'_> {}

#[cfg(test)]
mod tests;
