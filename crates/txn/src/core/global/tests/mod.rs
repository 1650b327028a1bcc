//! Coordinators and participants in a seeded world, and what must hold there.

mod checks;
mod clients;
mod codec;
mod desk;
mod golden;
mod keys;
pub(crate) mod keyspace;
mod network;
mod nodes;
mod requests;
mod scenarios;
mod seeds;
mod world;
