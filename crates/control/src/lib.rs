//! What the cluster has decided: one replicated log, and what follows from it (revisions,
//! leases, watches, users), served through the etcd v3 API.
//!
//! Floor 3. It must never know of partitions, Redis, objects or pods.

pub mod api;
pub mod core;
pub mod driver;
pub mod face;
#[doc(hidden)]
pub mod fuzzing;
pub mod log;
pub mod proto;

#[cfg(test)]
mod golden;
