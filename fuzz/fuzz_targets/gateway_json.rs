//! Any body of a request to the JSON gateway is a message or an error.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_control::fuzzing::gateway_json(bytes));
