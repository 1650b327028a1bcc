//! Sets of completion indexes of a Job, as its status and its success policy write them:
//! `1,3-5,7` (Kubernetes API, `completedIndexes`: three and more in a row have a hyphen).
//!
//! The intervals are kept in order, disjoint, and apart by one number at least.

/// A set of indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes {
    /// First and last of each interval.
    intervals: Vec<(u32, u32)>,
}

impl Indexes {
    /// Reads a set whose indexes all have to be below `completions`.
    ///
    /// # Errors
    /// What of it can't be read, in Kubernetes' words.
    pub fn parse(text: &str, completions: u32) -> Result<Indexes, String> {
        let mut intervals: Vec<(u32, u32)> = Vec::new();
        if text.is_empty() {
            return Ok(Indexes::default());
        }
        for part in text.split(',') {
            let (first, last) = interval(part, completions)?;
            if let Some((_, before)) = intervals.last()
                && *before >= first
            {
                return Err(out_of_order(*before, first));
            }
            intervals.push((first, last));
        }
        Ok(Indexes::of(intervals))
    }

    /// Reads what a status has, for as many completions as there are now: what is beyond them, or
    /// can't be read, counts as not there.
    pub fn of_status(text: &str, completions: u32) -> Indexes {
        let known = text.split(',').filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            let last = last.min(completions.checked_sub(1)?);
            (first <= last).then_some((first, last))
        });
        Indexes::of(known.collect())
    }

    /// The union of intervals.
    fn of(mut intervals: Vec<(u32, u32)>) -> Indexes {
        intervals.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(intervals.len());
        for (first, last) in intervals {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Indexes { intervals: merged }
    }

    /// With more of them.
    #[must_use]
    pub fn with(&self, more: impl IntoIterator<Item = u32>) -> Indexes {
        let more = more.into_iter().map(|index| (index, index));
        Indexes::of(self.intervals.iter().copied().chain(more).collect())
    }

    /// With all of another set.
    #[must_use]
    pub fn union(&self, other: &Indexes) -> Indexes {
        let all = self.intervals.iter().chain(&other.intervals);
        Indexes::of(all.copied().collect())
    }

    /// Whether an index is in it.
    pub fn contains(&self, index: u32) -> bool {
        let after = self.intervals.partition_point(|(first, _)| *first <= index);
        after > 0 && self.intervals[after - 1].1 >= index
    }

    /// How many of them are in another set, too.
    pub fn count_in(&self, other: &Indexes) -> u64 {
        let (mut count, mut at, mut of_other) = (0, 0, 0);
        while let (Some(own), Some(others)) =
            (self.intervals.get(at), other.intervals.get(of_other))
        {
            let (first, last) = (own.0.max(others.0), own.1.min(others.1));
            if first <= last {
                count += u64::from(last - first) + 1;
            }
            if own.1 < others.1 {
                at += 1;
            } else {
                of_other += 1;
            }
        }
        count
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        let lengths = self.intervals.iter();
        lengths
            .map(|(first, last)| u64::from(last - first) + 1)
            .sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// Those below `completions` that are not in it, in order.
    pub fn missing(&self, completions: u32) -> impl Iterator<Item = u32> {
        let ends = self.intervals.iter().map(|(_, last)| last + 1);
        let starts = self.intervals.iter().map(|(first, _)| *first);
        let gaps = std::iter::once(0)
            .chain(ends)
            .zip(starts.chain([completions]));
        gaps.flat_map(move |(from, to)| from..to.min(completions))
    }

    /// As a status has it.
    pub fn to_text(&self) -> String {
        let parts = self
            .intervals
            .iter()
            .map(|(first, last)| match last - first {
                0 => first.to_string(),
                1 => format!("{first},{last}"),
                _ => format!("{first}-{last}"),
            });
        parts.collect::<Vec<String>>().join(",")
    }
}

fn interval(text: &str, completions: u32) -> Result<(u32, u32), String> {
    let bounds: Vec<&str> = text.split('-').collect();
    if bounds.len() > 2 {
        return Err(format!(
            "the fragment {text:?} violates the requirement that an index interval can have at most two parts separated by '-'"
        ));
    }
    let bound = |text: &str| {
        let index: u32 = text
            .parse()
            .map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
        match index < completions {
            true => Ok(index),
            false => Err(format!("too large index: {text:?}")),
        }
    };
    let first = bound(bounds[0])?;
    let last = bounds.get(1).map(|text| bound(text)).transpose()?;
    match last {
        None => Ok((first, first)),
        Some(last) if first < last => Ok((first, last)),
        Some(last) => Err(out_of_order(first, last)),
    }
}

fn out_of_order(before: u32, next: u32) -> String {
    format!("non-increasing order, previous: {before}, current: {next}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sets_are_read_and_written() {
        for (text, count) in [
            ("", 0),
            ("7", 1),
            ("1,2", 2),
            ("1,3-5,7", 5),
            ("0-9", 10),
            ("0,2,4,5", 4),
        ] {
            let set = Indexes::parse(text, 10).expect(text);
            assert_eq!((set.to_text().as_str(), set.count()), (text, count));
            assert_eq!(Indexes::of_status(text, 10), set);
        }
        assert_eq!(Indexes::parse("1-2,3", 10).unwrap().to_text(), "1-3");
    }

    #[test]
    fn what_is_no_set() {
        let table = [
            ("1-2-3", "the fragment \"1-2-3\" violates"),
            ("x", "cannot convert string to integer for index: \"x\""),
            ("10", "too large index: \"10\""),
            ("3-3", "non-increasing order, previous: 3, current: 3"),
            ("1,1", "non-increasing order, previous: 1, current: 1"),
        ];
        for (text, why) in table {
            let found = Indexes::parse(text, 10).expect_err(text);
            assert!(found.starts_with(why), "{text}: {found}");
        }
    }

    #[test]
    fn a_job_that_shrinks_forgets_what_is_beyond() {
        let set = Indexes::of_status("1,3-5,x,9-", 5);
        assert_eq!(set.to_text(), "1,3,4");
        assert!(Indexes::of_status("0-3", 0).is_empty());
    }

    proptest! {
        #[test]
        fn it_is_a_set(
            one in prop::collection::btree_set(0..40_u32, 0..20),
            other in prop::collection::btree_set(0..40_u32, 0..20),
        ) {
            let set = Indexes::default().with(one.iter().copied());
            let second = Indexes::default().with(other.iter().copied());
            prop_assert_eq!(set.count(), one.len() as u64);
            for index in 0..41 {
                prop_assert_eq!(set.contains(index), one.contains(&index));
            }
            let all: BTreeSet<u32> = one.union(&other).copied().collect();
            prop_assert_eq!(set.union(&second), Indexes::default().with(all));
            prop_assert_eq!(set.count_in(&second), one.intersection(&other).count() as u64);
            let missing: Vec<u32> = set.missing(40).collect();
            let expected: Vec<u32> = (0..40).filter(|index| !one.contains(index)).collect();
            prop_assert_eq!(missing, expected);
            prop_assert_eq!(Indexes::parse(&set.to_text(), 40), Ok(set));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-,0-9x]{0,30}", completions in 0..50_u32) {
            let _ = Indexes::parse(&text, completions);
            let _ = Indexes::of_status(&text, completions);
        }
    }
}
