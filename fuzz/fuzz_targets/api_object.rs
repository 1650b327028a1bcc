//! Any object that is let in is kept in one form, shown, and read as it was written.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_services::fuzzing::object(bytes));
