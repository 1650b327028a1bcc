//! Any message of a peer is read without harm.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_control::fuzzing::peer_message(bytes));
