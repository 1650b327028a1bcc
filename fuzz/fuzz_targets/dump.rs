//! Any bytes are a value of a dump or an error, and a value that is dumped comes back.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_kv::fuzzing::dump(bytes));
