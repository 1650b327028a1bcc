//! Any bytes are read as a record of the log without harm.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_control::fuzzing::log_record(bytes));
