//! Any transaction that the face lets through can be carried by the log and applied.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_control::fuzzing::txn(bytes));
