//! Annotations of Ingresses are understood, or close their route.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_gateway::fuzzing::annotations(bytes));
