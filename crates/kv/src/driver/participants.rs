//! What transactions over several partitions work with, and who ends those that nobody ends.

use std::sync::{Arc, Weak};

use atoll_base::id::PartitionId;
use atoll_ring::partition::Partitions;
use atoll_world::task;
use tokio::sync::mpsc;

use super::{
    Inner, Kv,
    ask::{Dealer, kind},
    scripts,
};
use crate::{
    api::{Later, Participants, Publication, Stray},
    core::{
        machine::{Answered, Author, Operation, Surroundings},
        partition::Given,
        sessions::Session,
    },
};

impl Participants for Kv {
    fn partitions(&self) -> Partitions {
        self.0.partitions
    }

    fn session(&self) -> Session {
        self.0.session
    }

    fn timeout_ms(&self) -> u64 {
        self.0.request_timeout_ms
    }

    fn ask(
        &self,
        by: Option<u64>,
        partition: PartitionId,
        reads: bool,
        operation: &Operation,
    ) -> Later<Given<Answered>> {
        let mut dealer = Dealer::new(self);
        let node = self.0.node;
        dealer.author = by.map(|client| Author { node, client });
        let receiver = dealer.deal(partition, kind(reads), operation.encode());
        dealer.hand_over();
        // A shard that ended had the question, perhaps.
        Box::pin(async move { receiver.await.unwrap_or(Given::Unknown) })
    }

    fn publish(&self, publication: Publication) -> usize {
        Kv::publish(self, publication)
    }

    fn surroundings(&self) -> Arc<dyn Surroundings> {
        Arc::new(scripts::Node {
            scripts: self.0.scripts.clone(),
            hub: self.hub().clone(),
            shard: None,
        })
    }
}

/// Has transactions ended that shards found to be left, until the node stops.
pub(super) async fn settle(kv: Weak<Inner>, mut strays: mpsc::UnboundedReceiver<Stray>) {
    while let Some(stray) = strays.recv().await {
        let Some(kv) = kv.upgrade() else {
            return;
        };
        tracing::debug!(?stray, "a transaction was left");
        let executor = kv.cross_partition.clone();
        task::spawn(executor.settle(Arc::new(Kv(kv)), stray));
    }
}
