//! Any path and query name objects that have a key of their own, or are refused.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_services::fuzzing::request(bytes));
