//! Compiles the .proto file with protox, in Rust, so that no protoc is needed.
// A build script runs on the builder's machine, outside any simulation.
#![allow(clippy::disallowed_methods)]

use std::error::Error;

const FOLDER: &str = "../txn/proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={FOLDER}/txn.proto");
    let descriptors = protox::compile(["txn.proto"], [FOLDER])?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
