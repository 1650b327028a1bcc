//! Generated from `proto/`: the messages and services of the etcd v3 API, and what our own
//! log carries. The module tree follows the protobuf packages.
#![allow(missing_docs, unreachable_pub, clippy::all)]

pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}
pub mod authpb {
    tonic::include_proto!("authpb");
}
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}
pub mod v3lockpb {
    tonic::include_proto!("v3lockpb");
}
pub mod v3electionpb {
    tonic::include_proto!("v3electionpb");
}
pub mod atoll {
    pub mod v1 {
        tonic::include_proto!("atoll.v1");
    }
    pub mod control {
        pub mod v1 {
            tonic::include_proto!("atoll.control.v1");
        }
    }
    pub mod cluster {
        pub mod v1 {
            tonic::include_proto!("atoll.cluster.v1");
        }
    }
    pub mod raft {
        pub mod v1 {
            tonic::include_proto!("atoll.raft.v1");
        }
    }
}

/// How nodes join.
pub use atoll::cluster::v1 as cluster;
/// What our own log carries.
pub use atoll::control::v1 as internal;
/// What the log writes and sends.
pub use atoll::raft::v1 as raft;
/// Our own services for users.
pub use atoll::v1;

/// The compiled descriptors of every file, for the JSON gateway.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
