//! Any bytes are a file of keys or an error, however they are cut into reads.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_kv::fuzzing::rdb(bytes));
