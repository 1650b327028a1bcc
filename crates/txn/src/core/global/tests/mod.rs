//! Coordinators and participants in a seeded world, and what must hold there.

mod checks;
mod clients;
mod codec;
mod desk;
mod network;
mod nodes;
mod requests;
mod scenarios;
mod seeds;
mod world;
