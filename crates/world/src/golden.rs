//! For tests: files that formats wrote when they were new, `docs/formats/golden`. A file, once
//! released, never changes; a new version gets a new one.

use std::path::PathBuf;

use bytes::Bytes;

use crate::disk;

/// The stored file of this name, which is what is written. With `ATOLL_WRITE_GOLDEN` set, a file
/// that is not there yet is made.
///
/// # Panics
/// It is not in the tree, or holds something else.
pub fn golden(name: &str, written: &[u8]) -> Bytes {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/formats/golden")
        .join(name);
    let disk = disk::real();
    let stored = match disk.read_all(&path) {
        Err(error) if error.is_not_found() && std::env::var_os("ATOLL_WRITE_GOLDEN").is_some() => {
            disk.write_atomic(&path, written)
                .expect("the tree is writable");
            disk.read_all(&path).expect("it was just written")
        }
        stored => stored.expect("it is in the tree"),
    };
    assert!(*stored == *written, "what is written differs from {name}");
    stored
}
