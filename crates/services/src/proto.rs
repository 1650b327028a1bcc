//! Generated from `proto/`: the messages and services of `atoll.v1` that are about workloads.
#![allow(missing_docs, unreachable_pub, clippy::all)]

tonic::include_proto!("atoll.v1");

/// The compiled descriptors of every file, for the JSON gateway.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
