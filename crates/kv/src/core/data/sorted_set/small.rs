//! Small sorted sets: one row of members and scores, in order.

use std::ops::Range;

use crate::core::data::pack::Pack;

/// Members and scores in turn, by score and then by member.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Small(Pack);

impl Small {
    pub(super) fn len(&self) -> usize {
        self.0.len() / 2
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }

    /// Members and scores in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], f64)> {
        let mut items = self.0.iter();
        std::iter::from_fn(move || {
            let (member, score) = (items.next()?, items.next()?);
            Some((member, read_score(score)))
        })
    }

    /// The rank and score of a member.
    pub(super) fn find(&self, member: &[u8]) -> Option<(usize, f64)> {
        self.iter()
            .enumerate()
            .find(|(_, (other, _))| *other == member)
            .map(|(rank, (_, score))| (rank, score))
    }

    /// Adds a member that is not there, before the one of this rank.
    pub(super) fn insert_at(&mut self, rank: usize, member: &[u8], score: f64) {
        let (bytes, length) = write_score(score);
        self.0.insert(2 * rank, member);
        self.0.insert(2 * rank + 1, &bytes[..length]);
    }

    pub(super) fn remove(&mut self, ranks: Range<usize>) {
        self.0.remove(2 * ranks.start..2 * ranks.end);
    }
}

/// A score in 1, 2 or 4 bytes where it is a whole number that fits them, else in 8.
fn write_score(score: f64) -> ([u8; 8], usize) {
    // A cast that does not fit gives another number, and so does minus nothing.
    let whole = score as i32;
    let mut bytes = [0; 8];
    if f64::from(whole).to_bits() != score.to_bits() {
        return (score.to_le_bytes(), 8);
    }
    bytes[..4].copy_from_slice(&whole.to_le_bytes());
    let length = match () {
        () if i8::try_from(whole).is_ok() => 1,
        () if i16::try_from(whole).is_ok() => 2,
        () => 4,
    };
    (bytes, length)
}

fn read_score(bytes: &[u8]) -> f64 {
    match *bytes {
        [a] => f64::from(i8::from_le_bytes([a])),
        [a, b] => f64::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => f64::from(i32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => unreachable!("scores are written by write_score"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_take_the_bytes_that_they_need() {
        for (score, length) in [
            (0.0, 1),
            (-0.0, 8),
            (-128.0, 1),
            (128.0, 2),
            (-32_769.0, 4),
            (2_147_483_647.0, 4),
            (2_147_483_648.0, 8),
            (0.5, 8),
            (f64::INFINITY, 8),
            (f64::NEG_INFINITY, 8),
        ] {
            let (bytes, written) = write_score(score);
            assert_eq!(written, length, "{score}");
            assert_eq!(read_score(&bytes[..written]).to_bits(), score.to_bits());
        }
    }
}
