//! What flows between the state machine and its driver: rows to write, events to tell,
//! and the values that the store gives back.

use bytes::Bytes;
use thiserror::Error;

use crate::{core::level::FeatureLevel, proto::mvccpb::Event};

/// Keys that begin with this live in the system keyspace.
pub const RESERVED_PREFIX: &[u8] = b"/atoll/";

/// One of the two keyspaces; each has revisions of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Space {
    /// What users put: exactly etcd's keyspace.
    User,
    /// What the cluster has decided, under [`RESERVED_PREFIX`].
    System,
}

impl Space {
    /// The keyspace that a key, or a range beginning with it, addresses.
    pub fn of(key: &[u8]) -> Space {
        if key.starts_with(RESERVED_PREFIX) {
            Space::System
        } else {
            Space::User
        }
    }

    /// The table that holds this keyspace's revisions.
    pub fn table(self) -> Table {
        match self {
            Space::User => Table::UserRevisions,
            Space::System => Table::SystemRevisions,
        }
    }
}

/// A table of the store. Together they hold everything that the machine holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// main (i64, big endian) + sub (u32, big endian) → `RevisionRecord`.
    UserRevisions,
    /// As [`Table::UserRevisions`], of the system keyspace.
    SystemRevisions,
    /// Lease id → time to live.
    Leases,
    /// Users, roles, whether authentication is on, the auth revision.
    Auth,
    /// SHA-256 of a bearer token → whose it is.
    Sessions,
    /// Node → which of its proposals have been applied.
    Proposers,
    /// Compact revisions, alarms, the feature level.
    Meta,
}

impl Table {
    /// Every table, so that a driver can open and copy them.
    pub const ALL: [Table; 7] = [
        Table::UserRevisions,
        Table::SystemRevisions,
        Table::Leases,
        Table::Auth,
        Table::Sessions,
        Table::Proposers,
        Table::Meta,
    ];

    /// Its name on disk.
    pub fn name(self) -> &'static str {
        match self {
            Table::UserRevisions => "user_revisions",
            Table::SystemRevisions => "system_revisions",
            Table::Leases => "leases",
            Table::Auth => "auth",
            Table::Sessions => "sessions",
            Table::Proposers => "proposers",
            Table::Meta => "meta",
        }
    }
}

/// One row to write, or to delete where `value` is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub table: Table,
    /// The row's key.
    pub key: Bytes,
    /// The row's new content; none deletes it.
    pub value: Option<Bytes>,
}

/// What happened to a lease, for the leader's [`crate::core::lessor::Lessor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseChange {
    /// It exists now.
    Granted {
        /// Its id.
        id: i64,
        /// Its full time to live, in seconds.
        ttl_s: i64,
    },
    /// It is gone, and its keys with it.
    Revoked {
        /// Its id.
        id: i64,
    },
    /// What it had left was noted, for the next leader.
    Checkpointed {
        /// Its id.
        id: i64,
        /// What is left, in seconds; 0 means all of it.
        remaining_s: i64,
    },
}

/// Everything that applying commands asks of the driver. One value may gather the effects of
/// many commands; the driver empties it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// Rows to write, in order; a later write of the same row wins.
    pub writes: Vec<Write>,
    /// Per main revision, what changed, in order. `prev_kv` is left empty: who wants it reads
    /// the key at `mod_revision - 1`.
    pub events: Vec<(Space, i64, Vec<Event>)>,
    /// Leases that came, went, or were checkpointed, in order.
    pub leases: Vec<LeaseChange>,
    /// An alarm was raised or cleared.
    pub alarms_changed: bool,
    /// Users, roles, sessions or the switch changed.
    pub auth_changed: bool,
    /// Keyspaces that were compacted, and at which revision.
    pub compacted: Vec<(Space, i64)>,
}

impl Effects {
    pub(crate) fn put(&mut self, table: Table, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.writes.push(Write {
            table,
            key: key.into(),
            value: Some(value.into()),
        });
    }

    pub(crate) fn delete(&mut self, table: Table, key: impl Into<Bytes>) {
        self.writes.push(Write {
            table,
            key: key.into(),
            value: None,
        });
    }
}

/// The row of a revision: main and sub, big endian, so that rows lie in order of time.
pub fn revision_key(main: i64, sub: u32) -> Bytes {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&main.to_be_bytes());
    key[8..].copy_from_slice(&sub.to_be_bytes());
    Bytes::copy_from_slice(&key)
}

/// The revision that a row's key names; none if it is no such key.
pub fn parse_revision_key(key: &[u8]) -> Option<(i64, u32)> {
    let (main, sub) = key.split_first_chunk::<8>()?;
    let sub: [u8; 4] = sub.try_into().ok()?;
    Some((i64::from_be_bytes(*main), u32::from_be_bytes(sub)))
}

/// The revisions that were flushed to the store.
pub trait Values {
    /// The encoded `RevisionRecord` of a revision; none if there is no such row.
    ///
    /// # Errors
    /// When the store could not be read.
    fn get(&self, space: Space, main: i64, sub: u32) -> Result<Option<Bytes>, ValueError>;
}

/// The store could not be read.
#[derive(Clone, Debug, Error)]
#[error("{0}")]
pub struct ValueError(pub String);

/// The machine cannot go on without risking to diverge from its peers: the node must stop.
#[derive(Clone, Debug, Error)]
pub enum Fault {
    /// The store could not be read.
    #[error("reading revision {main}.{sub} of the {space:?} keyspace failed")]
    Read {
        /// The keyspace.
        space: Space,
        /// The main revision.
        main: i64,
        /// The sub-revision.
        sub: u32,
        /// Why.
        #[source]
        source: ValueError,
    },
    /// The index knows a revision that the store does not have.
    #[error("revision {main}.{sub} of the {space:?} keyspace is missing in the store")]
    Missing {
        /// The keyspace.
        space: Space,
        /// The main revision.
        main: i64,
        /// The sub-revision.
        sub: u32,
    },
    /// The log holds a command that this version does not know.
    #[error(
        "entry {index} of the log, at feature level {level}, holds a command that this version does not know: run the version that the other members run"
    )]
    UnknownCommand {
        /// The entry.
        index: u64,
        /// Where the cluster stands.
        level: FeatureLevel,
    },
    /// The store's row is not a revision record.
    #[error("revision {main}.{sub} of the {space:?} keyspace cannot be decoded")]
    Garbled {
        /// The keyspace.
        space: Space,
        /// The main revision.
        main: i64,
        /// The sub-revision.
        sub: u32,
    },
}
