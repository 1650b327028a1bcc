//! What is kept of rules.

use std::path::PathBuf;

use super::*;

/// The golden file has been written by the first release that kept rules.
#[test]
#[allow(clippy::disallowed_methods, reason = "reads the golden file")]
fn the_golden_file_is_read_and_written() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/formats/golden")
        .join("acl-1.txt");
    let kept = std::fs::read_to_string(file).unwrap();
    let given = [
        "reset",
        "on nopass ~* &* +@all",
        "on skip-sanitize-payload ~cache:* %R~config:* %W~log &news:* &a +@read -config|set \
         +select|0",
        "on (~a +get) (%W~b &* +@all -@dangerous)",
    ];
    assert_eq!(kept.lines().count(), given.len());
    for (kept, given) in kept.lines().zip(given) {
        let given = user(given);
        assert_eq!(read_record(kept.as_bytes()), Ok(given.clone()), "{kept}");
        assert_eq!(String::from_utf8(write_record(&given)).unwrap(), kept);
    }
}

#[test]
fn what_is_of_another_kind_is_refused() {
    for record in ["", "1", "2 on", "10 on", "on", " on"] {
        let refused = read_record(record.as_bytes());
        assert_eq!(refused, Err(RecordError::Version), "{record}");
    }
    let wrong = read_record(b"1 on maybe").unwrap_err();
    assert_eq!(wrong.to_string(), "'maybe': Syntax error");
}
