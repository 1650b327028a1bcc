//! Any commands that the face lets through are applied without harm.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_control::fuzzing::requests(bytes));
