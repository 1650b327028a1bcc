//! How a world ends: all is mended, and everybody has to hold the same.

use std::collections::BTreeSet;

use atoll_base::id::ReplicaId;

use super::World;
use crate::core::eventual::{merkle::Node, replica::ENDED_KEPT_MS};

/// Rounds in which all has to be mended.
const ROUNDS_MAX: u32 = 400;

impl World {
    /// All so many things happen, then all is mended: everybody has to come to the same.
    ///
    /// # Errors
    /// What must not be.
    pub(in crate::core::eventual::tests) fn run(mut self, events: u32) -> Result<(), String> {
        for _ in 0..events {
            self.happen();
            if let Some(error) = self.error.take() {
                return Err(error);
            }
        }
        self.nodes
            .retain(|id, _| self.members.replicas.contains(id));
        self.nodes.values_mut().for_each(|node| node.side = 0);
        let ids: Vec<ReplicaId> = self.nodes.keys().copied().collect();
        ids.iter().for_each(|id| self.hear(*id));
        for round in 0..ROUNDS_MAX {
            self.now_ms += if round == 20 { ENDED_KEPT_MS } else { 150 };
            for id in &ids {
                self.tick(*id);
                self.sync(*id);
            }
            while !self.letters.is_empty() {
                self.deliver(0, false);
                ids.iter().for_each(|id| self.sync(*id));
            }
            if let Some(error) = self.error.take() {
                return Err(error);
            }
            if round > 20 && self.is_at_rest() {
                return self.check();
            }
        }
        let left: Vec<_> = self
            .nodes
            .values()
            .map(|node| {
                let replica = node.partition.replica();
                (
                    replica.id(),
                    replica.uncollected(),
                    replica.stable(),
                    node.partition.is_filled(),
                )
            })
            .collect();
        self.check()?;
        Err(format!("it does not come to rest: {left:?}"))
    }

    /// Whether nothing is left to collect, and what is known to be stable is known to all.
    fn is_at_rest(&self) -> bool {
        let mut contents = self
            .nodes
            .values()
            .map(|node| node.partition.replica().tree().digest(Node::ROOT));
        let first = contents.next();
        contents.all(|content| Some(content) == first)
            && self.nodes.values().all(|node| {
                node.partition.replica().uncollected() == 0 && node.partition.is_filled()
            })
    }

    fn check(&self) -> Result<(), String> {
        let mut contents = BTreeSet::new();
        for (id, node) in &self.nodes {
            let replica = node.partition.replica();
            self.model
                .check(replica, &self.lost, self.now_ms(*id))
                .map_err(|error| format!("{id}: {error}"))?;
            contents.insert(replica.content());
        }
        match contents.len() {
            1 => Ok(()),
            count => Err(format!("replicas hold {count} different things")),
        }
    }
}
