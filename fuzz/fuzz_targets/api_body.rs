//! Any text is an object in JSON or YAML, which mean the same, or an error.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_services::fuzzing::body(bytes));
