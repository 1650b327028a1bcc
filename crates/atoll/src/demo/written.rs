//! What the load writes, and what of it is missing from what was read back. Pure: what was
//! acknowledged and what was found come in, what is missing comes out.

use std::{collections::BTreeMap, ops::Range};

/// So many of those that are missing are named.
const EXAMPLES_MAX: usize = 5;

/// Keys and values as they were read back.
pub(super) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// The key of a client's write. In the order of the numbers.
pub(super) fn key(client: usize, number: u64) -> Vec<u8> {
    format!("demo/{client:05}/{number:012}").into_bytes()
}

/// What is written there, and nowhere else.
pub(super) fn value(client: usize, number: u64) -> Vec<u8> {
    format!("written by client {client}, number {number}").into_bytes()
}

/// Acknowledged writes that are not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    pub(super) count: u64,
    /// The first of them, and what is there instead.
    pub(super) examples: Vec<String>,
}

impl Losses {
    /// What of a client's writes with these numbers, all acknowledged, was not found.
    pub(super) fn among(client: usize, numbers: Range<u64>, found: &Rows) -> Losses {
        let mut losses = Losses::default();
        for number in numbers {
            let key = key(client, number);
            let instead = match found.get(&key) {
                Some(there) if *there == value(client, number) => continue,
                Some(there) => format!("holds \"{}\"", there.escape_ascii()),
                None => "is not there".to_owned(),
            };
            losses.count += 1;
            if losses.examples.len() < EXAMPLES_MAX {
                let key = String::from_utf8_lossy(&key);
                losses.examples.push(format!("{key} {instead}"));
            }
        }
        losses
    }

    /// Both together.
    pub(super) fn add(&mut self, more: Losses) {
        self.count += more.count;
        self.examples.extend(more.examples);
        self.examples.truncate(EXAMPLES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(client: usize, numbers: Range<u64>) -> Rows {
        let row = |number| (key(client, number), value(client, number));
        numbers.map(row).collect()
    }

    #[test]
    fn what_was_read_back_as_it_was_written_is_not_lost() {
        assert_eq!(Losses::among(3, 10..20, &all(3, 0..30)), Losses::default());
    }

    #[test]
    fn what_is_gone_or_another_value_is_lost() {
        let mut found = all(3, 0..10);
        found.remove(&key(3, 4));
        found.insert(key(3, 7), value(2, 7));
        let losses = Losses::among(3, 0..10, &found);
        assert_eq!(losses.count, 2);
        assert_eq!(
            losses.examples,
            [
                "demo/00003/000000000004 is not there",
                "demo/00003/000000000007 holds \"written by client 2, number 7\""
            ]
        );
        // Another client's writes stand in for nothing.
        assert_eq!(Losses::among(4, 0..10, &found).count, 10);
    }

    #[test]
    fn all_are_counted_and_the_first_are_named() {
        let mut losses = Losses::among(1, 0..3, &Rows::new());
        losses.add(Losses::among(2, 0..1_000, &Rows::new()));
        assert_eq!(losses.count, 1_003);
        assert_eq!(losses.examples.len(), EXAMPLES_MAX);
        assert!(losses.examples[2].starts_with("demo/00001/000000000002"));
        assert!(losses.examples[3].starts_with("demo/00002/000000000000"));
    }
}
