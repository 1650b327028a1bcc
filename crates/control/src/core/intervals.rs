//! Sets of key intervals, kept sorted and merged.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Where an interval ends: before a key, or nowhere. Ordered, so that "nowhere" is the largest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Before(Bytes),
    Never,
}

impl End {
    /// Where an interval of the single key `key` ends.
    pub(crate) fn after_point(key: &[u8]) -> End {
        let mut end = Vec::with_capacity(key.len() + 1);
        end.extend_from_slice(key);
        end.push(0);
        End::Before(end.into())
    }
}

/// Disjoint intervals that do not touch, by their beginning.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Intervals(BTreeMap<Bytes, End>);

impl Intervals {
    /// Adds an interval and merges it with those that it overlaps or touches. An empty or
    /// inverted one adds nothing.
    pub(crate) fn insert(&mut self, begin: Bytes, end: End) {
        if matches!(&end, End::Before(key) if *key <= begin) {
            return;
        }
        let (mut begin, mut end) = (begin, end);
        if let Some((left, left_end)) = self.0.range(..=begin.clone()).next_back()
            && !matches!(left_end, End::Before(key) if *key < begin)
        {
            begin = left.clone();
            end = end.max(left_end.clone());
        }
        while let Some((next, next_end)) = self.0.range(begin.clone()..).next() {
            if matches!(&end, End::Before(key) if key < next) {
                break;
            }
            end = end.max(next_end.clone());
            let next = next.clone();
            self.0.remove(&next);
        }
        self.0.insert(begin, end);
    }

    /// Adds every interval of `other`.
    pub(crate) fn union(&mut self, other: Intervals) {
        for (begin, end) in other.0 {
            self.insert(begin, end);
        }
    }

    /// Whether `key` lies in one of them.
    pub(crate) fn contains_key(&self, key: &[u8]) -> bool {
        self.containing(key)
            .is_some_and(|end| !matches!(end, End::Before(end) if end[..] <= *key))
    }

    /// Whether the whole interval lies in one of them.
    pub(crate) fn contains(&self, begin: &[u8], end: &End) -> bool {
        self.contains_key(begin) && self.containing(begin).is_some_and(|have| have >= end)
    }

    fn containing(&self, key: &[u8]) -> Option<&End> {
        let all_up_to = (std::ops::Bound::Unbounded, std::ops::Bound::Included(key));
        self.0
            .range::<[u8], _>(all_up_to)
            .next_back()
            .map(|(_, end)| end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before(key: &'static str) -> End {
        End::Before(Bytes::from(key))
    }

    #[test]
    fn touching_intervals_become_one() {
        let mut set = Intervals::default();
        set.insert("c".into(), before("e"));
        set.insert("a".into(), before("b"));
        assert!(!set.contains(b"a", &before("e")));
        set.insert("b".into(), before("c"));
        assert!(set.contains(b"a", &before("e")));
        assert!(!set.contains(b"a", &before("f")));
        assert!(!set.contains_key(b"e"));
        assert_eq!(set.0.len(), 1);
    }

    #[test]
    fn an_open_interval_swallows_the_rest() {
        let mut set = Intervals::default();
        set.insert("x".into(), End::after_point(b"x"));
        assert!(set.contains_key(b"x") && !set.contains_key(b"xx"));
        set.insert("b".into(), End::Never);
        assert!(set.contains(b"c", &End::Never));
        assert!(!set.contains_key(b"a"));
        assert_eq!(set.0.len(), 1);
    }

    #[test]
    fn an_inverted_interval_is_nothing() {
        let mut set = Intervals::default();
        set.insert("b".into(), before("a"));
        set.insert("b".into(), before("b"));
        assert_eq!(set, Intervals::default());
    }
}
