//! Manifests and configs of images are bounded, and mean the same when written again.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_services::fuzzing::image_document(bytes));
