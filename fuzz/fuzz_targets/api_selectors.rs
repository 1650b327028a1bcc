//! Any text is a selector of labels or fields or an error; what is written again comes back.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_services::fuzzing::selectors(bytes));
