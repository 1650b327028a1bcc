//! Which nodes are to be empty: what an operator wishes, kept under `/atoll/drains`. What follows
//! from it (partitions that move, and whatever else nodes come to hold), those decide who place
//! it; a drained node is a member like any other, and keeps its vote.

use std::collections::BTreeSet;

use atoll_base::id::NodeId;
use bytes::Bytes;
use prost::Message as _;

use super::{swap::swap, system_identity};
use crate::{
    api::ControlApi,
    core::error::Error,
    proto::{cluster::StoredDrains, etcdserverpb as pb},
};

const KEY: Bytes = Bytes::from_static(b"/atoll/drains");

/// How often a change is tried again when another one comes at the same moment.
const ATTEMPTS_MAX: usize = 16;

/// Why a node is not drained.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// It is no member.
    #[error("node {0} is no member of the cluster")]
    NoMember(NodeId),
    /// Nobody would be left to take anything.
    #[error(
        "node {0} is the last one that is not being drained: nobody could take what it holds. Let another node join, or end another drain with `atoll node undrain`"
    )]
    Last(NodeId),
    /// The cluster did not answer.
    #[error(transparent)]
    Cluster(#[from] Error),
}

/// The members that are to be empty, as this node knows them; cheap.
///
/// # Errors
/// Those of the cluster.
pub async fn draining<C: ControlApi>(control: &C) -> Result<BTreeSet<NodeId>, Error> {
    let (_, stored) = read(control, true).await?;
    let members = members(control);
    Ok(&stored & &members)
}

/// Wishes a node empty; all that are.
///
/// # Errors
/// See [`DrainError`]. If the cluster's, the outcome is unknown; asking again is safe.
pub async fn begin<C: ControlApi>(
    control: &C,
    node: NodeId,
) -> Result<BTreeSet<NodeId>, DrainError> {
    change(control, node, |nodes, members| {
        nodes.insert(node);
        match nodes.is_superset(members) {
            true => Err(DrainError::Last(node)),
            false => Ok(()),
        }
    })
    .await
}

/// Wishes it no longer; all that still are to be empty.
///
/// # Errors
/// See [`DrainError`]. If the cluster's, the outcome is unknown; asking again is safe.
pub async fn end<C: ControlApi>(control: &C, node: NodeId) -> Result<BTreeSet<NodeId>, DrainError> {
    change(control, node, |nodes, _| {
        nodes.remove(&node);
        Ok(())
    })
    .await
}

async fn change<C: ControlApi>(
    control: &C,
    node: NodeId,
    step: impl Fn(&mut BTreeSet<NodeId>, &BTreeSet<NodeId>) -> Result<(), DrainError>,
) -> Result<BTreeSet<NodeId>, DrainError> {
    for _ in 0..ATTEMPTS_MAX {
        let (revision, stored) = read(control, false).await?;
        let members = members(control);
        if !members.contains(&node) {
            return Err(DrainError::NoMember(node));
        }
        // Those who left the cluster leave the wish with the next change.
        let mut nodes = &stored & &members;
        step(&mut nodes, &members)?;
        if nodes == stored {
            return Ok(nodes);
        }
        let value = StoredDrains {
            nodes: nodes.iter().map(|node| node.0).collect(),
        };
        let value = (!nodes.is_empty()).then(|| value.encode_to_vec().into());
        if swap(control, &KEY, revision, value).await? {
            return Ok(nodes);
        }
    }
    Err(Error::Timeout.into())
}

fn members<C: ControlApi>(control: &C) -> BTreeSet<NodeId> {
    let members = control.members().into_iter();
    members.map(|member| member.node).collect()
}

/// What is stored, and at which revision; 0 where nothing is.
async fn read<C: ControlApi>(
    control: &C,
    serializable: bool,
) -> Result<(i64, BTreeSet<NodeId>), Error> {
    let request = pb::RangeRequest {
        key: KEY,
        serializable,
        ..pb::RangeRequest::default()
    };
    let Some(row) = control.range(system_identity(), request).await?.kvs.pop() else {
        return Ok((0, BTreeSet::new()));
    };
    let stored = StoredDrains::decode(row.value).map_err(|error| {
        tracing::error!(%error, "which nodes are drained can't be understood; was it written by a newer version?");
        Error::Corrupt
    })?;
    let nodes = stored.nodes.into_iter().map(NodeId).collect();
    Ok((row.mod_revision, nodes))
}
