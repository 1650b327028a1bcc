//! All or nothing: transactions across partitions, and with databases and services outside.
//!
//! Floor 5. It must never know of the command line, objects or pods.
//!
//! [`core`] is pure: no async, clock, thread, I/O or hash order. [`driver`] moves bytes between
//! the cores and the partitions.

pub mod core;
pub mod driver;
