//! Any bytes are an operation, a batch of them, or an error; what is written again comes back.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_kv::fuzzing::operation(bytes));
