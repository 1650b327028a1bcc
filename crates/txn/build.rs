//! Compiles the .proto files with protox, in Rust, so that no protoc is needed.
// A build script runs on the builder's machine, outside any simulation.
#![allow(clippy::disallowed_methods)]

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    // Keys are compared, put and deleted in the words of etcd's API.
    let etcd = "../control/proto";
    println!("cargo:rerun-if-changed={etcd}");
    let descriptors = protox::compile(["transactions.proto", "txn.proto"], ["proto", etcd])?;
    // The JSON gateway reads the API's shape from this at run time.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .extern_path(".etcdserverpb", "::atoll_control::proto::etcdserverpb")
        .compile_fds(descriptors)?;
    Ok(())
}
