//! Keys that SORT makes of patterns (Redis: "SORT", BY and GET).

use bytes::Bytes;

/// The keys' patterns in these words, which call SORT or SORT_RO. Without a star a pattern makes
/// no key.
pub(super) fn patterns(words: &[Bytes]) -> impl Iterator<Item = &Bytes> {
    let is_option =
        |word: &[u8]| word.eq_ignore_ascii_case(b"BY") || word.eq_ignore_ascii_case(b"GET");
    // A word may be taken for an option that is the value of one before it: then the command goes
    // further than it has to, which does no harm.
    words
        .windows(2)
        .skip(2)
        .filter(move |pair| is_option(&pair[0]))
        .map(|pair| &pair[1])
        .filter(|pattern| pattern.contains(&b'*'))
}

/// Whether all keys that the pattern makes have the hash tag that stands in it, so that one
/// place holds them all.
pub(super) fn has_fixed_tag(pattern: &[u8]) -> bool {
    let Some(open) = pattern.iter().position(|byte| *byte == b'{') else {
        return false;
    };
    let inside = &pattern[open + 1..];
    let Some(length) = inside.iter().position(|byte| *byte == b'}') else {
        return false;
    };
    let star = pattern.iter().position(|byte| *byte == b'*');
    // What a star stands for may hold braces, so it must come after the tag.
    length > 0 && star.is_none_or(|star| star > open + 1 + length)
}
