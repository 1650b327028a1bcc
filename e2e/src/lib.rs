//! Starts real server processes, on real disks and sockets, for tests and measurements.
//!
//! [`command`] knows every command line (the only place that does), [`node::Node`] is one
//! process with its directory, [`cluster::Cluster`] several of them. The same harness starts
//! Atoll and etcd, so that a test which states etcd's behaviour can be run against etcd first.
//!
//! Invariants: a process is only ever ended by the handle that started it; a directory is
//! removed with the handle that made it; what a server logged is printed when a test fails.
// Edge of the house: this crate exists to start processes and to wait for them.
#![allow(clippy::disallowed_methods)]

pub mod cluster;
pub mod command;
pub mod kubernetes;
pub mod network;
pub mod node;
pub mod ports;
pub mod probe;
