//! Compiles the .proto files with protox, in Rust, so that no protoc is needed.
// A build script runs on the builder's machine, outside any simulation.
#![allow(clippy::disallowed_methods)]

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = [
        "rpc.proto",
        "kv.proto",
        "auth.proto",
        "lock.proto",
        "election.proto",
        "locks.proto",
        "internal.proto",
        "raft.proto",
        "cluster.proto",
    ];
    let descriptors = protox::compile(files, ["proto"])?;
    // The JSON gateway reads the API's shape from this at run time.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        // Encodings are compared and hashed, so maps have an order.
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
