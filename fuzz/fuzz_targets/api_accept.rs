//! Any `Accept` header is answered with a type that can be asked for, or refused.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_services::fuzzing::accept(bytes));
