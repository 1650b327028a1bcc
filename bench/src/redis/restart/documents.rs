//! What is written: names and values such as users have, each known by its number.
//!
//! A value is a JSON text of words, different for each number; a server that packs what it keeps
//! finds as much to pack as in most texts.

use std::io::Write as _;

use crate::workload::Numbers;

/// Length of every key's name.
pub(super) const KEY_BYTES: usize = 21;
/// A shorter value could not tell its number.
pub(crate) const VALUE_BYTES_MIN: usize = 64;

const WORDS: [&str; 32] = [
    "harbour", "lamp", "granite", "meadow", "of", "under", "silver", "engine", "quiet", "window",
    "and", "river", "copper", "orchard", "the", "letter", "winter", "anchor", "a", "bridge",
    "seldom", "garden", "paper", "with", "mountain", "thread", "north", "signal", "market", "blue",
    "station", "often",
];
/// Which word comes next is told by so many bits.
const WORD_BITS: u32 = WORDS.len().trailing_zeros();

/// The name of the key with this number.
pub(super) fn key(number: u64) -> [u8; KEY_BYTES] {
    const DIGITS_AT: usize = 5;
    let mut key = *b"user:00000000:profile";
    let mut left = number;
    for digit in key[DIGITS_AT..DIGITS_AT + 8].iter_mut().rev() {
        *digit = b"0123456789abcdef"[(left % 16) as usize];
        left /= 16;
    }
    key
}

/// Writes the value of the key with this number over what is in `out`.
pub(super) fn value(out: &mut Vec<u8>, number: u64, bytes: usize) {
    let mut numbers = Numbers(number);
    let mut random = numbers.next();
    let mut bits = u64::BITS;
    let mut word = || {
        if bits < WORD_BITS {
            random = numbers.next();
            bits = u64::BITS;
        }
        let word = WORDS[random as usize % WORDS.len()];
        random >>= WORD_BITS;
        bits -= WORD_BITS;
        word
    };
    out.clear();
    let (name, other) = (word(), word());
    // Writing to memory does not fail.
    let _ = write!(
        out,
        r#"{{"id":{number},"mail":"{name}.{other}@example.com","notes":""#
    );
    let end = bytes.saturating_sub(2);
    while out.len() < end {
        out.extend_from_slice(word().as_bytes());
        out.push(b' ');
    }
    out.truncate(end);
    out.extend_from_slice(b"\"}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_numbers() {
        assert_eq!(&key(0x1234_abcd), b"user:1234abcd:profile");
        assert_ne!(key(1), key(2));
    }

    #[test]
    fn values_are_texts_of_the_wanted_length_and_differ() {
        let mut seen = std::collections::BTreeSet::new();
        for bytes in [VALUE_BYTES_MIN, 1_024] {
            for number in [0, 1, u64::from(u32::MAX)] {
                let mut text = Vec::new();
                value(&mut text, number, bytes);
                assert_eq!(text.len(), bytes);
                let read: serde_json::Value = serde_json::from_slice(&text).unwrap();
                assert_eq!(read["id"], number);
                assert!(seen.insert(text));
            }
        }
    }
}
