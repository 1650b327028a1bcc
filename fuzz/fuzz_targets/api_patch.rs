//! Any patch makes an object of an object, or is refused; to apply again changes nothing.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_services::fuzzing::patch(bytes));
