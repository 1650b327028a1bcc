//! Desired state: objects of the Kubernetes API, controllers that make it so, a scheduler, and an
//! agent on each node that runs programs.
//!
//! Floor 5. It must never know of the command line, partitions, Redis.

pub mod api;
pub mod core;
pub mod driver;
pub mod face;
#[doc(hidden)]
pub mod fuzzing;
pub mod proto;
