//! Going on alone: one node's directory becomes the only voter of its cluster.
//!
//! For when the majority is gone for good. The node is not running; its log is opened, and a
//! membership of this node alone is appended to it, in a term above every one it has seen.
//! At its next start the node elects itself and commits all entries it has, also those of
//! which it never heard that they were committed: they may have been acknowledged.
//!
//! Invariant: nothing that this node has is given up. What may be lost are entries that a
//! majority had and this node had not; nobody can tell from here whether there are any.
//!
//! The nodes that were left behind must never be heard again: they could overrule this one.
//! The caller gives the node a new cluster id *before* [`Alone::seize`], and links refuse
//! nodes of another cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::Arc,
};

use atoll_base::id::NodeId;
use atoll_world::{disk::Disk, journal, store::StoreError};
use openraft::{EntryPayload, Membership, entry::RaftEntry as _};

use super::{
    generations::{Generations, StoreSource},
    members, replica,
};
use crate::{
    api::Member,
    core::{effects::Space, level::SERVED},
    log::{
        storage::{LogStore, OpenError},
        types::{self, Entry, LogId, StoredMembership, Vote},
    },
    proto::raft as pb,
};

/// Why a node cannot go on alone.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The log's journal.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// An entry of it cannot be read back, or no entry can be added.
    #[error("the journal: {0}")]
    Journal(#[from] io::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state in the store.
    #[error(transparent)]
    State(#[from] replica::OpenError),
    /// It joined and never heard anything, or it was removed.
    #[error(
        "this node holds no membership that names it: it never caught up with its cluster, or was removed from it"
    )]
    NoMember,
}

/// A node that is not running, looked at.
pub struct Alone {
    log: LogStore,
    node: NodeId,
    membership: StoredMembership,
    stored: Option<LogId>,
    /// Every member that the node knows of, itself among them.
    pub members: Vec<Member>,
    /// Term of the last entry it has.
    pub last_term: u64,
    /// Index of the last entry it has.
    pub last_index: u64,
    /// Index of the last entry whose effects are in its store; those after it are applied
    /// again at the next start.
    pub stored_index: u64,
    /// Revision of the users' keyspace as of that entry.
    pub stored_revision: i64,
    /// The end of its journal is damaged: it may have forgotten acknowledged writes.
    pub forgetful: bool,
}

impl Alone {
    /// Looks at a node's directory, which nobody else has open. Changes nothing but a torn
    /// end of the journal, as every start does.
    ///
    /// # Errors
    /// What is on disk cannot be used, or the node belongs to no cluster.
    pub fn look(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        stores: Arc<StoreSource>,
        journal: journal::Options,
        node: NodeId,
    ) -> Result<Alone, RecoveryError> {
        let (log, recovery) = LogStore::open(disk.clone(), dir.join("journal"), journal)?;
        let (_generations, store) = Generations::open(disk, dir, stores)?;
        let state = replica::load(&store, SERVED)?;
        let membership = match log.newest_membership()? {
            Some(newer) if newer.log_id() >= state.membership.log_id() => newer,
            _ => state.membership,
        };
        let members = members::list(membership.membership());
        if !members.iter().any(|member| member.node == node) {
            return Err(RecoveryError::NoMember);
        }
        let last = log.last().max(state.applied);
        Ok(Alone {
            log,
            node,
            membership,
            members,
            last_term: last.as_ref().map_or(0, |id| **id.committed_leader_id()),
            last_index: last.as_ref().map_or(0, |id| id.index),
            stored_index: state.applied.as_ref().map_or(0, |id| id.index),
            stored_revision: state.machine.keyspace(Space::User).revision(),
            stored: state.applied,
            forgetful: recovery.maybe_acknowledged,
        })
    }

    /// Makes the node the only member of its cluster. Durable on return; done twice, it is
    /// the same.
    ///
    /// # Errors
    /// The journal.
    pub async fn seize(self) -> Result<(), RecoveryError> {
        let voted = self
            .log
            .persisted_vote()
            .map_or(0, |vote| vote.leader_id.term);
        let term = voted.max(self.last_term) + 1;
        let own = self
            .membership
            .membership()
            .get_node(&self.node.0)
            .cloned()
            .unwrap_or_default();
        let alone = membership_of(self.node, own);
        let id = types::log_id(term, self.last_index + 1);
        let entry = Entry::new(id, EntryPayload::Membership(alone));
        // A received snapshot can be ahead of the log, which then begins behind it.
        let begin_after = self
            .stored
            .filter(|stored| Some(stored) > self.log.last().as_ref());
        let vote = Vote::new(term, self.node.0);
        Ok(self.log.usurp(vote, begin_after, entry).await?)
    }
}

fn membership_of(node: NodeId, how: pb::Node) -> types::Members {
    let nodes = BTreeMap::from([(node.0, how)]);
    Membership::new(vec![BTreeSet::from([node.0])], nodes).expect("the only voter is described")
}
