//! Requests from outside to endpoints of services: routes, balancing, health.
//!
//! Floor 6. The binary says by snapshots ([`core::config::Config`]) what there is to listen on,
//! which requests go where, and who answers; a [`Gateway`] follows them without a reload and
//! without dropping a connection. `core` decides, `driver` moves bytes.

mod api;
pub mod core;
mod driver;
pub mod fuzzing;

pub use api::{Counted, EndpointStatus, Gateway, SharedCounter};
pub use driver::stats::{Counter, Stats};
