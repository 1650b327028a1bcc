//! SCAN over partitions.
//!
//! The cursor that a client sees is `place × partitions + partition`: the partition that is being
//! looked at, and that partition's own cursor. The number of partitions never changes, so a
//! cursor means the same for ever and on every node. 0 is the beginning of the first partition;
//! no later place is 0, since the first partition's own cursor is 0 only at its beginning and
//! the others have a number. The partition is in the low digits, so that cursors stay below
//! 2^53, where clients that keep numbers as floating point still read them exactly.

use atoll_base::id::PartitionId;
use bytes::Bytes;

use crate::core::{
    command::CommandError, data::parse_integer, number::parse_unsigned, reply::Reply,
};

/// So many partitions one SCAN asks at most when it finds fewer keys than it was asked for.
const PARTITIONS_ASKED_MAX: u16 = 64;

/// So many keys are asked for where COUNT says nothing.
const COUNT_DEFAULT: usize = 10;

/// What no partition of this version answers.
const UNFIT: &[u8] = b"ERR a partition's answer to SCAN is of an unknown form";

/// One SCAN on its way: [`ask`](Self::ask) and [`take`](Self::take) in turn.
#[derive(Debug)]
pub struct Scan {
    words: Vec<Bytes>,
    partitions: u16,
    partition: u16,
    place: u64,
    count: usize,
    found: Vec<Reply>,
    asked: u16,
}

impl Scan {
    /// # Errors
    /// Where the cursor is no number.
    pub(super) fn new(words: &[Bytes], partitions: u16) -> Result<Self, CommandError> {
        let cursor = words.get(1).ok_or(CommandError::Arity("scan"))?;
        let cursor = parse_unsigned(cursor).ok_or(CommandError::Other("ERR invalid cursor"))?;
        let all = u64::from(partitions);
        let partition = u16::try_from(cursor % all).unwrap_or(0);
        Ok(Scan {
            count: count(words),
            words: words.to_vec(),
            partitions,
            partition,
            place: cursor / all,
            found: Vec::new(),
            asked: 0,
        })
    }

    /// Whom to ask what next.
    pub fn ask(&self) -> (PartitionId, Vec<Bytes>) {
        let mut words = self.words.clone();
        words[1] = Bytes::from(self.place.to_string());
        (PartitionId(self.partition), words)
    }

    /// Takes what was answered. Gives the whole answer, unless another partition is to be asked.
    pub fn take(&mut self, answer: Reply) -> Option<Reply> {
        let Reply::Array(mut pair) = answer else {
            return Some(answer);
        };
        let (Some(Reply::Array(mut found)), Some(Reply::Bulk(place))) = (pair.pop(), pair.pop())
        else {
            return Some(Reply::Error(Bytes::from_static(UNFIT)));
        };
        let Some(place) = parse_unsigned(&place) else {
            return Some(Reply::Error(Bytes::from_static(UNFIT)));
        };
        self.found.append(&mut found);
        self.asked += 1;
        self.place = place;
        if place == 0 {
            self.partition += 1;
            if self.partition == self.partitions {
                return Some(self.answer(0));
            }
            if self.found.len() < self.count && self.asked < PARTITIONS_ASKED_MAX {
                return None;
            }
        }
        let cursor = place
            .checked_mul(u64::from(self.partitions))
            .and_then(|cursor| cursor.checked_add(u64::from(self.partition)));
        Some(match cursor {
            Some(cursor) => self.answer(cursor),
            None => Reply::Error(Bytes::from_static(b"ERR invalid cursor")),
        })
    }

    /// Leaves out partitions that are not wanted, but for one that was begun. Gives the whole
    /// answer, if there are no others.
    pub fn skip(&mut self, is_wanted: impl Fn(PartitionId) -> bool) -> Option<Reply> {
        while self.place == 0 && !is_wanted(PartitionId(self.partition)) {
            self.partition += 1;
            if self.partition == self.partitions {
                return Some(self.answer(0));
            }
        }
        None
    }

    fn answer(&mut self, cursor: u64) -> Reply {
        Reply::Array(vec![
            Reply::bulk(cursor.to_string()),
            Reply::Array(std::mem::take(&mut self.found)),
        ])
    }
}

/// What COUNT says. If it says nonsense, the partition that is asked will refuse it.
fn count(words: &[Bytes]) -> usize {
    let at = words
        .iter()
        .skip(2)
        .position(|word| word.eq_ignore_ascii_case(b"COUNT"));
    at.and_then(|at| words.get(at + 3))
        .and_then(|word| parse_integer(word))
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or(COUNT_DEFAULT)
}
