//! Any bytes are the record of a node, which is written as it was read, or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;

// The parser alone: a binary has no library to take it from.
#[allow(dead_code)]
#[path = "../../crates/atoll/src/node/record/format.rs"]
mod format;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = format::decode(bytes) {
        let again = format::decode(&format::encode(&record));
        assert_eq!(again.expect("a record of ours"), record);
    }
});
