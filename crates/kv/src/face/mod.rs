//! The Redis protocol: bytes in, bytes out.
//!
//! Everything here is pure: [`resp`] reads requests and writes replies.

pub mod resp;
