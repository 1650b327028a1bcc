//! Drives Redis's protocol: Atoll side by side with Redis, and Atoll under kills, stops and cuts, and
//! after restarts.
//!
//! The load is our own: a client writes its requests, reads as many answers, and measures the
//! round trip. It knows of answers only where they end, so that on a small machine the servers
//! are what is measured.

pub(crate) mod compare;
pub(crate) mod crosscheck;
pub(crate) mod keys;
pub(crate) mod kills;
pub(crate) mod load;
pub(crate) mod options;
mod redis_servers;
pub(crate) mod restart;
pub(crate) mod servers;
pub(crate) mod table;
pub(crate) mod wire;
pub(crate) mod workload;
