//! For tests: the corpora that fuzzing began with and has found, `fuzz/corpus`.

use std::path::PathBuf;

use crate::disk;

/// A corpus has so many files to begin with.
const FILES_MIN: usize = 3;

/// Shows every file of a corpus to its target.
///
/// # Panics
/// There is no such corpus, it has hardly any files, or the target panics.
pub fn replay(name: &str, target: fn(&[u8])) {
    let disk = disk::real();
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(name);
    let files = disk.list(&corpus).expect("every target has a corpus");
    assert!(files.len() >= FILES_MIN, "{name} has files to begin with");
    for file in files {
        target(&disk.read_all(&corpus.join(file)).expect("it was listed"));
    }
}
