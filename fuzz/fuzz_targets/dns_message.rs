//! What the name server reads ends in a bounded reply, or in none.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_services::fuzzing::dns_message(bytes));
