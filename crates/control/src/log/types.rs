//! The types openraft is instantiated with, and their form on disk and on the wire.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use atoll_world::runtime::WorldRuntime;
use bytes::Bytes;
use openraft::{
    EntryPayload, Membership, entry::RaftEntry as _, vote::leader_id_std::CommittedLeaderId,
};
use prost::Message as _;

use crate::proto::raft::{self as pb, record::Kind};

/// An encoded [`crate::proto::internal::Batch`]: what one entry of the log carries. It stays
/// encoded from the proposer through journals and links up to the state machine.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct BatchBytes(pub(crate) Bytes);

impl fmt::Debug for BatchBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch of {} bytes", self.0.len())
    }
}

impl fmt::Display for BatchBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

openraft::declare_raft_types!(
    /// The control plane's instance of openraft: standard Raft, one leader a term.
    pub(crate) Types:
        D = BatchBytes,
        R = (),
        NodeId = u64,
        Node = pb::Node,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = WorldRuntime,
);

pub(crate) type LogId = openraft::type_config::alias::LogIdOf<Types>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<Types>;
pub(crate) type Entry = openraft::type_config::alias::EntryOf<Types>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;
pub(crate) type Members = Membership<u64, pb::Node>;

/// Bytes from outside (a journal, a peer) that do not have the form they should have.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    /// Not the protobuf message that it should be.
    #[error("not a valid message: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// A part is missing without which the message means nothing.
    #[error("the message lacks its {0}")]
    Missing(&'static str),
    /// A membership that names voters it does not describe, or none.
    #[error("not a valid membership: {0}")]
    Membership(String),
    /// A newer version wrote it.
    #[error("{what} of version {found}, this atoll reads up to {known}: use a newer atoll")]
    Newer {
        /// What it is.
        what: &'static str,
        /// Its version.
        found: u32,
        /// The newest that is understood.
        known: u32,
    },
    /// An entry that does not follow the one before it.
    #[error("entry {index} cannot follow {} in a log", named(*after))]
    Hole {
        /// Index of the last entry before it.
        after: Option<u64>,
        /// Its own.
        index: u64,
    },
}

fn named(entry: Option<u64>) -> String {
    entry.map_or("nothing".into(), |index| format!("entry {index}"))
}

/// The version of the records that the log writes, and the newest that it reads.
pub(crate) const LOG_VERSION: u32 = 1;

/// The version of the tables in the store and in snapshots, and the newest that is read.
pub(crate) const STATE_VERSION: u32 = 1;

fn check_version(what: &'static str, found: u32, known: u32) -> Result<(), DecodeError> {
    if found > known {
        return Err(DecodeError::Newer { what, found, known });
    }
    Ok(())
}

/// A record of the journal.
pub(crate) fn encode_record(kind: Kind) -> Bytes {
    let record = pb::Record {
        kind: Some(kind),
        // What the first version understands says nothing.
        version: 0,
    };
    record.encode_to_vec().into()
}

/// What a record of the journal says.
pub(crate) fn decode_record(bytes: Bytes) -> Result<Kind, DecodeError> {
    let record = pb::Record::decode(bytes)?;
    check_version("a record of the log", record.version, LOG_VERSION)?;
    record.kind.ok_or(DecodeError::Missing("kind"))
}

/// Up to where a store or a snapshot goes, as its tables say it.
pub(crate) fn applied_to_proto(
    log_id: Option<&LogId>,
    membership: &StoredMembership,
) -> pb::Applied {
    pb::Applied {
        log_id: log_id.map(log_id_to_proto),
        membership: Some(stored_membership_to_proto(membership)),
        version: STATE_VERSION,
    }
}

/// Up to where a store or a snapshot goes.
pub(crate) fn applied_from_proto(applied: pb::Applied) -> Result<SnapshotMeta, DecodeError> {
    check_version("a state", applied.version, STATE_VERSION)?;
    Ok(SnapshotMeta {
        last_log_id: log_id_from_proto(applied.log_id),
        last_membership: stored_membership_from_proto(applied.membership)?,
    })
}

pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term), index)
}

pub(crate) fn log_id_to_proto(id: &LogId) -> pb::LogId {
    pb::LogId {
        term: **id.committed_leader_id(),
        index: id.index,
    }
}

pub(crate) fn log_id_from_proto(id: Option<pb::LogId>) -> Option<LogId> {
    id.filter(|id| id.term != 0 || id.index != 0)
        .map(|id| log_id(id.term, id.index))
}

pub(crate) fn vote_to_proto(vote: &Vote) -> pb::Vote {
    pb::Vote {
        term: vote.leader_id.term,
        node: vote.leader_id.voted_for,
        committed: vote.committed,
    }
}

pub(crate) fn vote_from_proto(vote: Option<pb::Vote>) -> Result<Vote, DecodeError> {
    let vote = vote.ok_or(DecodeError::Missing("vote"))?;
    Ok(if vote.committed {
        Vote::new_committed(vote.term, vote.node)
    } else {
        Vote::new(vote.term, vote.node)
    })
}

pub(crate) fn membership_to_proto(members: &Members) -> pb::Membership {
    pb::Membership {
        configs: members
            .get_joint_config()
            .iter()
            .map(|set| pb::Voters {
                nodes: set.iter().copied().collect(),
            })
            .collect(),
        nodes: members
            .nodes()
            .map(|(id, node)| (*id, node.clone()))
            .collect(),
    }
}

pub(crate) fn membership_from_proto(members: pb::Membership) -> Result<Members, DecodeError> {
    let configs: Vec<BTreeSet<u64>> = members
        .configs
        .into_iter()
        .map(|set| set.nodes.into_iter().collect())
        .collect();
    let nodes: BTreeMap<u64, pb::Node> = members.nodes.into_iter().collect();
    Membership::new(configs, nodes).map_err(|error| DecodeError::Membership(error.to_string()))
}

pub(crate) fn entry_to_proto(entry: &Entry) -> pb::Entry {
    let payload = match &entry.payload {
        EntryPayload::Blank => None,
        EntryPayload::Normal(batch) => Some(pb::entry::Payload::Batch(batch.0.clone())),
        EntryPayload::Membership(members) => {
            Some(pb::entry::Payload::Membership(membership_to_proto(members)))
        }
    };
    pb::Entry {
        id: Some(log_id_to_proto(&entry.log_id())),
        payload,
    }
}

pub(crate) fn entry_from_proto(entry: pb::Entry) -> Result<Entry, DecodeError> {
    let id = entry.id.ok_or(DecodeError::Missing("log id"))?;
    let payload = match entry.payload {
        None => EntryPayload::Blank,
        Some(pb::entry::Payload::Batch(batch)) => EntryPayload::Normal(BatchBytes(batch)),
        Some(pb::entry::Payload::Membership(members)) => {
            EntryPayload::Membership(membership_from_proto(members)?)
        }
    };
    Ok(Entry::new(log_id(id.term, id.index), payload))
}

pub(crate) fn stored_membership_to_proto(members: &StoredMembership) -> pb::StoredMembership {
    pb::StoredMembership {
        log_id: members.log_id().as_ref().map(log_id_to_proto),
        membership: Some(membership_to_proto(members.membership())),
    }
}

pub(crate) fn stored_membership_from_proto(
    members: Option<pb::StoredMembership>,
) -> Result<StoredMembership, DecodeError> {
    let Some(members) = members else {
        return Ok(StoredMembership::default());
    };
    let membership = match members.membership {
        Some(membership) if !membership.configs.is_empty() => membership_from_proto(membership)?,
        _ => return Ok(StoredMembership::default()),
    };
    Ok(StoredMembership::new(
        log_id_from_proto(members.log_id),
        membership,
    ))
}
