//! Any bytes are read as a backup without harm.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_control::fuzzing::backup(bytes));
