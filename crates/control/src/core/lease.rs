//! Leases as every node knows them: how long they were granted for, what was left at the last
//! checkpoint, and which keys hang on them. When they end is the leader's business alone
//! ([`crate::core::lessor`]); it then proposes to revoke them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use prost::Message as _;

use crate::core::{
    effects::{Effects, LeaseChange, Space, Table},
    error::Error,
    restore::RestoreError,
    rows::LeaseRow,
};

/// The longest time to live, as in etcd.
pub const LEASE_TTL_MAX_S: i64 = 9_000_000_000;
/// The shortest; less is raised to it.
pub const LEASE_TTL_MIN_S: i64 = 1;
/// Stands for "no lease" in requests and keys.
pub const NO_LEASE: i64 = 0;

/// The time to live to propose at least, so that a lease outlives an election: one and a half
/// times the election timeout, in whole seconds, rounded up.
pub fn ttl_min_s(election_timeout: Duration) -> i64 {
    let seconds = (election_timeout * 3 / 2).as_millis().div_ceil(1000);
    i64::try_from(seconds).map_or(LEASE_TTL_MAX_S, |s| {
        s.clamp(LEASE_TTL_MIN_S, LEASE_TTL_MAX_S)
    })
}

/// One lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// What was granted, in seconds.
    pub ttl_s: i64,
    /// What was left at the last checkpoint, in seconds; 0: no checkpoint since it was renewed.
    pub remaining_s: i64,
    /// The keys attached to it, of both keyspaces, in order.
    pub keys: BTreeSet<Box<[u8]>>,
}

impl Lease {
    /// Whether a key of `space` is attached.
    pub(crate) fn holds_keys_of(&self, space: Space) -> bool {
        self.keys.iter().any(|key| Space::of(key) == space)
    }
}

/// Every lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    by_id: BTreeMap<i64, Lease>,
}

impl Leases {
    /// A lease, if there is one of this id.
    pub fn get(&self, id: i64) -> Option<&Lease> {
        self.by_id.get(&id)
    }

    /// Every lease in order of id.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &Lease)> {
        self.by_id.iter().map(|(id, lease)| (*id, lease))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Grants a lease; answers its time to live, which may have been raised to the minimum.
    pub(crate) fn grant(
        &mut self,
        id: i64,
        ttl_s: i64,
        effects: &mut Effects,
    ) -> Result<i64, Error> {
        if id == NO_LEASE {
            return Err(Error::LeaseNotFound);
        }
        if ttl_s > LEASE_TTL_MAX_S {
            return Err(Error::LeaseTTLTooLarge);
        }
        if self.by_id.contains_key(&id) {
            return Err(Error::LeaseExist);
        }
        let ttl_s = ttl_s.max(LEASE_TTL_MIN_S);
        let lease = Lease {
            ttl_s,
            ..Lease::default()
        };
        lease.write(id, effects);
        self.by_id.insert(id, lease);
        effects.leases.push(LeaseChange::Granted { id, ttl_s });
        Ok(ttl_s)
    }

    /// Forgets a lease whose keys have been deleted.
    pub(crate) fn remove(&mut self, id: i64, effects: &mut Effects) {
        let lease = self.by_id.remove(&id);
        assert!(
            lease.is_some_and(|lease| lease.keys.is_empty()),
            "a lease goes after its keys"
        );
        effects.delete(Table::Leases, row_key(id));
        effects.leases.push(LeaseChange::Revoked { id });
    }

    /// Notes what is left of a lease; one that is gone is passed over.
    pub(crate) fn checkpoint(&mut self, id: i64, remaining_s: i64, effects: &mut Effects) {
        if let Some(lease) = self.by_id.get_mut(&id) {
            lease.remaining_s = remaining_s;
            lease.write(id, effects);
            effects
                .leases
                .push(LeaseChange::Checkpointed { id, remaining_s });
        }
    }

    pub(crate) fn attach(&mut self, id: i64, key: &Bytes) {
        if id != NO_LEASE {
            let lease = self.by_id.get_mut(&id);
            let lease = lease.expect("a put's lease is checked before it is written");
            lease.keys.insert(Box::from(&key[..]));
        }
    }

    pub(crate) fn detach(&mut self, id: i64, key: &Bytes) {
        if id != NO_LEASE {
            let lease = self.by_id.get_mut(&id);
            lease
                .expect("a key's lease exists as long as the key")
                .keys
                .remove(&key[..]);
        }
    }

    pub(crate) fn restore_row(&mut self, key: &[u8], value: &[u8]) -> Result<(), RestoreError> {
        let garbled = || RestoreError::garbled(Table::Leases, key);
        let id = i64::from_be_bytes(key.try_into().map_err(|_| garbled())?) ^ i64::MIN;
        let row = LeaseRow::decode(value).map_err(|_| garbled())?;
        self.by_id.insert(
            id,
            Lease {
                ttl_s: row.ttl_s,
                remaining_s: row.remaining_s,
                keys: BTreeSet::new(),
            },
        );
        Ok(())
    }

    pub(crate) fn restore_key(&mut self, id: i64, key: &[u8]) -> Result<(), RestoreError> {
        let lease = self
            .by_id
            .get_mut(&id)
            .ok_or(RestoreError::UnknownLease { id })?;
        lease.keys.insert(Box::from(key));
        Ok(())
    }
}

impl Lease {
    fn write(&self, id: i64, effects: &mut Effects) {
        let row = LeaseRow {
            ttl_s: self.ttl_s,
            remaining_s: self.remaining_s,
        };
        effects.put(Table::Leases, row_key(id), row.encode_to_vec());
    }
}

/// Big endian with the sign flipped, so that rows lie in order of id.
fn row_key(id: i64) -> Vec<u8> {
    (id ^ i64::MIN).to_be_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_checked_as_in_etcd() {
        let (mut leases, mut effects) = (Leases::default(), Effects::default());
        assert_eq!(leases.grant(0, 10, &mut effects), Err(Error::LeaseNotFound));
        assert_eq!(
            leases.grant(1, LEASE_TTL_MAX_S + 1, &mut effects),
            Err(Error::LeaseTTLTooLarge)
        );
        assert_eq!(leases.grant(1, -5, &mut effects), Ok(LEASE_TTL_MIN_S));
        assert_eq!(leases.grant(1, 10, &mut effects), Err(Error::LeaseExist));
        assert_eq!(leases.grant(-7, 10, &mut effects), Ok(10));
        assert_eq!(leases.iter().map(|(id, _)| id).collect::<Vec<_>>(), [-7, 1]);
    }

    #[test]
    fn the_minimum_outlives_an_election() {
        assert_eq!(ttl_min_s(Duration::from_millis(1000)), 2);
        assert_eq!(ttl_min_s(Duration::from_millis(300)), 1);
        assert_eq!(ttl_min_s(Duration::from_millis(10_000)), 15);
    }
}
