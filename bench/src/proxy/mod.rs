//! Requests through Atoll's gateway, HAProxy and nginx to the same three endpoints.
//!
//! Proxies differ in how many cores they use by themselves, and a small machine has few: each
//! has one core, the same one, and everything else has the others. What it costs a proxy to
//! pass a request is its CPU time; requests in a second say as much about the load generator
//! where that is slower.

pub(crate) mod compare;
pub(crate) mod options;
mod pinning;
mod servers;
pub(crate) mod table;
mod tools;
