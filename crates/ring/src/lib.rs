//! Who owns what.
//!
//! Floor 2. All of it is pure: values in, values out; no async, clock, randomness, disk or
//! socket. What flows through:
//!
//! ```text
//! key ─▶ slot ─▶ partition ─▶ assignment: the replicas that vote on it, and learn it
//!                                 ▲
//! nodes, weights, zones ─▶ hash_ring ─▶ placement ─▶ topology: plan, begin, enter_joint, finish
//! signs of life ─▶ suspicion: φ
//! ```
//!
//! - [`slot`], [`partition`]: how the data is cut, the same for ever.
//! - [`hash_ring`]: which nodes a key wants, by its hash alone.
//! - [`placement`]: which nodes partitions get, so that loads are even and little moves.
//! - [`topology`]: the numbered state that the control plane keeps, and its steps.
//! - [`suspicion`]: how much a silent node is to be suspected.
//!
//! Invariants:
//! - A key's slot and a slot's partition never change; where a key lies on the ring neither.
//! - A step from one topology to the next touches one partition, or the nodes, never both, and
//!   makes the epoch one higher.
//! - A partition goes from its members to others only through a joint configuration, and leaves
//!   that only with a proof that an entry was committed under it by both majorities.
//! - No replica id is ever given twice.
//! - Suspicion never enters a topology. Who is gone for good, an operator or the control plane
//!   says.
//!
//! It must never know of Paxos or Raft, of what partitions hold, of addresses, or of how a
//! topology is stored and sent.

pub mod hash_ring;
pub mod partition;
pub mod placement;
pub mod slot;
pub mod suspicion;
pub mod topology;
