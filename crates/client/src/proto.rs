//! Generated from `txn.proto`.
#![allow(missing_docs, unreachable_pub, clippy::all)]

tonic::include_proto!("atoll.v1");
