//! Patterns of keys, channels and names, as Redis means them (Redis: "KEYS").
//!
//! `?` is one byte, `*` any number of bytes, `[ab-d]` one of these, `[^ab]` one that is none of
//! these, and a backslash takes the next byte as it is. A `[` that is never closed takes the
//! rest of the pattern for its set.

/// So many comparisons are spent on one text; a pattern that needs more does not match. Only
/// patterns and texts of many thousand bytes, made for it, come near.
const STEPS_MAX: usize = 10_000_000;

/// Whether all of `text` is as the pattern says.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    run(pattern, text, |byte| byte)
}

/// The same, without regard to the case of ASCII letters.
pub fn matches_ignoring_case(pattern: &[u8], text: &[u8]) -> bool {
    run(pattern, text, |byte| byte.to_ascii_lowercase())
}

/// Each star first stands for nothing and then takes one byte more whenever what follows it
/// fails. An earlier star never has to be tried again: what it would leave to the later star,
/// that one can take itself. So the cost is at most pattern times text.
fn run(mut pattern: &[u8], mut text: &[u8], fold: fn(u8) -> u8) -> bool {
    // Where to go on if this fails: the pattern after the last star, and what is left to it.
    let mut star: Option<(&[u8], &[u8])> = None;
    for _ in 0..STEPS_MAX {
        if let [b'*', rest @ ..] = pattern {
            if rest.is_empty() {
                return true;
            }
            star = Some((rest, text));
            pattern = rest;
            continue;
        }
        match (one(pattern, text.first().copied(), fold), text) {
            (One::End, []) => return true,
            (One::Matches(rest), [_, left @ ..]) => (pattern, text) = (rest, left),
            _ => match star {
                Some((rest, [_, left @ ..])) => {
                    star = Some((rest, left));
                    (pattern, text) = (rest, left);
                }
                _ => return false,
            },
        }
    }
    false
}

/// What the pattern's first piece, which is no star, says to a byte.
enum One<'a> {
    /// There is no piece.
    End,
    /// It matches; this follows it.
    Matches(&'a [u8]),
    Differs,
}

fn one(pattern: &[u8], byte: Option<u8>, fold: fn(u8) -> u8) -> One<'_> {
    let Some(byte) = byte else {
        return match pattern {
            [] => One::End,
            _ => One::Differs,
        };
    };
    let (matches, rest) = match pattern {
        [] => return One::End,
        [b'?', rest @ ..] => (true, rest),
        [b'[', rest @ ..] => set(rest, byte, fold),
        // A backslash at the very end stands for itself.
        [b'\\', escaped, rest @ ..] | [escaped, rest @ ..] => (fold(*escaped) == fold(byte), rest),
    };
    if matches {
        One::Matches(rest)
    } else {
        One::Differs
    }
}

/// Whether the byte is in the set that begins here, and what follows the set.
fn set(mut pattern: &[u8], byte: u8, fold: fn(u8) -> u8) -> (bool, &[u8]) {
    let negated = pattern.first() == Some(&b'^');
    if negated {
        pattern = &pattern[1..];
    }
    let byte = fold(byte);
    let mut found = false;
    loop {
        pattern = match pattern {
            [] => break,
            [b']', rest @ ..] => {
                pattern = rest;
                break;
            }
            [b'\\', escaped, rest @ ..] => {
                found |= fold(*escaped) == byte;
                rest
            }
            // The end of a range can be any byte, even the closing bracket.
            [from, b'-', to, rest @ ..] => {
                let (from, to) = (fold(*from), fold(*to));
                found |= (from.min(to)..=from.max(to)).contains(&byte);
                rest
            }
            [member, rest @ ..] => {
                found |= fold(*member) == byte;
                rest
            }
        };
    }
    (found != negated, pattern)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("**", "abc", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("*b", "abc", false),
            ("a*b*c", "aXbXbXc", true),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hbllo", true),
            ("h[^e]llo", "hello", false),
            ("h[b-a]llo", "hallo", true),
            ("[a-]]", "_", true),
            ("[]", "a", false),
            ("[^]", "a", true),
            ("[^]", "", false),
            ("[ab", "b", true),
            ("[", "[", false),
            ("[a\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", true),
            ("A", "a", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
        assert!(matches_ignoring_case(b"A[B-C]*", b"abD"));
    }

    #[test]
    fn hostile_patterns_end_soon() {
        let text = [b'a'; 300];
        let mut pattern = b"a*".repeat(150);
        pattern.push(b'b');
        assert!(!matches(&pattern, &text));
        // More work than one text is worth.
        let text = vec![b'a'; 100_000];
        let mut pattern = vec![b'a'; 50_000];
        pattern.insert(0, b'*');
        pattern.push(b'b');
        assert!(!matches(&pattern, &text));
    }

    /// What the words of the documentation say, without any thought of cost.
    fn model(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|taken| model(rest, &text[taken..])),
            (_, []) => false,
            ([b'?', rest @ ..], [_, left @ ..]) => model(rest, left),
            ([first, rest @ ..], [byte, left @ ..]) => first == byte && model(rest, left),
        }
    }

    proptest! {
        #[test]
        fn stars_are_taken_as_far_as_needed(pattern in "[ab?*]{0,10}", text in "[ab]{0,10}") {
            prop_assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                model(pattern.as_bytes(), text.as_bytes())
            );
        }

        #[test]
        fn no_pattern_panics(
            pattern in prop::collection::vec(prop::sample::select(b"[]^-*?\\ab".to_vec()), 0..12),
            text in "[ab\\]\\[-]{0,8}",
        ) {
            matches(&pattern, text.as_bytes());
            matches_ignoring_case(&pattern, text.as_bytes());
        }
    }
}
