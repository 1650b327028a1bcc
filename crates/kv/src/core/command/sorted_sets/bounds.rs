//! Parts of a sorted set: by rank, by score, by bytes.

use std::ops::Range;

use bytes::Bytes;

use crate::core::{
    command::{CommandError, args},
    data::SortedSet,
};

/// From where to where.
#[derive(Clone, Debug)]
pub(super) enum Bounds<'a> {
    /// First and last, counted from the end where negative.
    Ranks(i64, i64),
    /// Lowest and highest score.
    Scores(ScoreBound, ScoreBound),
    /// First and last member, where all scores are the same.
    Members(MemberBound<'a>, MemberBound<'a>),
}

/// A score, which itself is in or out.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScoreBound {
    score: f64,
    open: bool,
}

/// Bytes, which themselves are in or out.
#[derive(Clone, Copy, Debug)]
pub(super) enum MemberBound<'a> {
    /// Before all bytes.
    Lowest,
    /// After all bytes.
    Highest,
    At {
        member: &'a [u8],
        open: bool,
    },
}

impl<'a> Bounds<'a> {
    /// Reads ranks.
    pub(super) fn ranks(start: &[u8], end: &[u8]) -> Result<Self, CommandError> {
        Ok(Bounds::Ranks(args::integer(start)?, args::integer(end)?))
    }

    /// Reads scores: `1.5`, `(1.5` without it, `-inf`.
    pub(super) fn scores(min: &[u8], max: &[u8]) -> Result<Self, CommandError> {
        Ok(Bounds::Scores(score_bound(min)?, score_bound(max)?))
    }

    /// Reads members: `[a`, `(a` without it, `-`, `+`.
    pub(super) fn members(min: &'a Bytes, max: &'a Bytes) -> Result<Self, CommandError> {
        Ok(Bounds::Members(member_bound(min)?, member_bound(max)?))
    }

    /// The ranks between the bounds; ranks that a client names count from the end where
    /// `reverse` is.
    pub(super) fn of(&self, set: &SortedSet, reverse: bool) -> Range<usize> {
        let length = set.len();
        let (start, end) = match *self {
            Bounds::Ranks(first, last) => {
                let range = ranks(first, last, length);
                if reverse {
                    return length - range.end..length - range.start;
                }
                return range;
            }
            Bounds::Scores(min, max) => (
                set.count_by_score(|score| score < min.score || (min.open && score == min.score)),
                set.count_by_score(|score| score < max.score || (!max.open && score == max.score)),
            ),
            Bounds::Members(min, max) => (
                set.count_by_member(|member| !min.lets_in_from(member)),
                set.count_by_member(|member| max.lets_in_up_to(member)),
            ),
        };
        start..end.max(start)
    }
}

/// Ranks from first to last, both included; what is beyond the ends is cut off.
fn ranks(first: i64, last: i64, length: usize) -> Range<usize> {
    let from_start = |index: i64| match usize::try_from(index) {
        Ok(index) => Some(index),
        Err(_) => {
            let back = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
            length.checked_sub(back)
        }
    };
    let start = from_start(first).unwrap_or(0).min(length);
    let end = from_start(last).map_or(0, |last| last.saturating_add(1).min(length));
    start..end.max(start)
}

fn score_bound(argument: &[u8]) -> Result<ScoreBound, CommandError> {
    let (open, text) = match argument {
        [b'(', rest @ ..] => (true, rest),
        all => (false, all),
    };
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse::<f64>().ok())
        .filter(|score| !score.is_nan())
        .map(|score| ScoreBound { score, open })
        .ok_or(CommandError::Other("ERR min or max is not a float"))
}

fn member_bound(argument: &[u8]) -> Result<MemberBound<'_>, CommandError> {
    match argument {
        b"-" => Ok(MemberBound::Lowest),
        b"+" => Ok(MemberBound::Highest),
        [b'[', member @ ..] => Ok(MemberBound::At {
            member,
            open: false,
        }),
        [b'(', member @ ..] => Ok(MemberBound::At { member, open: true }),
        _ => Err(CommandError::Other(
            "ERR min or max not valid string range item",
        )),
    }
}

impl MemberBound<'_> {
    /// Whether a member is in, this being the lower bound.
    fn lets_in_from(self, other: &[u8]) -> bool {
        match self {
            MemberBound::Lowest => true,
            MemberBound::Highest => false,
            MemberBound::At { member, open } => other > member || (!open && other == member),
        }
    }

    /// Whether a member is in, this being the upper bound.
    fn lets_in_up_to(self, other: &[u8]) -> bool {
        match self {
            MemberBound::Lowest => false,
            MemberBound::Highest => true,
            MemberBound::At { member, open } => other < member || (!open && other == member),
        }
    }
}

/// LIMIT: so many are skipped, at most so many taken. As in Redis, nothing is taken where the
/// offset is negative, and everything where the count is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) offset: i64,
    pub(super) count: i64,
}

impl Limit {
    pub(super) const NONE: Limit = Limit {
        offset: 0,
        count: -1,
    };

    /// What is left of the ranks, taken from their end where `reverse` is.
    pub(super) fn of(self, ranks: Range<usize>, reverse: bool) -> Range<usize> {
        let Ok(offset) = usize::try_from(self.offset) else {
            return ranks.start..ranks.start;
        };
        let offset = offset.min(ranks.len());
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        let count = count.min(ranks.len() - offset);
        if reverse {
            let end = ranks.end - offset;
            end - count..end
        } else {
            let start = ranks.start + offset;
            start..start + count
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranks_are_cut_to_what_is_there() {
        for (first, last, range) in [
            (0, -1, 0..5),
            (1, 2, 1..3),
            (-2, -1, 3..5),
            (-100, 0, 0..1),
            (0, -6, 0..0),
            (4, 100, 4..5),
            (5, 100, 5..5),
            (3, 1, 3..3),
            (i64::MIN, i64::MAX, 0..5),
        ] {
            assert_eq!(ranks(first, last, 5), range, "{first} {last}");
        }
    }

    fn limited(ranks: &[usize], limit: Limit) -> Vec<usize> {
        let Ok(offset) = usize::try_from(limit.offset) else {
            return Vec::new();
        };
        let count = usize::try_from(limit.count).unwrap_or(usize::MAX);
        ranks.iter().copied().skip(offset).take(count).collect()
    }

    proptest! {
        #[test]
        fn limits_skip_and_take(
            start in 0..5_usize,
            length in 0..9_usize,
            offset in -2..12_i64,
            count in -2..12_i64,
        ) {
            let limit = Limit { offset, count };
            let all: Vec<usize> = (start..start + length).collect();
            let forward = limit.of(start..start + length, false);
            prop_assert_eq!(forward.collect::<Vec<_>>(), limited(&all, limit));
            let back: Vec<usize> = all.into_iter().rev().collect();
            let reverse = limit.of(start..start + length, true);
            prop_assert_eq!(reverse.rev().collect::<Vec<_>>(), limited(&back, limit));
        }
    }
}
