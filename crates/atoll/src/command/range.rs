//! Which keys a command is about.

use clap::Args;

/// A key, an interval, a prefix, or everything from a key on.
#[derive(Clone, Debug, Args)]
pub(crate) struct RangeArgs {
    /// The key, or the first one.
    #[arg(value_name = "KEY")]
    pub(crate) first: String,
    /// The key before which to stop.
    #[arg(value_name = "END")]
    pub(crate) end: Option<String>,
    /// Every key that begins with KEY.
    #[arg(long, conflicts_with = "end")]
    pub(crate) prefix: bool,
    /// KEY and every key after it.
    #[arg(long, conflicts_with_all = ["end", "prefix"])]
    pub(crate) from_key: bool,
}

/// In the API, the end that means "to the last key", and the key that means "from the first".
const OPEN: &[u8] = &[0];

impl RangeArgs {
    /// The key and the range end, as the API has them.
    pub(crate) fn bounds(&self) -> (Vec<u8>, Vec<u8>) {
        bounds(
            self.first.as_bytes(),
            self.end.as_deref(),
            self.prefix,
            self.from_key,
        )
    }
}

/// The key and the range end of what is meant.
pub(crate) fn bounds(
    first: &[u8],
    end: Option<&str>,
    prefix: bool,
    from_key: bool,
) -> (Vec<u8>, Vec<u8>) {
    // The API has no empty key: the first possible one stands for it.
    let start = if first.is_empty() && (prefix || from_key) {
        OPEN
    } else {
        first
    };
    let end = match end {
        Some(end) => end.as_bytes().to_vec(),
        None if prefix => prefix_end(first),
        None if from_key => OPEN.to_vec(),
        None => Vec::new(),
    };
    (start.to_vec(), end)
}

/// The first key that no longer begins with `prefix`.
fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    match prefix.iter().rposition(|byte| *byte != u8::MAX) {
        Some(last) => {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end
        }
        None => OPEN.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_api() {
        assert_eq!(bounds(b"a", None, false, false), (b"a".to_vec(), vec![]));
        assert_eq!(
            bounds(b"a", Some("c"), false, false),
            (b"a".to_vec(), b"c".to_vec())
        );
        assert_eq!(
            bounds(b"a/", None, true, false),
            (b"a/".to_vec(), b"a0".to_vec())
        );
        assert_eq!(bounds(b"", None, true, false), (vec![0], vec![0]));
        assert_eq!(bounds(b"a", None, false, true), (b"a".to_vec(), vec![0]));
        assert_eq!(bounds(b"", None, false, true), (vec![0], vec![0]));
        assert_eq!(prefix_end(&[1, 0xff, 0xff]), [2]);
        assert_eq!(prefix_end(&[0xff]), [0]);
    }
}
