//! No Host and no Origin get past the check but those that should.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_control::fuzzing::browser_headers(bytes));
