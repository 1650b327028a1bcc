//! Nodes come and go. None of this moves anything: it changes what the next blueprint says.

use atoll_base::id::{NodeId, ReplicaId};

use super::{Node, NodeState, Outcome, Topology, TopologyError};
use crate::hash_ring::{NODES_MAX, RingError, RingNode};

impl Topology {
    /// A node comes, or comes again with another weight or zone, or is no longer to be drained.
    ///
    /// # Errors
    /// When it is gone (its id is never used again), or there is no room on the ring.
    pub fn join(&mut self, ring: RingNode) -> Result<Outcome, TopologyError> {
        match self.place_of(ring.id) {
            Ok(place) => {
                let node = &mut self.nodes[place];
                if node.state == NodeState::Gone {
                    return Err(TopologyError::Gone { node: ring.id });
                }
                if node.ring == ring && node.state == NodeState::Active {
                    return Ok(Outcome::Unchanged);
                }
                node.ring = ring;
                node.state = NodeState::Active;
            }
            Err(place) => {
                let nodes = self.nodes.len() + 1;
                if nodes > NODES_MAX {
                    return Err(RingError::Nodes { nodes }.into());
                }
                let replica = self.next_replica();
                let node = Node {
                    ring,
                    replica,
                    state: NodeState::Active,
                };
                self.nodes.insert(place, node);
            }
        }
        Ok(self.nodes_changed())
    }

    /// A node hands over what it holds.
    ///
    /// # Errors
    /// When it is unknown or gone, or nobody would be left to take it.
    pub fn drain(&mut self, id: NodeId) -> Result<Outcome, TopologyError> {
        let place = self.known(id)?;
        match self.nodes[place].state {
            NodeState::Draining => return Ok(Outcome::Unchanged),
            NodeState::Gone => return Err(TopologyError::Gone { node: id }),
            NodeState::Active if self.active().count() == 1 => return Err(TopologyError::LastNode),
            NodeState::Active => self.nodes[place].state = NodeState::Draining,
        }
        Ok(self.nodes_changed())
    }

    /// A node will not come back, and others have to take its place.
    ///
    /// # Errors
    /// When it is unknown.
    pub fn lose(&mut self, id: NodeId) -> Result<Outcome, TopologyError> {
        let place = self.known(id)?;
        if self.nodes[place].state == NodeState::Gone {
            return Ok(Outcome::Unchanged);
        }
        self.nodes[place].state = NodeState::Gone;
        Ok(self.nodes_changed())
    }

    /// A node's disk may have forgotten what it promised as this replica, so it goes on as
    /// another one, which has no voice until partitions take it in.
    ///
    /// # Errors
    /// When the node is unknown or gone, or never voted as this replica so far as its present
    /// one tells.
    pub fn renew(&mut self, id: NodeId, forgetful: ReplicaId) -> Result<Outcome, TopologyError> {
        let place = self.known(id)?;
        let node = &self.nodes[place];
        if node.state == NodeState::Gone {
            return Err(TopologyError::Gone { node: id });
        }
        if forgetful < node.replica {
            return Ok(Outcome::Unchanged);
        }
        if forgetful > node.replica {
            return Err(TopologyError::Replica {
                node: id,
                replica: forgetful,
            });
        }
        self.nodes[place].replica = self.next_replica();
        Ok(self.nodes_changed())
    }

    /// Forgets a node that is gone or drained and that no partition names any more.
    ///
    /// # Errors
    /// When it is active, or still named.
    pub fn forget(&mut self, id: NodeId) -> Result<Outcome, TopologyError> {
        let Ok(place) = self.place_of(id) else {
            return Ok(Outcome::Unchanged);
        };
        let partitions = self.held_by(id);
        if partitions > 0 || self.nodes[place].state == NodeState::Active {
            return Err(TopologyError::InUse {
                node: id,
                partitions,
            });
        }
        self.nodes.remove(place);
        Ok(self.nodes_changed())
    }

    /// What was planned for other nodes is planned anew.
    fn nodes_changed(&mut self) -> Outcome {
        let outcome = self.changed();
        self.blueprint_min = self.epoch;
        outcome
    }

    fn next_replica(&mut self) -> ReplicaId {
        self.replica_ids += 1;
        ReplicaId(self.replica_ids)
    }

    fn known(&self, id: NodeId) -> Result<usize, TopologyError> {
        self.place_of(id)
            .map_err(|_| TopologyError::Unknown { node: id })
    }
}
