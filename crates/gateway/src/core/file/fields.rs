//! What fields of several tables have in common.

use super::{FileError, Read};
use crate::core::sources::{NETWORKS_MAX, Network, Sources};

/// The longest name of a listener, a backend or a policy.
const NAME_BYTES_MAX: usize = 63;
/// The longest that anything is waited for: a day.
pub(super) const MS_MAX: u64 = 24 * 3600 * 1000;

/// A name that people gave to a table.
pub(super) fn name(table: &str, name: &str) -> Result<(), FileError> {
    let is_letter = |it: u8| it.is_ascii_alphanumeric() || b"-_.".contains(&it);
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_letter) {
        return Ok(());
    }
    let problem = format!("a name is 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`");
    Err(FileError::field(format!("{table}.{name:?}"), problem))
}

/// Numbers, each in its range.
pub(super) fn ranges(table: &str, numbers: &[(&str, u64, u64, u64)]) -> Result<(), FileError> {
    for (field, value, least, most) in numbers {
        if !(least..=most).contains(&value) {
            let problem = format!("it is {value}, and has to be {least} to {most}");
            return Err(FileError::field(format!("{table}.{field}"), problem));
        }
    }
    Ok(())
}

/// Who may come.
pub(super) fn sources(
    table: &str,
    allow: &[String],
    deny: &[String],
) -> Result<Sources, FileError> {
    Ok(Sources {
        allow: networks(format!("{table}.allow"), allow)?,
        deny: networks(format!("{table}.deny"), deny)?,
    })
}

/// Networks, not too many.
pub(super) fn networks(field: String, texts: &[String]) -> Result<Vec<Network>, FileError> {
    if texts.len() > NETWORKS_MAX {
        let problem = format!("it has more than {NETWORKS_MAX} networks");
        return Err(FileError::field(field, problem));
    }
    let parsed = texts.iter().map(|text| text.parse());
    let networks: Result<_, _> = parsed.collect();
    networks.map_err(|error: crate::core::sources::NotANetwork| FileError::field(field, error))
}

/// The text of a file that is named in a field.
pub(super) fn text(field: &str, path: &str, read: &Read<'_>) -> Result<String, FileError> {
    let wrong = |problem: &str| FileError::field(field, format!("{path}: {problem}"));
    let bytes = read(path).map_err(|problem| wrong(&problem))?;
    String::from_utf8(bytes).map_err(|_| wrong("it is not text"))
}

/// One of some words.
pub(super) fn one_of<T: Copy>(
    field: impl Into<String>,
    text: &str,
    words: &[(&str, T)],
) -> Result<T, FileError> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let problem = format!("it is {text:?}, and has to be one of: {}", words.join(", "));
        FileError::field(field, problem)
    })
}
