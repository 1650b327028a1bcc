//! Who holds hot data, as `atoll status` tells it.

use atoll_base::id::ClusterId;
use atoll_control::proto::etcdserverpb::RangeRequest;
use atoll_kv::driver::topology_key;
use atoll_ring::topology::{NodeState, Topology};
use serde::Serialize;

use crate::{
    client::{Client, Retry},
    error::CliError,
};

/// Who holds hot data.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct HotStatus {
    /// The number of the topology.
    epoch: u64,
    partitions: usize,
    /// Replicas that vote, of the partition that has the fewest.
    replicas_min: usize,
    /// Replicas that vote, of the partition that has the most.
    replicas_max: usize,
    /// Partitions that are on the way to other nodes.
    moving: usize,
    /// Partitions that are to move and have not begun.
    waiting: usize,
    /// Nodes that hand over what they hold.
    draining: Vec<Draining>,
}

/// A node that hands over what it holds.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Draining {
    id: String,
    partitions_left: usize,
}

/// Asks for it; none where it is not there yet, or nobody tells.
pub(crate) async fn hot(client: &Client, cluster: u64) -> Option<HotStatus> {
    let topology = topology(client, cluster, false).await.ok()??;
    Some(summarize(&topology))
}

/// Who holds what; none where the cluster has yet to decide that. What one node knows, or, if
/// `is_newest`, what the cluster does.
pub(super) async fn topology(
    client: &Client,
    cluster: u64,
    is_newest: bool,
) -> Result<Option<Topology>, CliError> {
    let request = RangeRequest {
        key: topology_key(ClusterId(cluster)).into(),
        serializable: !is_newest,
        ..RangeRequest::default()
    };
    let answer = client
        .call(Retry::Safe, request, |node, request| async move {
            node.kv().range(request).await
        })
        .await?;
    let Some(row) = answer.kvs.first() else {
        return Ok(None);
    };
    let topology = Topology::decode(&row.value).map_err(|error| {
        CliError::failed(
            format!("who holds hot data can't be read: {error}"),
            "use an `atoll` of the cluster's version: `atoll status` shows it",
        )
    })?;
    Ok(Some(topology))
}

fn summarize(topology: &Topology) -> HotStatus {
    let partitions = topology.partitions();
    let replicas = || {
        let assignments = partitions.ids().filter_map(|it| topology.assignment(it));
        assignments.map(|assignment| assignment.members().len())
    };
    let planned = topology.plan().map_or(0, |plan| plan.moves().len());
    HotStatus {
        epoch: topology.epoch().0,
        partitions: usize::from(partitions.count()),
        replicas_min: replicas().min().unwrap_or(0),
        replicas_max: replicas().max().unwrap_or(0),
        moving: topology.changing(),
        waiting: planned,
        draining: topology
            .nodes()
            .iter()
            .filter(|node| node.state == NodeState::Draining)
            .map(|node| Draining {
                id: format!("{:x}", node.ring.id.0),
                partitions_left: topology.held_by(node.ring.id),
            })
            .collect(),
    }
}

/// So many failures are survived with so many replicas.
pub(super) fn failures(replicas: usize) -> String {
    match replicas.saturating_sub(1) / 2 {
        0 => "no failure".to_owned(),
        1 => "1 failure".to_owned(),
        count => format!("{count} failures"),
    }
}

impl HotStatus {
    /// Whether every partition has so many replicas, and nothing is on its way.
    pub(crate) fn is_settled(&self, replicas: usize) -> bool {
        self.moving + self.waiting == 0 && self.replicas_min >= replicas
    }

    /// How many partitions there are.
    pub(crate) fn partitions(&self) -> usize {
        self.partitions
    }

    /// In a line, and one more for each node that is drained; `name` says how they are called.
    pub(super) fn lines(&self, name: impl Fn(&str) -> String) -> String {
        let mut lines = vec![self.line()];
        for node in &self.draining {
            let name = name(&node.id);
            lines.push(match node.partitions_left {
                0 => format!("drained: {name} holds no hot data, and can be removed"),
                left => format!("draining: {name} has {left} partitions left"),
            });
        }
        lines.join("\n")
    }

    fn line(&self) -> String {
        let replicas = match (self.replicas_min, self.replicas_max) {
            (min, max) if min == max => format!("{min}"),
            (min, max) => format!("{min} to {max}"),
        };
        let failures = failures(self.replicas_min);
        let left = self.moving + self.waiting;
        let moves = match left {
            0 => String::new(),
            _ => format!(
                "; {} {left} partitions are still to move",
                bar(self.partitions, left)
            ),
        };
        format!(
            "hot data: {} partitions, {replicas} replicas each, survives {failures}{moves}",
            self.partitions
        )
    }
}

/// How much is where it is to be.
pub(super) fn bar(all: usize, left: usize) -> String {
    const WIDTH: usize = 20;
    let done = (all.saturating_sub(left) * WIDTH)
        .checked_div(all)
        .unwrap_or(WIDTH);
    format!("[{}{}]", "#".repeat(done), ".".repeat(WIDTH - done))
}

#[cfg(test)]
mod tests {
    use atoll_base::id::NodeId;
    use atoll_ring::{
        hash_ring::{RingNode, Weight},
        partition::Partitions,
    };

    use super::*;

    fn node(id: u64) -> RingNode {
        RingNode {
            id: NodeId(id),
            weight: Weight::default(),
            zone: None,
        }
    }

    #[test]
    fn what_is_still_to_move_is_told() {
        let partitions = Partitions::new(8).unwrap();
        let mut topology = Topology::found(partitions, 3, vec![node(1)]).unwrap();
        let alone = summarize(&topology);
        assert_eq!(
            alone.line(),
            "hot data: 8 partitions, 1 replicas each, survives no failure"
        );
        assert!(alone.is_settled(1) && !alone.is_settled(3));
        topology.join(node(2)).unwrap();
        topology.join(node(3)).unwrap();
        assert_eq!(
            summarize(&topology).line(),
            "hot data: 8 partitions, 1 replicas each, survives no failure; \
             [....................] 8 partitions are still to move"
        );
        assert!(!summarize(&topology).is_settled(1));
    }

    #[test]
    fn nodes_that_are_drained_are_named() {
        let partitions = Partitions::new(8).unwrap();
        let nodes = (1..=4).map(node).collect();
        let mut topology = Topology::found(partitions, 3, nodes).unwrap();
        topology.drain(NodeId(2)).unwrap();
        let status = summarize(&topology);
        let lines = status.lines(|id| format!("node-{id}"));
        assert!(
            lines.ends_with("\ndraining: node-2 has 6 partitions left"),
            "{lines}"
        );
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(json["draining"][0]["id"], "2");
        topology.join(node(2)).unwrap();
        topology.join(node(5)).unwrap();
        topology.drain(NodeId(5)).unwrap();
        let lines = summarize(&topology).lines(str::to_owned);
        assert!(
            lines.ends_with("\ndrained: 5 holds no hot data, and can be removed"),
            "{lines}"
        );
    }
}
