//! The Redis protocol: bytes in, bytes out.
//!
//! [`resp`] reads requests and writes replies, [`session`] is what a connection is between them;
//! both are pure. [`acl`] is what users may do. [`server`] moves bytes between them, the clients and the node.

pub mod acl;
pub mod resp;
pub mod server;
pub mod session;
