//! Any bytes are rules of a user, or an error; what is written again comes back.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_kv::fuzzing::acl(bytes));
