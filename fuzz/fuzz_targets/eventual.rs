//! Any bytes are what nodes say and keep of eventual keyspaces, or an error, and what was read comes
//! back.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_kv::fuzzing::eventual(bytes));
