//! Any bytes are the record of a global transaction, or an error; it has one form.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_txn::fuzzing::record(bytes));
