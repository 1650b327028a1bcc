//! Any text is a file of contexts, which is written as it was read, or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;

// The parser alone: a binary has no library to take it from.
#[allow(dead_code)]
#[path = "../../crates/atoll/src/context/format.rs"]
mod format;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(contexts) = format::decode(&String::from_utf8_lossy(bytes)) {
        let again = format::decode(&format::encode(&contexts));
        assert_eq!(again.expect("a file of ours"), contexts);
    }
});
