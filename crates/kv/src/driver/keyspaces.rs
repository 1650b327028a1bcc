//! Keeps the keyspaces as the cluster has decided them, and has it decide on new ones.
//!
//! All of them are one value in the control plane. One is created by compare and swap of that
//! value beside the topology that it was made from, so that its partitions begin with the members
//! that they have at that very moment: who comes later has to be filled first.

use std::{sync::Arc, time::Duration};

use atoll_base::id::ClusterId;
use atoll_ring::topology::Topology;
use atoll_world::clock;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::{Kv, placement::Decisions};
use crate::{
    api::KeyspaceError,
    core::keyspaces::{CreateError, Keyspace, Keyspaces, Wanted},
};

/// Where the cluster keeps which keyspaces there are.
pub fn keyspaces_key(cluster: ClusterId) -> String {
    format!("/atoll/kv/{cluster}/keyspaces")
}

/// Keyspaces that wait to be created; further ones are refused.
pub(super) const CREATIONS_MAX: usize = 16;
/// How often one is tried while others change the same.
const ATTEMPTS_MAX: usize = 50;
/// How long this waits for what others have changed.
const PAUSE: Duration = Duration::from_millis(50);

/// A keyspace that is to be created.
pub(super) struct Creation {
    pub(super) wanted: Wanted,
    pub(super) created: oneshot::Sender<Result<Keyspace, KeyspaceError>>,
}

pub(super) type Creations = mpsc::Receiver<Creation>;

/// The keyspaces as they were read last.
#[derive(Debug, Default)]
pub(super) struct Following {
    version: i64,
}

impl Following {
    /// Reads them anew, and tells this node of newer ones. Whether they could be read: whoever
    /// acts on a topology has to know at least the keyspaces that were there with it.
    pub(super) async fn refresh<D: Decisions>(&mut self, decisions: &D, kv: &Kv) -> bool {
        let Some((keyspaces, version)) = read(decisions).await else {
            return false;
        };
        if version > self.version {
            self.version = version;
            kv.set_keyspaces(&Arc::new(keyspaces));
        }
        true
    }

    /// Has the cluster decide on a keyspace.
    pub(super) async fn create<D: Decisions>(
        &mut self,
        decisions: &D,
        kv: &Kv,
        creation: Creation,
    ) {
        let created = self.try_create(decisions, kv, &creation.wanted).await;
        // Whoever asked may have gone.
        let _ = creation.created.send(created);
    }

    async fn try_create<D: Decisions>(
        &mut self,
        decisions: &D,
        kv: &Kv,
        wanted: &Wanted,
    ) -> Result<Keyspace, KeyspaceError> {
        // A cluster that was just made, or has just lost its last old node, is about to take them.
        let may_be = || wanted.eventual.is_none() || decisions.takes_eventual();
        for _ in 0..ATTEMPTS_MAX {
            if !may_be() {
                clock::sleep(PAUSE).await;
                continue;
            }
            if let Some(created) = attempt(decisions, wanted).await? {
                self.refresh(decisions, kv).await;
                return Ok(created);
            }
            clock::sleep(PAUSE).await;
        }
        match may_be() {
            true => Err(KeyspaceError::Undecided),
            false => Err(KeyspaceError::OldNodes),
        }
    }
}

async fn read<D: Decisions>(decisions: &D) -> Option<(Keyspaces, i64)> {
    let (bytes, version) = decisions.keyspaces().await?;
    if version == 0 {
        return Some((Keyspaces::default(), 0));
    }
    match Keyspaces::decode(bytes) {
        Ok(keyspaces) => Some((keyspaces, version)),
        Err(error) => {
            tracing::error!(%error, "the cluster's keyspaces can't be read; were they written by a newer version?");
            None
        }
    }
}

/// Tries it with what this node knows; none if that is old.
async fn attempt<D: Decisions>(
    decisions: &D,
    wanted: &Wanted,
) -> Result<Option<Keyspace>, CreateError> {
    let topology = decisions.topology().await;
    let topology = topology.and_then(|(bytes, version)| Some((decode(&bytes)?, version)));
    let (Some((topology, topology_version)), Some((mut keyspaces, version))) =
        (topology, read(decisions).await)
    else {
        return Ok(None);
    };
    let before = keyspaces.clone();
    let born = born(&topology);
    let replicas = usize::from(topology.replicas());
    let created = keyspaces.create(wanted, born, replicas)?.clone();
    let next: Bytes = keyspaces.encode();
    let is_done = keyspaces == before
        || decisions
            .replace_keyspaces(version, topology_version, next)
            .await;
    Ok(is_done.then_some(created))
}

fn decode(bytes: &[u8]) -> Option<Topology> {
    match Topology::decode(bytes) {
        Ok(topology) => Some(topology),
        // Whoever keeps the topology says so.
        Err(error) => {
            tracing::debug!(%error, "no keyspace is created without a topology");
            None
        }
    }
}

/// The number of each partition's configuration.
fn born(topology: &Topology) -> Vec<u64> {
    let partitions = topology.partitions().ids();
    let numbers = partitions.map(|id| {
        let assignment = topology.assignment(id);
        assignment.map_or(0, |assignment| assignment.configuration().0)
    });
    numbers.collect()
}
