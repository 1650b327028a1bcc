//! A name of an image leads to one place, or is none.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_services::fuzzing::image_reference(bytes));
