//! Networks, passwords, tokens and PROXY headers are read, or refused.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_gateway::fuzzing::gateway_words(bytes));
