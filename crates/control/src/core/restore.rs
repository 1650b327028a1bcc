//! Building the machine from the store's tables.

use bytes::Bytes;
use prost::Message as _;
use thiserror::Error;

use crate::{
    core::{
        effects::{Space, Table, ValueError, parse_revision_key},
        history::{Entry, KeyHistory},
        keyspace::{FRESH_REVISION, Keyspace},
        machine::Machine,
    },
    proto::internal::RevisionRecord,
};

/// The store does not hold a state that this machine can go on from.
#[derive(Clone, Debug, Error)]
pub enum RestoreError {
    /// The store could not be read.
    #[error("reading table {} failed", table.name())]
    Read {
        /// The table.
        table: Table,
        /// Why.
        #[source]
        source: ValueError,
    },
    /// A row is not what this version writes.
    #[error("table {} has a row that cannot be decoded, at key {key:02x?}", table.name())]
    Garbled {
        /// The table.
        table: Table,
        /// The row's key.
        key: Vec<u8>,
    },
    /// A key names a lease that is not there.
    #[error("a key is attached to lease {id:x}, which is not there")]
    UnknownLease {
        /// The lease.
        id: i64,
    },
}

impl RestoreError {
    pub(crate) fn garbled(table: Table, key: &[u8]) -> RestoreError {
        RestoreError::Garbled {
            table,
            key: key.to_vec(),
        }
    }
}

impl Machine {
    /// Builds the machine from what its effects wrote. `scan` gives a table's rows in order
    /// of key; `applied_index` is the log index that the store says they include.
    ///
    /// # Errors
    /// When the store cannot be read, or holds what this version does not understand.
    pub fn restore<Rows>(
        applied_index: u64,
        mut scan: impl FnMut(Table) -> Rows,
    ) -> Result<Machine, RestoreError>
    where
        Rows: Iterator<Item = Result<(Bytes, Bytes), ValueError>>,
    {
        let mut machine = Machine::new();
        machine.applied_index = applied_index;
        for table in Table::ALL {
            for row in scan(table) {
                let (key, value) = row.map_err(|source| RestoreError::Read { table, source })?;
                machine.restore_row(table, &key, &value)?;
            }
        }
        machine.auth.restored();
        for space in [Space::User, Space::System] {
            let keyspace = machine.keyspace_mut(space);
            keyspace.restored();
            let attached: Vec<(Box<[u8]>, i64)> = keyspace.attached_keys().collect();
            for (key, lease) in attached {
                machine.leases.restore_key(lease, &key)?;
            }
        }
        Ok(machine)
    }

    fn restore_row(
        &mut self,
        table: Table,
        key: &Bytes,
        value: &Bytes,
    ) -> Result<(), RestoreError> {
        match table {
            Table::UserRevisions => self.user.restore_row(key, value),
            Table::SystemRevisions => self.system.restore_row(key, value),
            Table::Leases => self.leases.restore_row(key, value),
            Table::Auth => self.auth.restore_row(key, value),
            Table::Sessions => self.auth.restore_session(key, value),
            Table::Proposers => self.proposers.restore_row(key, value),
            Table::Meta => self.restore_meta(key, value),
        }
    }
}

impl Keyspace {
    /// Rows come in order of revision.
    fn restore_row(&mut self, row: &Bytes, value: &Bytes) -> Result<(), RestoreError> {
        let garbled = || RestoreError::garbled(self.space.table(), row);
        // Below the first one they would not lie in order of time.
        let (main, sub) = parse_revision_key(row)
            .filter(|(main, _)| *main >= FRESH_REVISION)
            .ok_or_else(garbled)?;
        let record = RevisionRecord::decode(value.clone()).map_err(|_| garbled())?;
        let kv = record
            .kv
            .filter(|kv| kv.mod_revision == main)
            .ok_or_else(garbled)?;
        let entry = Entry {
            main,
            sub,
            tombstone: record.tombstone,
        };
        let (create, version, lease) = (kv.create_revision, kv.version, kv.lease);
        match self.index.get_mut(&kv.key[..]) {
            Some(history) => history.push(entry, create, version, lease),
            None => {
                let history = KeyHistory::new(entry, create, version, lease);
                self.index.insert(Box::from(&kv.key[..]), history);
            }
        }
        self.revision = self.revision.max(main);
        Ok(())
    }

    fn restored(&mut self) {
        // The newest revision may have been a tombstone that was reclaimed; no compaction
        // goes beyond the newest revision.
        self.revision = self.revision.max(self.compacted);
        self.flushed = self.mark();
        self.live_keys = self.index.values().filter(|h| h.live().is_some()).count() as u64;
    }

    fn attached_keys(&self) -> impl Iterator<Item = (Box<[u8]>, i64)> + '_ {
        self.index.iter().filter_map(|(key, history)| {
            let (_, newest) = history.live()?;
            (newest.lease != 0).then(|| (key.clone(), newest.lease))
        })
    }
}
