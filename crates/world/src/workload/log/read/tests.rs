//! Logs read while they are written, rotated and damaged.

use std::{fs, path::PathBuf};

use proptest::prelude::*;

use super::*;
use crate::workload::log::Writer;

fn text(page: &LogPage) -> String {
    String::from_utf8(page.text.clone()).unwrap()
}

/// A log of files of three lines each.
fn log(files: u32) -> (tempfile::TempDir, PathBuf, Writer) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let line_bytes = (TIME_BYTES + " stdout F 00\n".len()) as u64;
    let writer = Writer::open(path.clone(), 3 * line_bytes, files).unwrap();
    (dir, path, writer)
}

fn print(writer: &mut Writer, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let time_ns = u64::from(number) * 1_000_000_000;
        writer.take(time_ns, Stream::Stdout, format!("{number:02}\n").as_bytes());
    }
}

fn numbers(range: std::ops::Range<u32>) -> String {
    range.map(|number| format!("{number:02}\n")).collect()
}

#[test]
fn a_log_is_read_whole_and_from_its_tail() {
    let (_dir, path, mut writer) = log(4);
    let page = read(&path, &LogQuery::default()).unwrap();
    assert_eq!(
        (text(&page).as_str(), page.more, page.gap),
        ("", false, false)
    );
    print(&mut writer, 0..10);
    let whole = read(&path, &LogQuery::default()).unwrap();
    assert_eq!(text(&whole), numbers(0..10));
    for lines in 0..12 {
        let query = LogQuery {
            tail_lines: Some(lines),
            ..LogQuery::default()
        };
        let page = read(&path, &query).unwrap();
        let first = 10_u32.saturating_sub(u32::try_from(lines).unwrap());
        assert_eq!(text(&page), numbers(first..10), "tail of {lines}");
        assert_eq!(page.position, whole.position, "tail of {lines}");
    }
}

#[test]
fn reading_goes_on_over_rotations_and_tells_of_gaps() {
    let (_dir, path, mut writer) = log(3);
    let mut query = LogQuery::default();
    let mut next = 0;
    for step in [1, 2, 3, 1, 5, 4, 2, 6] {
        print(&mut writer, next..next + step);
        let page = read(&path, &query).unwrap();
        assert_eq!(text(&page), numbers(next..next + step));
        assert!(!page.gap && !page.more);
        query.position = Some(page.position);
        next += step;
    }
    let page = read(&path, &query).unwrap();
    assert_eq!(
        (text(&page).as_str(), Some(page.position)),
        ("", query.position)
    );

    print(&mut writer, next..next + 30);
    let page = read(&path, &query).unwrap();
    assert!(page.gap && text(&page).ends_with(&numbers(next + 24..next + 30)));
}

#[test]
fn what_was_not_asked_for_is_left_out() {
    let (_dir, path, mut writer) = log(3);
    print(&mut writer, 10..14);
    writer.take(14_500_000_000, Stream::Stderr, b"oops\n");
    let query = LogQuery {
        since_ms: Some(13_000),
        timestamps: true,
        ..LogQuery::default()
    };
    let expected =
        "1970-01-01T00:00:13.000000000Z 13\n1970-01-01T00:00:14.500000000Z oops\n".to_owned();
    assert_eq!(text(&read(&path, &query).unwrap()), expected);
    let query = LogQuery {
        stream: Some(Stream::Stderr),
        tail_lines: Some(1),
        ..LogQuery::default()
    };
    assert_eq!(text(&read(&path, &query).unwrap()), "oops\n");
    let query = LogQuery {
        limit_bytes: Some(4),
        ..LogQuery::default()
    };
    let page = read(&path, &query).unwrap();
    assert_eq!((text(&page).as_str(), page.more), ("10\n1", false));
}

#[test]
fn a_page_is_bounded_and_the_next_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut writer = Writer::open(path.clone(), 1 << 20, 3).unwrap();
    let mut printed = Vec::new();
    for number in 0..100_u32 {
        let line = format!("{number}{}\n", "x".repeat(9_000 + 150 * number as usize));
        writer.take(1, Stream::Stdout, line.as_bytes());
        printed.extend_from_slice(line.as_bytes());
    }
    let mut query = LogQuery {
        timestamps: true,
        ..LogQuery::default()
    };
    let (mut got, mut pages) = (Vec::new(), 0);
    loop {
        let page = read(&path, &query).unwrap();
        assert!(page.text.len() < PAGE_BYTES + 64 * 1024);
        got.extend_from_slice(&page.text);
        pages += 1;
        query.position = Some(page.position);
        if !page.more {
            break;
        }
    }
    assert!(pages > 3);
    // Lines in several parts, some cut by pages, have their time once.
    let got = String::from_utf8(got).unwrap();
    let got: String = got
        .lines()
        .map(|line| line[TIME_BYTES + 1..].to_owned() + "\n")
        .collect();
    assert!(got.as_bytes() == printed);
    let tail = LogQuery {
        tail_lines: Some(2),
        ..LogQuery::default()
    };
    let page = read(&path, &tail).unwrap();
    assert!(text(&page).starts_with("98xx") && text(&page).lines().count() == 2);
}

#[test]
fn lines_that_are_not_whole_yet_are_waited_for() {
    let (_dir, path, _writer) = log(3);
    fs::write(&path, "1970-01-01T00:00:01Z stdout F a\n1970-01-01T00:0").unwrap();
    let page = read(&path, &LogQuery::default()).unwrap();
    assert_eq!(text(&page), "a\n");
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, b"0:02Z stdout F b\n").unwrap();
    let query = LogQuery {
        position: Some(page.position),
        ..LogQuery::default()
    };
    assert_eq!(text(&read(&path, &query).unwrap()), "b\n");
    fs::write(&path, "1970-01-01T00:00:01Z stdout F a\n").unwrap();
    let page = read(&path, &query).unwrap();
    assert!(
        !page.gap && page.text.is_empty(),
        "a file cut short is not begun anew"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No content makes reading fail or go on forever.
    #[test]
    fn garbage_is_passed_over(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just(b"1970-01-01T00:00:01Z stdout F good\n".to_vec()),
                Just(b"1970-01-01T00:00:01Z stderr P part\n".to_vec()),
                Just(b"\n".to_vec()),
                Just(vec![b'z'; 200_000]),
                proptest::collection::vec(any::<u8>(), 0..50),
            ],
            0..12,
        ),
        tail in proptest::option::of(0_u64..5),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, pieces.concat()).unwrap();
        let query = LogQuery { tail_lines: tail, timestamps: true, ..LogQuery::default() };
        let page = read(&path, &query).unwrap();
        let query = LogQuery { position: Some(page.position), ..LogQuery::default() };
        let next = read(&path, &query).unwrap();
        prop_assert!(page.more || next.text.is_empty());
    }
}
