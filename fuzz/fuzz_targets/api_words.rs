//! Any text is a quantity, a time, a schedule or a name, or none, in every place alike.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_services::fuzzing::words(bytes));
