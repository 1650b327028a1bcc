//! Any bytes are packets of another node or an error, and packets that are sent again come back.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_kv::fuzzing::packets(bytes));
