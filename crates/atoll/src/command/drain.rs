//! `atoll node drain`, `undrain`, and what has to be so before a node is removed: hot data goes
//! to other nodes first, or it is said plainly what happens to it.
//!
//! A drain is a wish that the cluster keeps (`/atoll/drains`). The node stays a member, serves
//! clients and keeps its vote; its partitions move to the others, some at a time, whoever dies
//! meanwhile, and whether or not anybody waits for it.

use std::{collections::BTreeSet, time::Duration};

use atoll_base::id::{NodeId, ReplicaId};
use atoll_control::proto::cluster::{BeginDrainRequest, EndDrainRequest};
use atoll_ring::topology::{NodeState, Topology};
use atoll_world::clock;
use serde::Serialize;

use super::{hot, status};
use crate::{
    client::{Client, Retry},
    error::CliError,
    output::{Done, Format, Progress, View, note},
};

/// How often a drain that is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The cluster may be silent for so many looks, one after the other.
const SILENT_LOOKS_MAX: u32 = 50;
/// Whoever waits is told when nothing has moved for so many looks.
const IDLE_LOOKS: u32 = 150;

/// A node, as a person called it and as the cluster does.
pub(super) struct Named {
    pub(super) id: u64,
    pub(super) name: String,
}

impl Named {
    fn node(&self) -> NodeId {
        NodeId(self.id)
    }
}

/// Has a node hand over what it holds.
pub(super) async fn drain(
    client: &Client,
    node: Named,
    waits: bool,
    output: Format,
) -> Result<(), CliError> {
    let (cluster, _) = status::members(client).await?;
    let request = BeginDrainRequest { node: node.id };
    client
        .call(Retry::Safe, request, |at, r| async move {
            at.drains().begin(r).await
        })
        .await?;
    let mut topology = hot::topology(client, cluster, true).await?;
    if waits {
        topology = wait(client, cluster, &node, topology).await?;
    }
    output.show(&Drained::of(&node, topology.as_ref()))
}

/// Lets it hold its share again.
pub(super) async fn undrain(client: &Client, node: Named, output: Format) -> Result<(), CliError> {
    let request = EndDrainRequest { node: node.id };
    client
        .call(Retry::Safe, request, |at, r| async move {
            at.drains().end(r).await
        })
        .await?;
    let name = node.name;
    output.show(&Done::new(format!(
        "node {name} takes its share of hot data again"
    )))
}

/// Waits until the node holds nothing, with a bar.
async fn wait(
    client: &Client,
    cluster: u64,
    node: &Named,
    mut topology: Option<Topology>,
) -> Result<Option<Topology>, CliError> {
    let held = |it: &Option<Topology>| it.as_ref().map_or(0, |it| it.held_by(node.node()));
    let all = held(&topology);
    let (mut left, mut idle, mut silent) = (all, 0, 0);
    let mut was_seen = false;
    let mut progress = Progress::new();
    loop {
        let state = topology.as_ref().and_then(|it| it.node(node.node()));
        match state.map(|it| it.state) {
            // The cluster heard of it a moment ago, and has yet to plan.
            Some(NodeState::Active) if !was_seen => {}
            Some(NodeState::Active) => {
                progress.end();
                return Err(CliError::failed(
                    format!("node {} is not being drained any more", node.name),
                    "somebody ended it with `atoll node undrain`; begin again if you need to",
                ));
            }
            _ if left == 0 => {
                progress.end();
                return Ok(topology);
            }
            _ => was_seen = true,
        }
        let bar = hot::bar(all, left);
        progress.say(&format!("{bar} {left} of {all} partitions are left"));
        clock::sleep(LOOK_EVERY).await;
        match hot::topology(client, cluster, false).await {
            Ok(found) => (topology, silent) = (found, 0),
            Err(error) if silent == SILENT_LOOKS_MAX => {
                progress.end();
                return Err(error);
            }
            Err(_) => silent += 1,
        }
        let now_left = held(&topology);
        idle = if now_left == left { idle + 1 } else { 0 };
        left = now_left;
        if idle == IDLE_LOOKS {
            progress.end();
            note(
                "nothing has moved for a while: is a majority of the nodes that hold hot data up, \
                 the new ones included? `atoll status` shows them. The drain goes on by itself, \
                 also when you stop waiting.",
            );
        }
    }
}

/// How far a drain is.
#[derive(Serialize)]
struct Drained {
    id: String,
    name: String,
    /// Partitions that the node still holds.
    partitions_left: usize,
    /// Replicas of each partition, once that is done.
    replicas: usize,
    /// Failures that hot data survives then.
    failures_survived: usize,
    /// Replicas that there should be.
    #[serde(skip)]
    replicas_wanted: usize,
}

impl Drained {
    fn of(node: &Named, topology: Option<&Topology>) -> Drained {
        let others = topology.map_or(0, |it| others(it, node.node()));
        let replicas_wanted = topology.map_or(0, |it| usize::from(it.replicas()));
        let held = topology.map_or(0, replicas_max);
        let replicas = others.min(held);
        Drained {
            id: format!("{:x}", node.id),
            name: node.name.clone(),
            partitions_left: topology.map_or(0, |it| it.held_by(node.node())),
            replicas,
            failures_survived: replicas.saturating_sub(1) / 2,
            replicas_wanted: replicas_wanted.min(held),
        }
    }
}

impl View for Drained {
    fn text(&self) -> String {
        let name = &self.name;
        let mut text = match self.partitions_left {
            0 => format!(
                "node {name} holds no hot data; `atoll node remove {name}` takes it out of the cluster"
            ),
            left => format!(
                "node {name} hands over its {left} partitions of hot data; `atoll status` shows how far that is"
            ),
        };
        if self.replicas < self.replicas_wanted {
            text += &format!("\n{}", fewer(self.replicas));
        }
        text
    }
}

/// What it means that there are fewer replicas than there were.
fn fewer(replicas: usize) -> String {
    format!(
        "without it there are nodes for {replicas} replicas of each partition only: hot data survives {} until another node joins",
        hot::failures(replicas)
    )
}

/// Active nodes without this one.
fn others(topology: &Topology, node: NodeId) -> usize {
    let nodes = topology.nodes().iter();
    nodes
        .filter(|it| it.state == NodeState::Active && it.ring.id != node)
        .count()
}

fn replicas_max(topology: &Topology) -> usize {
    let partitions = topology.partitions();
    let assignments = partitions.ids().filter_map(|it| topology.assignment(it));
    let counts = assignments.map(|assignment| assignment.members().len());
    counts.max().unwrap_or(0)
}

/// What becomes of hot data when a node is removed just so.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Removal {
    /// Partitions that have a replica there.
    held: usize,
    /// Those of them that no majority of replicas is left of.
    lost: usize,
    /// Replicas that there are nodes for, where that is fewer than there were.
    fewer: Option<usize>,
}

impl Removal {
    /// Looks at it, while only these nodes answer.
    pub(super) fn of(topology: &Topology, node: NodeId, up: &BTreeSet<NodeId>) -> Removal {
        let nodes = topology.nodes().iter();
        let left: BTreeSet<ReplicaId> = nodes
            .filter(|it| it.ring.id != node && up.contains(&it.ring.id))
            .map(|it| it.replica)
            .collect();
        let replica = topology.node(node).map(|it| it.replica);
        let votes = |members: &[ReplicaId]| replica.is_some_and(|it| members.contains(&it));
        let partitions = topology.partitions();
        let lost = partitions
            .ids()
            .filter_map(|it| topology.assignment(it))
            .filter(|it| votes(it.members()) || it.joint().is_some_and(votes))
            .filter(|it| !it.is_quorum(&left))
            .count();
        let (before, after) = (replicas_max(topology), others(topology, node));
        Removal {
            held: topology.held_by(node),
            lost,
            fewer: (after < before).then_some(after),
        }
    }

    /// Refuses what would lose data.
    pub(super) fn check(&self, node: &Named) -> Result<(), CliError> {
        let (name, lost) = (&node.name, self.lost);
        match lost {
            0 => Ok(()),
            _ => Err(CliError::failed(
                format!(
                    "without node {name}, {lost} partitions of hot data have no majority of their replicas among the nodes that answer: nobody could serve them any more"
                ),
                format!(
                    "`atoll node drain {name} --wait` has other nodes copy them first; start nodes that are down (`atoll status` shows them). `atoll node remove {name} --force` gives up what they hold, for good"
                ),
            )),
        }
    }

    /// What has become of hot data, once the node was removed.
    pub(super) fn told(&self) -> String {
        let mut text = String::new();
        if self.held > self.lost {
            text += &format!(
                "\n{} partitions of hot data have lost a replica; other nodes copy them, `atoll status` shows how far that is",
                self.held - self.lost
            );
        }
        if self.lost > 0 {
            text += &format!(
                "\n{} partitions of hot data have no majority any more: nobody serves them",
                self.lost
            );
        }
        if let (Some(replicas), true) = (self.fewer, self.held > 0) {
            text += &format!("\n{}", fewer(replicas));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use atoll_ring::{
        hash_ring::{RingNode, Weight},
        partition::Partitions,
    };

    use super::*;

    fn topology(nodes: u64) -> Topology {
        let node = |id| RingNode {
            id: NodeId(id),
            weight: Weight::default(),
            zone: None,
        };
        let partitions = Partitions::new(8).unwrap();
        Topology::found(partitions, 3, (1..=nodes).map(node).collect()).unwrap()
    }

    fn named(id: u64) -> Named {
        Named {
            id,
            name: format!("n{id}"),
        }
    }

    fn up(nodes: &[u64]) -> BTreeSet<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn a_removal_that_leaves_majorities_is_told_and_others_are_refused() {
        let three = topology(3);
        let removal = Removal::of(&three, NodeId(3), &up(&[1, 2, 3]));
        removal.check(&named(3)).unwrap();
        assert_eq!(
            removal.told(),
            "\n8 partitions of hot data have lost a replica; other nodes copy them, \
             `atoll status` shows how far that is\n\
             without it there are nodes for 2 replicas of each partition only: hot data survives \
             no failure until another node joins"
        );
        // One of the two others is down already.
        let removal = Removal::of(&three, NodeId(3), &up(&[1, 3]));
        let refused = removal.check(&named(3)).unwrap_err();
        assert!(refused.to_string().contains("8 partitions"), "{refused}");
        let next = refused.next_step();
        assert!(next.contains("atoll node drain n3 --wait"), "{next}");
        // The one that is down can go: the others have it all.
        let removal = Removal::of(&three, NodeId(2), &up(&[1, 3]));
        removal.check(&named(2)).unwrap();
        let alone = Removal::of(&topology(1), NodeId(1), &up(&[1]));
        alone.check(&named(1)).unwrap_err();
        // A node that holds nothing goes without a word.
        let mut four = three.clone();
        four.join(RingNode {
            id: NodeId(4),
            weight: Weight::default(),
            zone: None,
        })
        .unwrap();
        let removal = Removal::of(&four, NodeId(4), &up(&[1]));
        removal.check(&named(4)).unwrap();
        assert_eq!(removal.told(), "");
    }

    #[test]
    fn a_drain_says_what_is_left_and_what_it_costs() {
        let mut three = topology(3);
        three.drain(NodeId(2)).unwrap();
        let drained = Drained::of(&named(2), Some(&three));
        assert_eq!(
            drained.text(),
            "node n2 hands over its 8 partitions of hot data; `atoll status` shows how far that \
             is\nwithout it there are nodes for 2 replicas of each partition only: hot data \
             survives no failure until another node joins"
        );
        assert_eq!(
            serde_json::to_string(&drained).unwrap(),
            r#"{"id":"2","name":"n2","partitions_left":8,"replicas":2,"failures_survived":0}"#
        );
        let mut five = topology(5);
        five.drain(NodeId(2)).unwrap();
        let drained = Drained::of(&named(2), Some(&five));
        assert!(!drained.text().contains("without it"), "{}", drained.text());
        let none = Drained::of(&named(9), Some(&five));
        assert!(none.text().contains("holds no hot data"), "{}", none.text());
    }
}
