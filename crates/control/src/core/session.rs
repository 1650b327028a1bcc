//! Logins: whose a bearer token is, by its SHA-256 digest alone.
//!
//! There is no time in the log. Which logins are still used is known to the leader, which ends
//! the others by an entry (`driver/logins.rs`); their number is bounded, and the oldest one
//! makes room.

use std::collections::BTreeMap;

use prost::Message as _;

use crate::core::{
    effects::{Effects, Table},
    restore::RestoreError,
    rows::SessionRow,
};

/// How many logins there may be; the oldest beyond it is forgotten, and its holder logs in again.
pub const SESSIONS_MAX: usize = 65_536;

/// SHA-256 of a bearer token.
pub type Digest = [u8; 32];

/// Every login.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sessions {
    by_digest: BTreeMap<Digest, SessionRow>,
    by_age: BTreeMap<u64, Digest>,
}

impl Sessions {
    pub(crate) fn name(&self, digest: &[u8]) -> Option<&str> {
        self.by_digest.get(digest).map(|row| row.name.as_str())
    }

    pub(crate) fn len(&self) -> usize {
        self.by_digest.len()
    }

    pub(crate) fn digests(&self) -> impl Iterator<Item = Digest> + '_ {
        self.by_digest.keys().copied()
    }

    pub(crate) fn open(&mut self, digest: Digest, name: &str, effects: &mut Effects) {
        self.close(digest, effects);
        if self.by_digest.len() >= SESSIONS_MAX
            && let Some((_, oldest)) = self.by_age.first_key_value()
        {
            self.close(*oldest, effects);
        }
        let row = SessionRow {
            name: name.to_owned(),
            ordinal: self.by_age.last_key_value().map_or(0, |(last, _)| *last) + 1,
        };
        effects.put(Table::Sessions, digest.to_vec(), row.encode_to_vec());
        self.insert(digest, row);
    }

    pub(crate) fn close_of_user(&mut self, name: &str, effects: &mut Effects) {
        self.close_where(|row| row.name == name, effects);
    }

    pub(crate) fn close_all(&mut self, effects: &mut Effects) {
        self.close_where(|_| true, effects);
    }

    fn close_where(&mut self, holds: impl Fn(&SessionRow) -> bool, effects: &mut Effects) {
        let digests: Vec<Digest> = self
            .by_digest
            .iter()
            .filter(|(_, row)| holds(row))
            .map(|(digest, _)| *digest)
            .collect();
        for digest in digests {
            self.close(digest, effects);
        }
    }

    pub(crate) fn close(&mut self, digest: Digest, effects: &mut Effects) {
        if let Some(row) = self.by_digest.remove(&digest) {
            self.by_age.remove(&row.ordinal);
            effects.delete(Table::Sessions, digest.to_vec());
        }
    }

    fn insert(&mut self, digest: Digest, row: SessionRow) {
        self.by_age.insert(row.ordinal, digest);
        self.by_digest.insert(digest, row);
    }

    pub(crate) fn restore_row(&mut self, key: &[u8], value: &[u8]) -> Result<(), RestoreError> {
        let garbled = || RestoreError::garbled(Table::Sessions, key);
        let digest = key.try_into().map_err(|_| garbled())?;
        let row = SessionRow::decode(value).map_err(|_| garbled())?;
        self.insert(digest, row);
        Ok(())
    }
}
