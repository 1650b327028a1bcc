//! The Redis protocol: bytes in, bytes out.
//!
//! Everything here is pure: [`resp`] reads requests and writes replies, [`session`] is what a
//! connection is between them.

pub mod resp;
pub mod session;
