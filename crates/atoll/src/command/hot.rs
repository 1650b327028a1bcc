//! Who holds hot data, as `atoll status` tells it.

use atoll_base::id::ClusterId;
use atoll_control::proto::etcdserverpb::RangeRequest;
use atoll_kv::driver::topology_key;
use atoll_ring::topology::Topology;
use serde::Serialize;

use crate::client::{Client, Retry};

/// Who holds hot data.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct HotStatus {
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
}

/// Asks for it; none where it is not there yet, or nobody tells.
pub(super) async fn hot(client: &Client, cluster: u64) -> Option<HotStatus> {
    let request = RangeRequest {
        key: topology_key(ClusterId(cluster)).into(),
        serializable: true,
        ..RangeRequest::default()
    };
    let answer = client
        .call(Retry::Safe, request, |node, request| async move {
            node.kv().range(request).await
        })
        .await
        .ok()?;
    let topology = Topology::decode(&answer.kvs.first()?.value).ok()?;
    Some(summarize(&topology))
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
    }
}

impl HotStatus {
    /// In a line.
    pub(super) fn line(&self) -> String {
        let replicas = match (self.replicas_min, self.replicas_max) {
            (min, max) if min == max => format!("{min}"),
            (min, max) => format!("{min} to {max}"),
        };
        let survives = self.replicas_min.saturating_sub(1) / 2;
        let failures = match survives {
            0 => "no failure".to_owned(),
            1 => "1 failure".to_owned(),
            count => format!("{count} failures"),
        };
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
fn bar(all: usize, left: usize) -> String {
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
        topology.join(node(2)).unwrap();
        topology.join(node(3)).unwrap();
        assert_eq!(
            summarize(&topology).line(),
            "hot data: 8 partitions, 1 replicas each, survives no failure; \
             [....................] 8 partitions are still to move"
        );
    }
}
