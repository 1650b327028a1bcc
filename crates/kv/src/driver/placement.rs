//! Keeps who holds what as the cluster wants it: the leader plans, each partition's owner takes
//! its partition's steps, and everybody writes the next topology over the one it came from.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use atoll_base::id::{ClusterId, LogIndex, NodeId, PartitionId, ReplicaId};
use atoll_ring::{
    hash_ring::{RingNode, Weight},
    partition::Partitions,
    topology::{CaughtUp, JointCommit, NodeState, Outcome, Topology},
};
use atoll_world::clock;
use bytes::Bytes;

use super::{
    Kv,
    address::ClusterAddress,
    keyspaces::{Creation, Creations, Following},
    layout::{Layout, Place},
};
use crate::core::paxos::{Configuration, Members, Voters};

/// Where the cluster keeps who holds what. A cluster that was made from another's snapshot, or
/// of what is left of it, holds none of its hot data, so it looks elsewhere.
pub fn topology_key(cluster: ClusterId) -> String {
    format!("/atoll/kv/{cluster}/topology")
}

/// So many partitions change their members at a time.
const MOVES_MAX: usize = 32;
/// How often this looks while something changes.
const BUSY: Duration = Duration::from_millis(20);
/// How often it looks otherwise.
const IDLE: Duration = Duration::from_millis(200);

/// What the control plane has decided, as far as hot data needs it.
pub trait Decisions: Send + Sync + 'static {
    /// The topology as this node knows it, and its version.
    fn topology(&self) -> impl Future<Output = Option<(Bytes, i64)>> + Send;

    /// Puts a topology in the place of the one of a version; 0 is none. Says whether that came
    /// about.
    fn replace(&self, version: i64, next: Bytes) -> impl Future<Output = bool> + Send;

    /// Whether this node plans.
    fn leads(&self) -> bool;

    /// The cluster's nodes.
    fn members(&self) -> Vec<NodeId>;

    /// Those of them that are to hand over what they hold; none if that can't be read now.
    fn draining(&self) -> impl Future<Output = Option<BTreeSet<NodeId>>> + Send;
    /// Where nodes said that cluster clients reach them, as this node knows it: what
    /// [`ClusterAddress::encode`] made. None, if that can't be read.
    fn addresses(&self) -> impl Future<Output = Option<BTreeMap<NodeId, Bytes>>> + Send;

    /// Which keyspaces there are, as this node knows it, and their version: what
    /// [`Keyspaces::encode`](crate::core::keyspaces::Keyspaces::encode) made, or nothing and 0.
    /// At least as new as any topology that was read before. None, if that can't be read.
    fn keyspaces(&self) -> impl Future<Output = Option<(Bytes, i64)>> + Send;

    /// Whether every node of the cluster can keep a part of an eventual keyspace, and whoever
    /// joins, too: once it is so it stays so.
    fn takes_eventual(&self) -> bool;

    /// Puts keyspaces in the place of those of a version; 0 is none. Says whether that came about,
    /// which it does only while the topology is the one of that version.
    fn replace_keyspaces(
        &self,
        version: i64,
        topology: i64,
        next: Bytes,
    ) -> impl Future<Output = bool> + Send;

    /// Says where cluster clients reach a node, or that they don't.
    fn set_address(&self, node: NodeId, address: Option<Bytes>) -> impl Future<Output = ()> + Send;
}

/// What the owner of a partition that changes tells of it.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    pub(super) partition: PartitionId,
    /// The configuration that its ballot stands under.
    pub(super) configuration: u64,
    /// Learners that have what the others have.
    pub(super) caught_up: Vec<ReplicaId>,
    /// An entry of this configuration that was committed, and who has it.
    pub(super) committed: Option<(LogIndex, Vec<ReplicaId>)>,
}

/// The topology as it was read last.
#[derive(Debug, Default)]
pub struct Known {
    version: i64,
    topology: Option<Topology>,
    /// From what this node planned last, if nothing followed from it.
    settled: Option<Grounds>,
}

/// What a plan follows from.
#[derive(Debug, PartialEq, Eq)]
struct Grounds {
    version: i64,
    members: Vec<NodeId>,
    draining: Option<BTreeSet<NodeId>>,
}

impl Known {
    /// Waits until the cluster has a topology that this node is a part of; makes the first one,
    /// or lets this node join it, where this node may.
    pub async fn wait_for<D: Decisions>(
        decisions: &D,
        node: NodeId,
        partitions: Partitions,
    ) -> (Known, ReplicaId) {
        let mut known = Known::default();
        loop {
            known.refresh(decisions).await;
            let own = known.topology.as_ref().and_then(|it| it.node(node));
            if let Some(own) = own {
                let replica = own.replica;
                return (known, replica);
            }
            if decisions.leads() {
                known.lead(decisions, partitions).await;
            } else {
                clock::sleep(BUSY).await;
            }
        }
    }

    /// Reads the topology anew; says whether it is another one.
    async fn refresh<D: Decisions>(&mut self, decisions: &D) -> bool {
        let Some((bytes, version)) = decisions.topology().await else {
            return false;
        };
        // This node may have read a version that another one has yet to hear of, never back.
        if version <= self.version {
            return false;
        }
        match Topology::decode(&bytes) {
            Ok(topology) => {
                self.version = version;
                self.topology = Some(topology);
                true
            }
            Err(error) => {
                tracing::error!(%error, "the cluster's topology can't be read; was it written by a newer version?");
                false
            }
        }
    }

    /// What follows from the members: nodes join, are drained and are lost, partitions begin to
    /// move.
    async fn lead<D: Decisions>(&mut self, decisions: &D, partitions: Partitions) {
        let members = decisions.members();
        let draining = decisions.draining().await;
        let grounds = Grounds {
            version: self.version,
            members: members.clone(),
            draining: draining.clone(),
        };
        if self.settled.as_ref() == Some(&grounds) {
            return;
        }
        let mut next = match &self.topology {
            Some(topology) => topology.clone(),
            None => {
                let nodes = members.iter().map(|node| ring_node(*node)).collect();
                match Topology::found(partitions, atoll_ring::topology::REPLICAS_DEFAULT, nodes) {
                    Ok(topology) => {
                        decisions.replace(0, topology.encode().into()).await;
                    }
                    Err(error) => tracing::error!(%error, "no first topology"),
                }
                return;
            }
        };
        let mut changed = false;
        let mut note = |step: Result<Outcome, atoll_ring::topology::TopologyError>| match step {
            Ok(outcome) => changed |= outcome == Outcome::Changed,
            Err(error) => tracing::debug!(%error, "a step of the topology was refused"),
        };
        for node in &members {
            let known = next.node(*node).map(|it| (it.state, it.ring.clone()));
            let drains = draining.as_ref().map(|it| it.contains(node));
            match (known, drains) {
                (None, _) => note(next.join(ring_node(*node))),
                (Some((NodeState::Active, _)), Some(true)) => note(next.drain(*node)),
                (Some((NodeState::Draining, ring)), Some(false)) => note(next.join(ring)),
                _ => {}
            }
        }
        let no_members: Vec<NodeId> = next
            .nodes()
            .iter()
            .map(|node| node.ring.id)
            .filter(|node| !members.contains(node))
            .collect();
        for node in no_members {
            note(next.lose(node));
            // Once nothing names it any more, nobody has to know its replica.
            if next.held_by(node) == 0 {
                note(next.forget(node));
            }
        }
        match next.plan() {
            Ok(blueprint) => {
                let partitions: Vec<PartitionId> =
                    blueprint.moves().iter().map(|it| it.partition()).collect();
                for partition in partitions {
                    if next.changing() >= MOVES_MAX {
                        break;
                    }
                    note(next.begin(&blueprint, partition, MOVES_MAX));
                }
            }
            Err(error) => tracing::error!(%error, "no plan for the topology"),
        }
        if changed {
            decisions.replace(self.version, next.encode().into()).await;
        }
        self.settled = (!changed).then_some(grounds);
    }

    /// Takes the steps that owners on this node have shown to be possible.
    async fn follow<D: Decisions>(&self, decisions: &D, kv: &Kv) {
        let Some(topology) = &self.topology else {
            return;
        };
        let mut next = topology.clone();
        let mut changed = false;
        for progress in kv.progress().await {
            changed |= step(&mut next, &progress);
        }
        if changed {
            decisions.replace(self.version, next.encode().into()).await;
        }
    }

    /// Who holds what, as partitions need it.
    ///
    /// # Panics
    /// There is no topology: [`wait_for`](Self::wait_for) one.
    pub fn layout(&self) -> Layout {
        match &self.topology {
            Some(topology) => layout(topology),
            None => panic!("no topology was waited for"),
        }
    }

    /// Keeps what a node holds, the topology, and where cluster clients reach the nodes, up to
    /// date, for as long as it lives.
    pub async fn keep<D: Decisions>(
        mut self,
        decisions: D,
        kv: Kv,
        node: NodeId,
        address: ClusterAddress,
    ) {
        let mut told = Told::default();
        let mut keyspaces = Following::default();
        let mut creations = kv.take_creations();
        loop {
            // First the topology, then the keyspaces that were there with it; told the other way
            // around: nobody goes on to other members without what the partition is to hold.
            let is_newer = self.refresh(&decisions).await;
            let knows_keyspaces = keyspaces.refresh(&decisions, &kv).await;
            if is_newer {
                kv.set_layout(&self.layout().into());
            }
            told.keep(&decisions, &kv, node, &address).await;
            if decisions.leads() {
                self.lead(&decisions, kv.partitions()).await;
            }
            let is_busy = self.topology.as_ref().is_some_and(|it| it.changing() > 0);
            if is_busy && knows_keyspaces {
                self.follow(&decisions, &kv).await;
            }
            let pause = if is_busy { BUSY } else { IDLE };
            tokio::select! {
                biased;
                Some(creation) = next(&mut creations) => {
                    keyspaces.create(&decisions, &kv, creation).await;
                }
                () = clock::sleep(pause) => {}
            }
        }
    }
}

/// The next keyspace that is to be created here.
async fn next(creations: &mut Option<Creations>) -> Option<Creation> {
    match creations {
        Some(creations) => creations.recv().await,
        None => None,
    }
}

/// What nodes told of their addresses.
#[derive(Debug, Default)]
struct Told {
    addresses: BTreeMap<NodeId, Bytes>,
    /// When to look again.
    next: Option<clock::Instant>,
}

impl Told {
    /// Hears where the others are, and tells where this node is; the leader clears away what
    /// nodes that are gone have told.
    async fn keep<D: Decisions>(
        &mut self,
        decisions: &D,
        kv: &Kv,
        own: NodeId,
        address: &ClusterAddress,
    ) {
        let now = clock::now();
        if self.next.is_some_and(|next| now < next) {
            return;
        }
        self.next = Some(now + IDLE);
        let Some(mut found) = decisions.addresses().await else {
            return;
        };
        let encoded = address.encode();
        if found.get(&own) != Some(&encoded) {
            decisions.set_address(own, Some(encoded.clone())).await;
            // Who asks this node hears of it, whether the others have heard or not.
            found.insert(own, encoded);
        }
        if decisions.leads() {
            let members = decisions.members();
            for node in found.keys().filter(|node| !members.contains(node)) {
                decisions.set_address(*node, None).await;
            }
        }
        if found == self.addresses {
            return;
        }
        let mut addresses = BTreeMap::new();
        for (node, bytes) in &found {
            match ClusterAddress::decode(bytes.clone()) {
                Ok(address) => drop(addresses.insert(*node, address)),
                Err(error) => {
                    tracing::warn!(%node, %error, "a node's address for cluster clients can't be read");
                }
            }
        }
        self.addresses = found;
        kv.set_addresses(addresses);
    }
}

fn ring_node(id: NodeId) -> RingNode {
    RingNode {
        id,
        weight: Weight::default(),
        zone: None,
    }
}

/// Takes the next step of one partition, if the owner's report allows one.
fn step(topology: &mut Topology, progress: &Progress) -> bool {
    let partition = progress.partition;
    let Some(assignment) = topology.assignment(partition) else {
        return false;
    };
    if assignment.configuration().0 != progress.configuration || assignment.change().is_none() {
        return false;
    }
    let taken = match (assignment.joint(), &progress.committed) {
        (None, _) => {
            let caught_up = progress.caught_up.iter().copied();
            let Ok(proof) = CaughtUp::new(partition, assignment, caught_up) else {
                return false;
            };
            topology.enter_joint(&proof)
        }
        (Some(_), Some((index, accepted_by))) => {
            let accepted_by = accepted_by.iter().copied();
            let Ok(proof) = JointCommit::new(partition, assignment, *index, accepted_by) else {
                return false;
            };
            topology.finish(&proof)
        }
        (Some(_), None) => return false,
    };
    match taken {
        Ok(outcome) => outcome == Outcome::Changed,
        Err(error) => {
            tracing::debug!(%partition, %error, "a step was refused");
            false
        }
    }
}

fn layout(topology: &Topology) -> Layout {
    let members = |replicas: &[ReplicaId]| match Members::new(replicas.to_vec()) {
        Some(members) => members,
        None => panic!("a topology has no partition without members"),
    };
    let partitions = topology.partitions();
    let mut places = BTreeMap::new();
    for partition in partitions.ids() {
        let Some(assignment) = topology.assignment(partition) else {
            continue;
        };
        let voters = match assignment.joint() {
            // The topology takes no step without its proof, and keeps none.
            None => Voters::Stable {
                members: members(assignment.members()),
                proof: None,
            },
            Some(new) => Voters::Joint {
                old: members(assignment.members()),
                new: members(new),
            },
        };
        let mut order = assignment.members().to_vec();
        for replica in assignment.joint().unwrap_or_default() {
            if !order.contains(replica) {
                order.push(*replica);
            }
        }
        let place = Place {
            configuration: Configuration {
                number: assignment.configuration().0,
                voters,
            },
            is_changing: assignment.change().is_some(),
            learners: assignment.learners().collect(),
            order,
        };
        places.insert(partition, place);
    }
    let nodes = topology.nodes().iter();
    Layout {
        partitions,
        replica_ids: topology.replica_ids(),
        nodes: nodes.map(|node| (node.replica, node.ring.id)).collect(),
        places,
    }
}
