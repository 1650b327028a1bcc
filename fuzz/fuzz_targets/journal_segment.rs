//! Any bytes are read as a segment without harm. So that the search gets past the checksums,
//! each input is also tried behind a header that is whole.

#![no_main]

use atoll_world::journal::{format::SegmentHeader, parse_segment};
use libfuzzer_sys::fuzz_target;

fn read(bytes: &[u8]) {
    let Ok((_, mut records)) = parse_segment(bytes) else { return };
    let mut end = 0;
    for item in records.by_ref() {
        match item {
            Ok(record) => {
                assert!(record.offset >= end && record.sequence > record.synced);
                end = record.offset + record.payload.len() as u64;
                assert!(end <= bytes.len() as u64);
            }
            Err(bad) => {
                let tail = records.clone().tail(bad);
                assert!(bad.offset + tail.bytes <= bytes.len() as u64);
                break;
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    let header = SegmentHeader { segment: 1, first_sequence: 1, salt: 42, weak: false };
    read(&[&header.encode(), bytes].concat());
});
