//! Hot values: Redis data types behind a Paxos log per partition.
//!
//! Floor 4. It must never know of the command line, transactions across partitions, objects or
//! pods.
//!
//! [`core`] is pure: no async, clock, thread, I/O or hash order. Time and chance come in as
//! arguments, what has to be done comes out as values.
//! [`driver`] moves bytes between the cores and the world; [`api`] is what faces and other crates ask; [`face`] is the Redis protocol.

pub mod api;
pub mod core;
pub mod driver;
pub mod face;
pub mod fuzzing;
pub mod hub;
pub mod memory;
