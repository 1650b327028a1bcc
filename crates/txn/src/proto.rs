//! Generated from `proto/`: the messages and services of `atoll.v1`.
#![allow(missing_docs, unreachable_pub, clippy::all)]

tonic::include_proto!("atoll.v1");

pub use participant::Standing;
pub use transaction::{Kind, Outcome, Phase, Reason};

/// The compiled descriptors of every file, for the JSON gateway.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
