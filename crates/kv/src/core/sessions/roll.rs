//! Which coordinators there still are.
//!
//! The table of sessions can forget a coordinator that is gone for good only if none of its
//! requests that come late is taken for a new one. Replica ids are given in order and never
//! twice, so it is enough to know up to which id that was looked at, and which of those are
//! still there: as many as the cluster has nodes, however many came and went.
//!
//! Owners may log what they know in any order, the older after the newer: what is gone for one
//! of two stays gone when they are put together.

use std::collections::BTreeSet;

use atoll_base::id::ReplicaId;
use bytes::Bytes;

use crate::core::codec::{CodecError, Reader, Writer};

/// Version of the encoded form.
const VERSION: u8 = 1;

/// Of the replica ids up to one, those that are still there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Roll {
    up_to: u64,
    present: BTreeSet<ReplicaId>,
}

impl Roll {
    /// Of the ids from 1 up to this one, only these are left.
    pub fn new(up_to: u64, present: impl IntoIterator<Item = ReplicaId>) -> Roll {
        let present = present.into_iter();
        Roll {
            up_to,
            present: present.filter(|replica| replica.0 <= up_to).collect(),
        }
    }

    /// Whether a replica is gone for good.
    pub fn is_gone(&self, replica: ReplicaId) -> bool {
        replica.0 <= self.up_to && !self.present.contains(&replica)
    }

    /// Up to which id it tells.
    pub fn up_to(&self) -> u64 {
        self.up_to
    }

    /// Those of them that are left, in order.
    pub fn present(&self) -> &BTreeSet<ReplicaId> {
        &self.present
    }

    /// Learns what another one tells.
    pub fn learn(&mut self, other: &Roll) {
        let known = self.present.union(&other.present).copied();
        let known = known.filter(|it| !self.is_gone(*it) && !other.is_gone(*it));
        *self = Roll::new(self.up_to.max(other.up_to), known.collect::<Vec<_>>());
    }

    /// As the log holds it.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer
            .byte(VERSION)
            .number(self.up_to)
            .length(self.present.len());
        for replica in &self.present {
            writer.number(replica.0);
        }
        writer.finish()
    }

    /// # Errors
    /// These bytes are none, or one of a newer version.
    pub fn decode(bytes: Bytes) -> Result<Roll, CodecError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let up_to = reader.number()?;
        let count = reader.count(1)?;
        let mut present = BTreeSet::new();
        for _ in 0..count {
            present.insert(ReplicaId(reader.number()?));
        }
        reader.finish()?;
        Ok(Roll::new(up_to, present))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_set, prelude::*};

    use super::*;

    fn roll() -> impl Strategy<Value = Roll> {
        let present = btree_set((1..20_u64).prop_map(ReplicaId), 0..12);
        (0..20_u64, present).prop_map(|(up_to, present)| Roll::new(up_to, present))
    }

    fn both(one: &Roll, other: &Roll) -> Roll {
        let mut both = one.clone();
        both.learn(other);
        both
    }

    proptest! {
        #[test]
        fn it_comes_back(roll in roll()) {
            prop_assert_eq!(Roll::decode(roll.encode()), Ok(roll));
        }

        #[test]
        fn noise_is_refused(noise in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Roll::decode(noise.into());
        }

        /// Who is gone for one is gone for both, in whatever order they are heard.
        #[test]
        fn nobody_comes_back(one in roll(), other in roll(), third in roll()) {
            let all = both(&one, &other);
            for replica in (1..25).map(ReplicaId) {
                let gone = one.is_gone(replica) || other.is_gone(replica);
                prop_assert_eq!(all.is_gone(replica), gone, "{:?}", replica);
            }
            prop_assert_eq!(&all, &both(&other, &one));
            prop_assert_eq!(&all, &both(&all, &one));
            prop_assert_eq!(both(&all, &third), both(&one, &both(&other, &third)));
        }
    }
}
