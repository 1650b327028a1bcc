//! Packets to and from other nodes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use atoll_base::id::{NodeId, PartitionId, ReplicaId};
use atoll_world::{
    clock,
    peers::{Handler, PAYLOAD_BYTES_MAX, PeerError, Peers, Reply, Service},
    task,
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{Door, Layout, owners::Owners, scripts::Scripts, shard::Input, shard::Urgent};
use crate::core::{
    eventual::{
        bundle::{Bundle as Parcels, Parcel, RoomId},
        replica::COMMAND_BYTES_MAX,
        sync::ITEMS_BYTES_MAX,
    },
    machine::OPERATION_BYTES_MAX,
    paxos::Message,
    wire::{Bundle, Packet},
};

/// Bundles of packets.
const PACKETS: Service = Service(32);
/// Bundles of parcels: what eventual partitions say.
const PARCELS: Service = Service(35);

/// A bundle is sent when it has grown to so many bytes. With the largest packet on top it has to
/// fit a frame.
pub(super) const BUNDLE_BYTES_MAX: usize = 1 << 20;
const _: () = assert!(
    BUNDLE_BYTES_MAX + OPERATION_BYTES_MAX + (64 << 10) < PAYLOAD_BYTES_MAX,
    "the largest packet fits the fullest bundle"
);

// The same of parcels: an item may hold a value, a member and a field of as much each, and comes
// beside others.
const _: () = assert!(
    BUNDLE_BYTES_MAX + 3 * COMMAND_BYTES_MAX + ITEMS_BYTES_MAX + (64 << 10) < PAYLOAD_BYTES_MAX,
    "the largest item of an eventual keyspace fits the fullest bundle"
);

/// Bundles that may wait for one node; further ones are lost, as on a network.
const BUNDLES_MAX: usize = 1_024;

/// A node that can't be reached is tried this often.
const RETRY: Duration = Duration::from_millis(20);

/// The links of a node. Clones are the same.
#[derive(Clone)]
pub(super) struct Links(Arc<Shared>);

struct Shared {
    peers: Arc<dyn Peers>,
    own: ReplicaId,
    layout: Mutex<Arc<Layout>>,
    doors: Mutex<Vec<Door>>,
    queues: Mutex<BTreeMap<NodeId, mpsc::Sender<(Service, Bytes)>>>,
    owners: Owners,
    scripts: Arc<Scripts>,
}

impl Links {
    pub(super) fn new(
        peers: Arc<dyn Peers>,
        own: ReplicaId,
        layout: Arc<Layout>,
        owners: Owners,
        scripts: Arc<Scripts>,
    ) -> Self {
        Links(Arc::new(Shared {
            peers,
            own,
            layout: Mutex::new(layout),
            doors: Mutex::default(),
            queues: Mutex::default(),
            owners,
            scripts,
        }))
    }

    /// Begins to take packets in.
    pub(super) fn serve(&self, doors: Vec<Door>) {
        *self.0.doors.lock() = doors;
        let handler = Arc::new(Inbound(self.clone()));
        self.0.peers.serve(PACKETS, handler);
        let handler = Arc::new(InboundParcels(self.clone()));
        self.0.peers.serve(PARCELS, handler);
    }

    pub(super) fn set_layout(&self, layout: Arc<Layout>) {
        *self.0.layout.lock() = layout;
    }

    /// An empty bundle.
    pub(super) fn bundle(&self) -> Bundle {
        Bundle::new(self.0.own)
    }

    /// Sends a bundle, or loses it.
    pub(super) fn send(&self, to: ReplicaId, bundle: Bundle) {
        let Some(node) = self.0.layout.lock().nodes.get(&to).copied() else {
            tracing::debug!(replica = %to, "packets for a replica that no node has are lost");
            return;
        };
        self.send_to(node, PACKETS, bundle.encode());
    }

    /// Sends parcels, or loses them.
    pub(super) fn send_parcels(&self, to: ReplicaId, bundle: Parcels) {
        let node = self.0.layout.lock().nodes.get(&to).copied();
        match node {
            Some(node) => self.send_to(node, PARCELS, bundle.encode()),
            None => {
                tracing::debug!(replica = %to, "parcels for a replica that no node has are lost")
            }
        }
    }

    fn send_to(&self, node: NodeId, service: Service, bundle: Bytes) {
        let mut queues = self.0.queues.lock();
        let queue = queues.entry(node).or_insert_with(|| {
            let (queue, bundles) = mpsc::channel(BUNDLES_MAX);
            task::spawn(self.clone().carry(node, bundles));
            queue
        });
        if queue.try_send((service, bundle)).is_err() {
            tracing::debug!(%node, "the queue of packets is full; they are lost");
        }
    }

    /// Asks a node whether it is there, unless something is on its way there already: a link
    /// that nothing goes over is never found to be broken.
    pub(super) fn hello(&self, node: NodeId) {
        if self.0.owners.asked(node) {
            self.send_to(node, PACKETS, self.bundle().encode());
        }
    }

    /// What a shard would say if it could: that the owner is well, though it runs a script. Who
    /// asks would take the partition over otherwise, run the same script, and lose it in the same
    /// way. Scripts end ([`Kv::set_script_time_limit_ms`](super::Kv::set_script_time_limit_ms)),
    /// and so does this. It decides only when a takeover is tried: nothing that is safe rests on
    /// it.
    fn speak_for(
        &self,
        busy: &[usize],
        shards: usize,
        id: PartitionId,
        packet: &Packet,
    ) -> Option<Packet> {
        let Packet::Message(Message::Probe { ballot, asker }) = packet else {
            return None;
        };
        let is_busy = busy.contains(&(usize::from(id.0) % shards));
        let is_owner = ballot.replica == self.0.own && self.0.owners.owns(id);
        (is_busy && is_owner).then_some(Packet::Message(Message::Alive {
            ballot: *ballot,
            asker: *asker,
        }))
    }

    /// Carries bundles to one node, and tells the shards whether it can be reached.
    async fn carry(self, node: NodeId, mut bundles: mpsc::Receiver<(Service, Bytes)>) {
        let mut answers = FuturesUnordered::new();
        let mut is_up = true;
        loop {
            tokio::select! {
                bundle = bundles.recv() => {
                    let Some((service, bundle)) = bundle else {
                        return;
                    };
                    self.0.owners.asked(node);
                    answers.push(self.0.peers.call(node, service, bundle));
                }
                Some(answer) = answers.next(), if !answers.is_empty() => {
                    let reached = !matches!(
                        answer,
                        Err(PeerError::Unreachable { .. } | PeerError::UnknownPeer(_))
                    );
                    let owners = &self.0.owners;
                    owners.answered(node, answer.is_ok(), !answers.is_empty());
                    if let Err(error) = answer {
                        tracing::debug!(%node, %error, "packets were lost");
                    }
                    if reached != is_up {
                        is_up = reached;
                        self.tell(node, is_up);
                    }
                }
                // An empty bundle asks whether it is back.
                () = clock::sleep(RETRY), if !is_up && answers.is_empty() => {
                    let hello = self.bundle().encode();
                    answers.push(self.0.peers.call(node, PACKETS, hello));
                }
            }
        }
    }

    fn tell(&self, node: NodeId, is_up: bool) {
        self.0.owners.link(node, is_up);
        let Some(replica) = self.0.layout.lock().replica_of(node) else {
            return;
        };
        tracing::info!(%node, is_up, "a link of hot data changed");
        for door in self.0.doors.lock().iter() {
            // A shard that is gone needs to know nothing.
            let _ = door.urgent.send(Urgent::Link { replica, is_up });
        }
    }
}

/// Takes bundles in.
struct Inbound(Links);

impl Handler for Inbound {
    fn handle(&self, from: NodeId, payload: Bytes, reply: Reply) {
        let shared = &self.0.0;
        let (sender, packets) = match Bundle::decode(payload) {
            Ok(bundle) => bundle,
            Err(error) => {
                tracing::warn!(%from, %error, "a bundle of packets can't be read");
                return;
            }
        };
        // The link vouches for the node, the cluster for whose voice it is.
        if shared.layout.lock().nodes.get(&sender) != Some(&from) {
            tracing::debug!(%from, replica = %sender, "packets in another's name, or of a replica not heard of yet");
            return;
        }
        let doors = shared.doors.lock();
        let mut dealt: Vec<Vec<(PartitionId, Packet)>> = vec![Vec::new(); doors.len()];
        let busy = shared.scripts.busy_shards();
        for (partition, packet) in packets {
            if let Some(answer) = self.0.speak_for(&busy, doors.len(), partition, &packet) {
                let mut bundle = self.0.bundle();
                bundle.add(partition, &answer);
                self.0.send_to(from, PACKETS, bundle.encode());
                continue;
            }
            dealt[usize::from(partition.0) % doors.len()].push((partition, packet));
        }
        for (door, packets) in doors.iter().zip(dealt) {
            if packets.is_empty() {
                continue;
            }
            let input = Input::Packets {
                from: sender,
                packets,
            };
            if door.inputs.try_send(input).is_err() {
                tracing::debug!(%from, "a shard has too much to do; packets are lost");
            }
        }
        reply.send(Bytes::new());
    }
}

/// Takes parcels in.
struct InboundParcels(Links);

impl Handler for InboundParcels {
    fn handle(&self, from: NodeId, payload: Bytes, reply: Reply) {
        let shared = &self.0.0;
        let (sender, parcels) = match Parcels::decode(payload) {
            Ok(bundle) => bundle,
            Err(error) => {
                tracing::warn!(%from, %error, "a bundle of parcels can't be read");
                return;
            }
        };
        if shared.layout.lock().nodes.get(&sender) != Some(&from) {
            tracing::debug!(%from, replica = %sender, "parcels in another's name, or of a replica not heard of yet");
            return;
        }
        let doors = shared.doors.lock();
        let mut dealt: Vec<Vec<(RoomId, Parcel)>> = vec![Vec::new(); doors.len()];
        for (room, parcel) in parcels {
            dealt[usize::from(room.partition.0) % doors.len()].push((room, parcel));
        }
        for (door, parcels) in doors.iter().zip(dealt) {
            if parcels.is_empty() {
                continue;
            }
            let input = Input::Parcels {
                from: sender,
                parcels,
            };
            if door.inputs.try_send(input).is_err() {
                tracing::debug!(%from, "a shard has too much to do; parcels are lost");
            }
        }
        reply.send(Bytes::new());
    }
}
