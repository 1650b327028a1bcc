//! The pure part: what a partition holds, what commands do to it, and how its replicas agree.

pub mod acl;
mod chance;
pub mod codec;
pub mod command;
pub mod data;
pub mod dump;
pub mod eventual;
pub mod evict;
pub mod geo;
pub mod glob;
pub mod keyspaces;
pub mod machine;
pub mod notify;
pub mod number;
mod numbered;
pub mod partition;
pub mod paxos;
pub mod rdb;
pub mod reply;
pub mod route;
pub mod script;
pub mod sessions;
pub mod snapshot;
pub mod wire;
