//! The bytes of a segment: as docs/formats/journal.md says, for ever, and harmless when they
//! are not.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::journal::format::{RECORD_HEADER_BYTES, SegmentHeader, encode_mark, encode_record};

fn golden_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/formats/golden/journal-1.wal")
}

/// The records of the golden segment.
fn golden_records() -> Vec<Bytes> {
    let counted: Vec<u8> = (0..=255).collect();
    vec![
        Bytes::from_static(b"atoll"),
        Bytes::new(),
        counted.into(),
        payload(0xa5, 77),
    ]
}

/// The golden segment, made by hand from the documented parts.
fn golden_bytes() -> Vec<u8> {
    let header = SegmentHeader {
        segment: 1,
        first_sequence: 1,
        salt: 42,
        weak: false,
    };
    let mut bytes = header.encode().to_vec();
    let records = golden_records();
    // The first two in one commit, then one each; the journal was closed when all were synced.
    for ((sequence, synced), record) in [(1, 0), (2, 0), (3, 2), (4, 3)].into_iter().zip(&records) {
        encode_record(&mut bytes, 42, sequence, synced, record);
    }
    encode_mark(&mut bytes, 42, 4);
    bytes.resize(1024, 0);
    bytes
}

#[test]
fn the_golden_segment_is_written_and_read_the_same() {
    let golden = real().read_all(&golden_path()).unwrap();
    assert!(
        golden == golden_bytes(),
        "the encoder writes other bytes than format 1 has"
    );
    run(async {
        let small = Options {
            segment_bytes: 1024,
            ..options()
        };
        let disk = SimDisk::new(1);
        let opened = open_with(&disk, small.clone()).unwrap();
        let records = golden_records();
        put(&opened.journal, records[..2].to_vec()).await.unwrap();
        put(&opened.journal, records[2..3].to_vec()).await.unwrap();
        put(&opened.journal, records[3..].to_vec()).await.unwrap();
        opened.journal.close();
        let written = disk.read_all(&recovery::segment_path(&dir(), 1)).unwrap();
        assert!(
            written == golden,
            "the journal writes other bytes than format 1 has"
        );

        let disk = SimDisk::new(1);
        disk.create_dir_all(&dir()).unwrap();
        disk.write_atomic(&recovery::segment_path(&dir(), 1), &golden)
            .unwrap();
        let opened = open_with(&disk, small).unwrap();
        assert_eq!(opened.payloads(), golden_records());
        assert_eq!(opened.recovery.cut, None);
    });
}

/// Places of the fields, spelled out once more: what the document says, not what the code does.
#[test]
fn the_fields_are_where_the_document_says() {
    let bytes = golden_bytes();
    assert_eq!(&bytes[..8], b"ATOLLWAL");
    assert_eq!(bytes[8..12], [1, 0, 0, 0]);
    assert_eq!(bytes[16..24], 1_u64.to_le_bytes());
    assert_eq!(bytes[24..32], 1_u64.to_le_bytes());
    assert_eq!(bytes[32..40], 42_u64.to_le_bytes());
    assert!(bytes[40..64].iter().all(|byte| *byte == 0));
    let crc = crc32c::crc32c(&[&bytes[..12], &bytes[16..64]].concat());
    assert_eq!(bytes[12..16], crc.to_le_bytes());

    let record = &bytes[64..64 + 24 + 5];
    assert_eq!(record[..4], 5_u32.to_le_bytes());
    assert_eq!(record[8..16], 1_u64.to_le_bytes());
    assert_eq!(record[16..24], 0_u64.to_le_bytes());
    assert_eq!(&record[24..], b"atoll");
    let crc = crc32c::crc32c(&[&42_u64.to_le_bytes(), &record[..4], &record[8..]].concat());
    assert_eq!(record[4..8], crc.to_le_bytes());
    assert_eq!(bytes[93..96], [0; 3]);
    assert_eq!(bytes[96 + 8..96 + 16], 2_u64.to_le_bytes());
}

/// How many whole records the bytes hold, after looking at everything that the parser offers.
fn parse_all(bytes: &[u8]) -> Option<usize> {
    let (_, mut records) = parse_segment(bytes).ok()?;
    let mut whole = 0;
    for item in records.by_ref() {
        match item {
            Ok(record) => {
                let end = record.offset as usize + RECORD_HEADER_BYTES + record.payload.len();
                assert!(end <= bytes.len());
                whole += 1;
            }
            Err(bad) => {
                let tail = records.clone().tail(bad);
                assert!(bad.offset + tail.bytes <= bytes.len() as u64);
                break;
            }
        }
    }
    Some(whole)
}

proptest! {
    #[test]
    fn any_bytes_parse_without_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..600), valid in any::<bool>()) {
        if valid && bytes.len() >= SEGMENT_HEADER_BYTES {
            let header = format::SegmentHeader { segment: 1, first_sequence: 1, salt: 1, weak: false };
            bytes[..SEGMENT_HEADER_BYTES].copy_from_slice(&header.encode());
        }
        parse_all(&bytes);
    }
}

#[test]
fn the_corpus_of_the_fuzzer_parses() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/journal_segment");
    let disk = real();
    let names = disk.list(&corpus).unwrap();
    assert!(names.len() >= 5);
    for name in names {
        parse_all(&disk.read_all(&corpus.join(name)).unwrap());
    }
}

/// Files that begin the fuzzer's search, and the golden segment, are written by
/// `ATOLL_WRITE_GOLDEN=1 cargo test -p atoll-world --lib golden`.
#[test]
fn golden_files_can_be_written() {
    if std::env::var_os("ATOLL_WRITE_GOLDEN").is_none() {
        return;
    }
    let disk = real();
    disk.write_atomic(&golden_path(), &golden_bytes()).unwrap();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/journal_segment");
    disk.create_dir_all(&corpus).unwrap();
    let whole = golden_bytes();
    let damaged = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] ^= byte;
        bytes
    };
    let mut hole = whole.clone();
    hole[64..120].fill(0);
    let mut torn = whole.clone();
    torn[512..].fill(0);
    for (name, bytes) in [
        ("whole", whole.clone()),
        ("cut-short", whole[..300].to_vec()),
        ("header-only", whole[..64].to_vec()),
        ("long-record", damaged(66, 0x7f)),
        ("newer-format", damaged(8, 3)),
        ("rotten-record", damaged(130, 1)),
        ("rotten-mark", damaged(576, 1)),
        ("hole", hole),
        ("torn", torn),
        ("empty", Vec::new()),
    ] {
        disk.write_atomic(&corpus.join(name), &bytes).unwrap();
    }
}
