//! Credentials for registries are read, or refused.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_services::fuzzing::image_secret(bytes));
