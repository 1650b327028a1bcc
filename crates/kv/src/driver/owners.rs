//! Who owns which partition, as far as this node knows, for cluster clients.
//!
//! A client is sent away only to a node that is known to own the partition; where nobody is, or
//! its address is not, it is served here, as on the plain listener. So it never goes in circles.
//! A node that holds a replica names whom it promised the highest ballot, and whoever asked for
//! a ballot has promised it first: from one such node to the next ballots rise, and one that
//! finds itself in the ballot serves. A node that holds none names who answered it last, or was
//! named by one who knew a ballot, among those who hold the partition by its layout. Where two
//! layouts differ, the partition moves from one to the other by steps that both nodes of such a
//! pair would have had to see.
//!
//! Clients that are sent away ask nothing here, so nothing here would find out that the owner is
//! gone. So whoever sends one away says hello to the owner, and serves by itself while there is
//! no answer: its coordinator finds another owner, if need be.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use atoll_base::id::{NodeId, PartitionId, ReplicaId};
use atoll_ring::{partition::Partitions, slot::Slot};
use atoll_world::clock::{self, Instant};
use parking_lot::Mutex;

use super::{Layout, address::ClusterAddress, layout::Place, links::Links};
use crate::{
    api::{ClusterMap, ClusterNode, ClusterView, Redirect, Route, SlotRange},
    core::{
        machine::{Answered, Machine},
        partition::{Coordinator, Partition},
    },
};

/// No replica has this number.
const NOBODY: u64 = u64::MAX;

/// To a node that lets a question wait for so long nobody is sent: longer than nodes pause, and
/// short for a client.
const SILENCE_MAX: Duration = Duration::from_millis(100);

/// What a node knows. Clones are the same.
#[derive(Clone)]
pub(super) struct Owners(Arc<Inner>);

struct Inner {
    own: NodeId,
    own_replica: ReplicaId,
    partitions: Partitions,
    /// Each partition's owner. Written by the shard that has it.
    known: Vec<AtomicU64>,
    layout: Mutex<Arc<Layout>>,
    links: Mutex<BTreeMap<NodeId, Link>>,
    addresses: Mutex<Arc<BTreeMap<NodeId, ClusterAddress>>>,
    begun_ms: u64,
}

/// Whether a node can be reached, and since when.
#[derive(Clone, Copy)]
struct Link {
    is_up: bool,
    changed_ms: u64,
    /// Something was sent there and not answered yet.
    is_asked: bool,
    /// Since when it has owed an answer.
    silent_since: Option<Instant>,
}

impl Link {
    fn new(changed_ms: u64) -> Self {
        Link {
            is_up: true,
            changed_ms,
            is_asked: false,
            silent_since: None,
        }
    }

    fn answers(&self, now: Instant) -> bool {
        let is_silent = |since| now.duration_since(since) > SILENCE_MAX;
        self.is_up && !self.silent_since.is_some_and(is_silent)
    }
}

/// Who owns a partition, as the parts of this node that deal with it know.
pub(super) fn owner_of(
    own: ReplicaId,
    place: Option<&Place>,
    partition: Option<&Partition<Machine>>,
    coordinator: &Coordinator<Answered>,
) -> Option<ReplicaId> {
    let holders = &place?.order;
    match partition {
        // A copy that was left behind knows nothing new.
        Some(partition) if holders.contains(&own) => {
            let replica = partition.replica();
            let promised = replica.durable().promised;
            let (round, owner) = (promised.round, promised.replica);
            // A replica that was placed anew begins with a promise to nobody.
            (round > 0 && holders.contains(&owner) && replica.reaches(owner)).then_some(owner)
        }
        _ => coordinator.owner().filter(|owner| holders.contains(owner)),
    }
}

impl Owners {
    pub(super) fn new(own: NodeId, own_replica: ReplicaId, layout: Arc<Layout>) -> Self {
        let partitions = layout.partitions;
        let nobody = |_| AtomicU64::new(NOBODY);
        Owners(Arc::new(Inner {
            own,
            own_replica,
            partitions,
            known: partitions.ids().map(nobody).collect(),
            layout: Mutex::new(layout),
            links: Mutex::default(),
            addresses: Mutex::default(),
            begun_ms: clock::wall_ms(),
        }))
    }

    /// Notes who owns a partition.
    pub(super) fn note(&self, id: PartitionId, owner: Option<ReplicaId>) {
        let owner = owner.map_or(NOBODY, |owner| owner.0);
        if let Some(known) = self.0.known.get(usize::from(id.0))
            && known.load(Ordering::Relaxed) != owner
        {
            known.store(owner, Ordering::Relaxed);
        }
    }

    pub(super) fn set_layout(&self, layout: Arc<Layout>) {
        *self.0.layout.lock() = layout;
    }

    /// Says whether a node can be reached.
    pub(super) fn link(&self, node: NodeId, is_up: bool) {
        let mut links = self.0.links.lock();
        let link = links.entry(node).or_insert(Link::new(self.0.begun_ms));
        link.is_up = is_up;
        link.changed_ms = clock::wall_ms();
    }

    /// Something is sent to a node. Says whether nothing else was on its way there.
    pub(super) fn asked(&self, node: NodeId) -> bool {
        let mut links = self.0.links.lock();
        let link = links.entry(node).or_insert(Link::new(self.0.begun_ms));
        link.silent_since.get_or_insert_with(clock::now);
        !std::mem::replace(&mut link.is_asked, true)
    }

    /// A node answered, or what was sent was lost. `is_asked`: something else is on its way.
    pub(super) fn answered(&self, node: NodeId, has_answered: bool, is_asked: bool) {
        let mut links = self.0.links.lock();
        let link = links.entry(node).or_insert(Link::new(self.0.begun_ms));
        link.is_asked = is_asked;
        if has_answered {
            link.silent_since = is_asked.then(clock::now);
        }
    }

    fn answers(&self, node: NodeId) -> bool {
        let links = self.0.links.lock();
        links
            .get(&node)
            .is_none_or(|link| link.answers(clock::now()))
    }

    /// Where all nodes that said it are. One that says the same as this node, as nodes with the
    /// same settings on loopback do, would have clients sent back here: it says nothing.
    pub(super) fn set_addresses(&self, mut addresses: BTreeMap<NodeId, ClusterAddress>) {
        if let Some(own) = addresses.get(&self.0.own).cloned() {
            addresses.retain(|node, address| *node == self.0.own || *address != own);
        }
        *self.0.addresses.lock() = Arc::new(addresses);
    }

    /// The partitions that cluster clients are told this node owns.
    pub(super) fn shown_here(&self) -> BTreeSet<PartitionId> {
        let own = self.0.own;
        let shown = self.shown();
        let places = shown.layout.places.iter();
        places
            .filter(|(id, place)| shown.owner(**id, place) == own)
            .map(|(id, _)| *id)
            .collect()
    }

    /// Whether this node owns a partition.
    pub(super) fn owns(&self, id: PartitionId) -> bool {
        self.known(id) == Some(self.0.own_replica)
    }

    fn known(&self, id: PartitionId) -> Option<ReplicaId> {
        let known = self.0.known.get(usize::from(id.0))?;
        let owner = known.load(Ordering::Relaxed);
        (owner != NOBODY).then_some(ReplicaId(owner))
    }

    fn shown(&self) -> Shown<'_> {
        Shown {
            owners: self,
            layout: self.0.layout.lock().clone(),
            links: self.0.links.lock().clone(),
            addresses: self.0.addresses.lock().clone(),
            now: clock::now(),
        }
    }

    /// The owner of a slot, if it is known and another one, and its node.
    fn other_owner(&self, slot: Slot) -> Option<(PartitionId, Arc<Layout>, NodeId)> {
        let partition = self.0.partitions.of_slot(slot);
        let owner = self.known(partition)?;
        if owner == self.0.own_replica {
            return None;
        }
        let layout = self.0.layout.lock().clone();
        let node = *layout.nodes.get(&owner)?;
        Some((partition, layout, node))
    }
}

/// Everything at one moment.
struct Shown<'a> {
    owners: &'a Owners,
    layout: Arc<Layout>,
    links: BTreeMap<NodeId, Link>,
    addresses: Arc<BTreeMap<NodeId, ClusterAddress>>,
    now: Instant,
}

impl Shown<'_> {
    /// A node that was never found to be away is there.
    fn is_up(&self, node: NodeId) -> bool {
        let link = self.links.get(&node);
        link.is_none_or(|link| link.answers(self.now))
    }

    /// A replica's node, if clients can be told where it is.
    fn node(&self, replica: ReplicaId) -> Option<NodeId> {
        let node = *self.layout.nodes.get(&replica)?;
        self.addresses.contains_key(&node).then_some(node)
    }

    /// Whom clients are told to ask: who is known to own the partition; else whoever the
    /// coordinators of all nodes ask first, who sees to it that there is an owner.
    fn owner(&self, id: PartitionId, place: &Place) -> NodeId {
        let known = self.owners.known(id).and_then(|it| self.node(it));
        let known = known.filter(|node| self.is_up(*node));
        let first = || {
            let mut nodes = place.order.iter().filter_map(|it| self.node(*it));
            nodes.find(|node| self.is_up(*node))
        };
        known.or_else(first).unwrap_or(self.owners.0.own)
    }

    fn range(&self, id: PartitionId, place: &Place) -> Option<SlotRange> {
        let slots = self.layout.partitions.slots(id)?;
        let owner = self.owner(id, place);
        let holders = place.order.iter().filter_map(|it| self.node(*it));
        let is_there = |replica| {
            let node = self.layout.nodes.get(&replica);
            node.is_some_and(|node| self.is_up(*node))
        };
        Some(SlotRange {
            first: *slots.start(),
            last: *slots.end(),
            owner,
            replicas: holders.filter(|node| *node != owner).collect(),
            is_covered: place.configuration.is_quorum(is_there),
        })
    }
}

/// What cluster clients are told.
pub(super) struct Map {
    pub(super) owners: Owners,
    pub(super) links: Links,
}

impl ClusterMap for Map {
    fn view(&self) -> ClusterView {
        let inner = &self.owners.0;
        let shown = self.owners.shown();
        // Who asks has perhaps lost a node: what is told next time is right.
        for node in shown
            .layout
            .nodes
            .values()
            .filter(|node| **node != inner.own)
        {
            self.links.hello(*node);
        }
        let mut ranges: Vec<SlotRange> = Vec::new();
        for (id, place) in &shown.layout.places {
            let Some(next) = shown.range(*id, place) else {
                continue;
            };
            match ranges.last_mut() {
                Some(last)
                    if (last.owner, &last.replicas, last.is_covered)
                        == (next.owner, &next.replicas, next.is_covered) =>
                {
                    last.last = next.last;
                }
                _ => ranges.push(next),
            }
        }
        let members: BTreeSet<NodeId> = shown.layout.nodes.values().copied().collect();
        let nodes = shown
            .addresses
            .iter()
            .filter(|(id, _)| members.contains(id));
        let nodes = nodes.map(|(id, address)| {
            let link = shown.links.get(id);
            ClusterNode {
                id: *id,
                host: address.host.clone(),
                port: address.port,
                is_up: shown.is_up(*id),
                changed_ms: link.map_or(inner.begun_ms, |link| link.changed_ms),
            }
        });
        let places = shown.layout.places.values();
        ClusterView {
            own: inner.own,
            epoch: places.map(|place| place.configuration.number).sum(),
            nodes: nodes.collect(),
            ranges,
        }
    }

    fn route(&self, slot: Slot) -> Route {
        let Some((partition, layout, node)) = self.owners.other_owner(slot) else {
            return Route::Here;
        };
        let answers = self.owners.answers(node);
        self.links.hello(node);
        let addresses = self.owners.0.addresses.lock().clone();
        let Some(address) = addresses.get(&node).filter(|_| answers) else {
            return Route::Here;
        };
        let redirect = Redirect {
            host: address.host.clone(),
            port: address.port,
        };
        let place = layout.places.get(&partition);
        let own = self.owners.0.own_replica;
        match place.is_some_and(|place| place.order.contains(&own)) {
            true => Route::Replica(redirect),
            false => Route::Elsewhere(redirect),
        }
    }
}
