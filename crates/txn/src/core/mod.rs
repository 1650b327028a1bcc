//! Protocols as pure state machines.

pub mod partitions;
