//! Any bytes are read as the log of a workload without harm, within the bounds that are asked.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_services::fuzzing::workload_log(bytes));
