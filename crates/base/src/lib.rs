//! Shared words: typed ids, units, the configuration tree. No I/O, no async.
//!
//! Floor 0. It must never know of any other crate of Atoll.

pub mod config;
#[doc(hidden)]
pub mod fuzzing;
pub mod id;
