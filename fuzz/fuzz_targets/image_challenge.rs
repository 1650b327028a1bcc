//! A registry's challenge names whom to ask, or nobody.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_services::fuzzing::image_challenge(bytes));
