//! The doors outside: clock, randomness, disk, store, peer links. Real, and simulated.
//!
//! Floor 1. Only this crate names a clock, a file, a socket or a random number generator;
//! everything above asks here, so that a simulation can answer instead.

pub mod clock;
pub mod corpus;
pub mod disk;
pub mod golden;
pub mod journal;
pub mod layer;
pub mod machine;
pub mod net;
pub mod peers;
pub mod pki;
pub mod pod_network;
pub mod process;
pub mod random;
pub mod runtime;
pub mod store;
pub mod task;
pub mod tree;
pub mod watch;
pub mod workload;

pub use random::{is_simulated, sim_mode};
