//! Any text is a configuration, which reads the same when it is written out, or an error.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_base::fuzzing::configuration(bytes));
