//! No entry of a layer leads out of it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_services::fuzzing::image_entry(bytes));
