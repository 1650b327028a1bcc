//! Compiles the .proto files with protox, in Rust, so that no protoc is needed.
// A build script runs on the builder's machine, outside any simulation.
#![allow(clippy::disallowed_methods)]

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["offers.proto"], ["proto"])?;
    // The JSON gateway reads the API's shape from this at run time.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // What is sent is the same each time.
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
