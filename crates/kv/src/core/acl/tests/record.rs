//! What is kept of rules.

use super::*;
use atoll_world::golden::golden;

/// The golden file has been written by the first release that kept rules.
#[test]
fn the_golden_file_is_read_and_written() {
    let given = [
        "reset",
        "on nopass ~* &* +@all",
        "on skip-sanitize-payload ~cache:* %R~config:* %W~log &news:* &a +@read -config|set \
         +select|0",
        "on (~a +get) (%W~b &* +@all -@dangerous)",
    ];
    let written = given.map(|rules| [&write_record(&user(rules))[..], b"\n"].concat());
    let kept = golden("acl-1.txt", &written.concat());
    let kept = std::str::from_utf8(&kept).unwrap();
    assert_eq!(kept.lines().count(), given.len());
    for (kept, given) in kept.lines().zip(given) {
        assert_eq!(read_record(kept.as_bytes()), Ok(user(given)), "{kept}");
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
