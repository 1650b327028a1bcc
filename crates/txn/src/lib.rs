//! All or nothing: transactions that no crash leaves half done, over partitions of hot data and
//! with databases and services outside.
//!
//! Floor 5. It must never know of the command line, folders, objects, pods or how anybody's
//! requests were authenticated.
//!
//! [`core`] is pure: no async, clock, thread, I/O or hash order. Time and chance come in as
//! arguments, what has to be done comes out as values. [`driver`] moves bytes between the cores
//! and the partitions, the cluster's log and [`outside`]; [`face`] is the API `atoll.v1`.

pub mod core;
pub mod driver;
pub mod face;
#[doc(hidden)]
pub mod fuzzing;
pub mod outside;
pub mod proto;
