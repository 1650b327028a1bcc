//! The file of the gateway is read, or refused as a whole.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_gateway::fuzzing::gateway_file(bytes));
