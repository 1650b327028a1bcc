//! Any bytes are work for a database or for hot data, a service's answer or a list of hosts, or an
//! error.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atoll_txn::fuzzing::outside(bytes));
