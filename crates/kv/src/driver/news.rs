//! Publications: to those who listen here, and to the other nodes, which tell theirs.
//!
//! What is published waits for nobody: a node that can't be reached, or is too slow, misses it,
//! as Redis's publish and subscribe promises no more. Publications have queues and frames of
//! their own, so that no flood of them displaces the partitions' packets.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use atoll_base::id::NodeId;
use atoll_world::{
    clock,
    peers::{Handler, PAYLOAD_BYTES_MAX, Peers, Reply, Service},
    task,
};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{Layout, invalidations::Invalidations};
use crate::{
    api::Publication,
    core::{
        command::{Event, EventClass},
        wire::{decode_publications, encode_publications, publication_bytes},
    },
    hub::Hub,
};

/// Publications.
const PUBLICATIONS: Service = Service(33);

/// Publications that may wait for one node.
const QUEUED_MAX: usize = 16_384;

/// So many bytes of them.
const QUEUED_BYTES_MAX: usize = 64 << 20;

/// So many bytes are sent in one frame, unless one publication is longer.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// A node that says nothing for so long is sent the next ones.
const PATIENCE: Duration = Duration::from_secs(1);

/// Publishes. Clones are the same.
#[derive(Clone)]
pub(super) struct News(Arc<Shared>);

struct Shared {
    hub: Hub,
    invalidations: Invalidations,
    own: NodeId,
    peers: Arc<dyn Peers>,
    others: Mutex<BTreeMap<NodeId, Queue>>,
}

/// What waits for one node.
#[derive(Clone)]
struct Queue {
    publications: mpsc::Sender<Publication>,
    bytes: Arc<AtomicUsize>,
}

impl News {
    /// Begins to publish, and to take in what others publish.
    pub(super) fn start(own: NodeId, peers: Arc<dyn Peers>, layout: &Layout) -> Self {
        let hub = Hub::default();
        peers.serve(PUBLICATIONS, Arc::new(Inbound(hub.clone())));
        let invalidations = Invalidations::start(hub.clone(), own, peers.clone(), layout);
        let news = News(Arc::new(Shared {
            hub,
            invalidations,
            own,
            peers,
            others: Mutex::default(),
        }));
        news.set_layout(layout);
        news
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.0.hub
    }

    /// Tells those who cache keys.
    pub(super) fn invalidations(&self) -> &Invalidations {
        &self.0.invalidations
    }

    /// The cluster has decided anew who belongs to it.
    pub(super) fn set_layout(&self, layout: &Layout) {
        self.0.invalidations.set_layout(layout);
        let is_other = |node: &NodeId| *node != self.0.own;
        let mut others = self.0.others.lock();
        others.retain(|node, _| layout.nodes.values().any(|other| other == node));
        for node in layout.nodes.values().copied().filter(is_other) {
            others.entry(node).or_insert_with(|| {
                let (publications, queued) = mpsc::channel(QUEUED_MAX);
                let bytes = Arc::<AtomicUsize>::default();
                let carry = carry(self.0.peers.clone(), node, queued, bytes.clone());
                task::spawn(carry);
                Queue {
                    publications,
                    bytes,
                }
            });
        }
    }

    /// Tells everybody; counts those on this node.
    pub(super) fn publish(&self, publication: Publication) -> usize {
        let told = self.0.hub.publish(&publication);
        for (node, queue) in &*self.0.others.lock() {
            let bytes = publication_bytes(&publication);
            let queued_bytes = queue.bytes.load(Ordering::Relaxed);
            // In a frame is a version, too.
            if queued_bytes + bytes > QUEUED_BYTES_MAX || bytes >= PAYLOAD_BYTES_MAX {
                tracing::debug!(%node, bytes, "a publication found no room and is lost there");
                continue;
            }
            queue.bytes.fetch_add(bytes, Ordering::Relaxed);
            if queue.publications.try_send(publication.clone()).is_err() {
                queue.bytes.fetch_sub(bytes, Ordering::Relaxed);
                tracing::debug!(%node, "a publication found no room and is lost there");
            }
        }
        told
    }

    /// Publishes events of keys, as far as the node is set to.
    pub(super) fn tell(&self, events: &[Event]) {
        let has_ended = |event: &&Event| event.class == EventClass::Expired;
        self.0
            .hub
            .note_expired(events.iter().filter(has_ended).count());
        let notified = self.0.hub.notified();
        if !notified.is_any() {
            return;
        }
        for event in events {
            for publication in notified.publications(event) {
                self.publish(publication);
            }
        }
    }
}

/// Carries publications to one node, until it belongs to the cluster no longer.
async fn carry(
    peers: Arc<dyn Peers>,
    node: NodeId,
    mut queued: mpsc::Receiver<Publication>,
    queued_bytes: Arc<AtomicUsize>,
) {
    let mut frame = Vec::new();
    let mut next = queued.recv().await;
    while let Some(publication) = next.take() {
        let mut bytes = publication_bytes(&publication);
        frame.push(publication);
        while let Ok(publication) = queued.try_recv() {
            let more = publication_bytes(&publication);
            if bytes + more > FRAME_BYTES_MAX {
                next = Some(publication);
                break;
            }
            bytes += more;
            frame.push(publication);
        }
        queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        let call = peers.call(node, PUBLICATIONS, encode_publications(&frame));
        let publications = frame.len();
        match clock::timeout(PATIENCE, call).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%node, %error, publications, "they were lost"),
            Err(_) => tracing::debug!(%node, publications, "they may have been lost"),
        }
        frame.clear();
        if next.is_none() {
            next = queued.recv().await;
        }
    }
}

/// Takes in what others publish.
struct Inbound(Hub);

impl Handler for Inbound {
    fn handle(&self, from: NodeId, payload: Bytes, reply: Reply) {
        match decode_publications(payload) {
            Ok(publications) => {
                for publication in publications {
                    self.0.publish(&publication);
                }
                reply.send(Bytes::new());
            }
            Err(error) => tracing::warn!(%from, %error, "publications can't be read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use atoll_base::id::ReplicaId;
    use atoll_ring::partition::Partitions;
    use atoll_world::peers::sim::SimNet;

    use super::*;
    use crate::{
        core::notify::Notified,
        hub::{Mailbox, Topic},
    };

    fn publication(channel: &str, message: &str) -> Publication {
        Publication {
            channel: Bytes::copy_from_slice(channel.as_bytes()),
            message: Bytes::copy_from_slice(message.as_bytes()),
            sharded: false,
        }
    }

    fn nodes(net: &SimNet) -> Vec<News> {
        let ids = [1, 2, 3];
        let nodes = ids.map(|id| (ReplicaId(id), NodeId(id))).into();
        let partitions = Partitions::new(1).unwrap();
        let layout = Layout::fixed(partitions, nodes, |_| ids.map(ReplicaId).into());
        let start = |id| {
            let peers = net.peers(NodeId(id));
            for other in ids.into_iter().filter(|other| *other != id) {
                peers.set_address(NodeId(other), String::new());
            }
            News::start(NodeId(id), peers, &layout)
        };
        ids.map(start).into()
    }

    fn listen(news: &News, pattern: &'static str) -> Arc<Mailbox> {
        let mailbox = Arc::default();
        news.hub()
            .subscribe(Topic::Pattern, pattern.into(), 0, &mailbox);
        mailbox
    }

    async fn heard(mailbox: &Mailbox) -> Bytes {
        for _ in 0..10_000 {
            if let Some(mail) = mailbox.take() {
                return mail.message;
            }
            clock::sleep(Duration::from_millis(1)).await;
        }
        panic!("nothing was heard");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_published_is_heard_everywhere_in_its_order() {
        let net = SimNet::new(1);
        let nodes = nodes(&net);
        let (near, far) = (listen(&nodes[0], "*"), listen(&nodes[2], "*"));
        for number in 0..2000 {
            assert_eq!(nodes[0].publish(publication("c", &number.to_string())), 1);
        }
        for number in 0..2000 {
            assert_eq!(heard(&near).await, number.to_string());
            assert_eq!(heard(&far).await, number.to_string());
        }
        assert_eq!(nodes[1].publish(publication("c", "last")), 0);
        assert_eq!(heard(&near).await, "last");
        assert_eq!(near.take(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_away_holds_nobody_up_and_hears_again_later() {
        let net = SimNet::new(2);
        let nodes = nodes(&net);
        let (second, third) = (listen(&nodes[1], "*"), listen(&nodes[2], "back"));
        net.isolate(NodeId(3));
        // More than its queue holds.
        let large = "m".repeat(1 << 20);
        for _ in 0..100 {
            nodes[0].publish(publication("c", &large));
            assert_eq!(heard(&second).await.len(), large.len());
        }
        net.heal();
        for _ in 0..1000 {
            nodes[0].publish(publication("back", ""));
            clock::sleep(Duration::from_millis(100)).await;
            if third.has_mail() {
                return;
            }
        }
        panic!("it hears nothing any more");
    }

    #[tokio::test(start_paused = true)]
    async fn events_are_told_as_the_node_is_set() {
        let net = SimNet::new(3);
        let nodes = nodes(&net);
        let far = listen(&nodes[1], "*");
        let event = |name| Event {
            class: EventClass::String,
            name,
            database: 0,
            key: b"k".as_slice().into(),
        };
        nodes[0].tell(&[event("unheard")]);
        nodes[0].hub().set_notified(Notified::parse(b"K$").unwrap());
        nodes[0].tell(&[event("set"), event("append")]);
        assert_eq!(heard(&far).await, "set");
        assert_eq!(heard(&far).await, "append");
    }
}
