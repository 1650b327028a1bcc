//! Who writes: a replica, in one life of its copy of the partition.
//!
//! A replica that leaves a partition drops its copy, and may become a member again. What it told
//! before may still be on its way between others then, and the copy that it is filled with need
//! not have all of it. Were it to go on under the same name, it would count from an older sum,
//! and of two sums of one name only one stays: increments would be lost. So each copy has a
//! number of its own, and what writes is the replica with that number. No copy of a replica has
//! the number of one before; whoever drops a copy remembers it
//! ([`Noted::Left`](super::noted::Noted::Left)).

use std::fmt;

use atoll_base::id::ReplicaId;

use crate::core::codec::{CodecError, Reader, Writer};

/// Bits of an author that are its replica's.
const REPLICA_BITS: u32 = 32;
/// Replica ids are counted from 1, one for each node that ever joined, so they stay below this.
const REPLICA_END: u64 = 1 << REPLICA_BITS;
/// Lives stay below this, so that a stamp takes at most 16 bytes.
const LIFE_END: u32 = 1 << 24;

/// The number of a replica's copy of a partition: 0, and one more with each copy that was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Life(u32);

impl Life {
    /// Of the first copy.
    pub const FIRST: Life = Life(0);

    /// That of the next copy; none after more copies than a replica ever has.
    pub fn next(self) -> Option<Life> {
        let next = self.0 + 1;
        (next < LIFE_END).then_some(Life(next))
    }

    /// As a number.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The life of a number; none if there is no such life.
    pub fn of_number(number: u64) -> Option<Life> {
        let number = u32::try_from(number).ok();
        number.filter(|it| *it < LIFE_END).map(Life)
    }
}

/// Who writes. Ordered by life, then by replica; nobody (0) in stamps that stand for a moment.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Author(u64);

impl Author {
    /// Nobody.
    pub const NOBODY: Author = Author(0);

    /// A replica in a life of its copy.
    ///
    /// # Panics
    /// The replica's id is none that a cluster gives.
    pub fn new(replica: ReplicaId, life: Life) -> Author {
        assert!(
            (1..REPLICA_END).contains(&replica.0),
            "replicas are counted from 1"
        );
        Author(replica.0 | u64::from(life.0) << REPLICA_BITS)
    }

    /// A replica in its first life.
    #[cfg(test)]
    pub(super) fn first(replica: u64) -> Author {
        Author::new(ReplicaId(replica), Life::FIRST)
    }

    /// The replica.
    pub fn replica(self) -> ReplicaId {
        ReplicaId(self.0 % REPLICA_END)
    }

    /// The life of its copy.
    pub fn life(self) -> Life {
        // What is above the replica has few enough bits: whoever made it checked that.
        Life((self.0 >> REPLICA_BITS) as u32)
    }

    /// All its bits.
    pub(super) fn bits(self) -> u64 {
        self.0
    }

    pub(super) fn write(self, to: &mut Writer) {
        to.number(self.0);
    }

    pub(super) fn read(from: &mut Reader) -> Result<Author, CodecError> {
        let author = Author(from.number()?);
        let is_one = Life::of_number(author.0 >> REPLICA_BITS).is_some()
            && (author == Author::NOBODY || author.replica().0 != 0);
        is_one.then_some(author).ok_or(CodecError::Number)
    }
}

impl fmt::Debug for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.replica())?;
        match self.life() {
            Life::FIRST => Ok(()),
            life => write!(f, "/{}", life.number()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_of_a_replica_are_different_authors() {
        let replica = ReplicaId(REPLICA_END - 1);
        let mut lives = vec![Life::FIRST];
        for _ in 0..3 {
            lives.extend(lives[lives.len() - 1].next());
        }
        lives.extend(Life::of_number(u64::from(LIFE_END) - 1));
        assert_eq!(lives[4].next(), None);
        assert_eq!(Life::of_number(LIFE_END.into()), None);
        for pair in lives.windows(2) {
            let [one, next] = [pair[0], pair[1]].map(|life| Author::new(replica, life));
            assert!(one < next);
            assert_eq!((next.replica(), next.life()), (replica, pair[1]));
            let mut to = Writer::default();
            next.write(&mut to);
            let bytes = to.finish();
            assert!(bytes.len() <= 8, "a stamp is to stay within 16 bytes");
            assert_eq!(Author::read(&mut Reader::new(bytes)), Ok(next));
        }
        assert_eq!(Author::new(ReplicaId(7), Life(2)).to_string(), "7/2");
    }

    #[test]
    fn what_nobody_is_called_is_refused() {
        for bits in [REPLICA_END, 3 * REPLICA_END, 1 << 56, u64::MAX] {
            let mut to = Writer::default();
            to.number(bits);
            let read = Author::read(&mut Reader::new(to.finish()));
            assert_eq!(read, Err(CodecError::Number), "{bits:x}");
        }
    }
}
