//! The seeded world: a whole control plane on virtual time, with faults from a seed.
//!
//! A run: a [`cluster`] of three nodes forms; [`clients`] and [`tenants`] work and [`observers`] look on while a
//! [`plan`] of faults is carried out; everything is healed, and has to answer again; then the
//! checkers of [`check`] read the [`history`]. Nothing real is touched: a run is a function of its
//! seed, and is made twice to see that it is.

pub mod check;
pub mod clients;
pub mod cluster;
pub mod history;
pub mod node;
pub mod observers;
pub mod partition;
pub mod plan;
mod running;
pub mod scenario;
pub mod services;
pub mod shrink;
pub mod tenants;
pub mod transactions;
