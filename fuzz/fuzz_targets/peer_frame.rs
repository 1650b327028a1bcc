//! Any bytes are read as frames without harm, and what is read is written back as it was.

#![no_main]

use atoll_world::peers::frame::parse;
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Some((frame, taken))) = parse(rest) {
        assert!(taken > 0 && taken <= rest.len());
        let mut again = BytesMut::new();
        frame.encode(&mut again);
        assert_eq!(again[..], rest[..taken]);
        rest = &rest[taken..];
    }
});
