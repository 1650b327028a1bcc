//! Whatever a client sends in channels keeps to bounds.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_services::fuzzing::streams_channels(bytes));
