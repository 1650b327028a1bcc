//! Whatever a client sends as SPDY keeps to bounds.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_services::fuzzing::streams_spdy(bytes));
