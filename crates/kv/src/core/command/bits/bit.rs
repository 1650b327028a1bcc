//! Single bits, and how many and where they are.

use std::ops::Range;

use bytes::Bytes;

use super::{counts_bits, offset};
use crate::core::{
    command::{CommandError, Context, EventClass, Executed, args, strings},
    data::RedisString,
    reply::Reply,
};

/// A bit in its byte.
fn mask(offset: usize) -> u8 {
    0x80 >> (offset % 8)
}

pub(super) fn getbit(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let offset = offset(&words[2])?;
    let set = context
        .get::<RedisString>(&words[1])?
        .is_some_and(|string| {
            string
                .bytes()
                .get(offset / 8)
                .is_some_and(|byte| byte & mask(offset) != 0)
        });
    Ok(Reply::Integer(i64::from(set)))
}

pub(super) fn setbit(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let key = &words[1];
    let offset = offset(&words[2])?;
    let set = match args::integer(&words[3]) {
        Ok(0) => false,
        Ok(1) => true,
        _ => {
            return Err(CommandError::Other(
                "ERR bit is not an integer or out of range",
            ));
        }
    };
    let place = offset / 8;
    let before = context
        .get::<RedisString>(key)?
        .and_then(|string| string.bytes().get(place).copied());
    let was_set = before.is_some_and(|byte| byte & mask(offset) != 0);
    // A bit that is there as wanted changes nothing.
    if before.is_none() || was_set != set {
        let bytes = context.get_or_add::<RedisString>(key)?.edit();
        if bytes.len() <= place {
            bytes.resize(place + 1, 0);
        }
        if set {
            bytes[place] |= mask(offset);
        } else {
            bytes[place] &= !mask(offset);
        }
        context.changed(key, EventClass::String, "setbit");
    }
    Ok(Reply::Integer(i64::from(was_set)))
}

/// How `start` and `end` become a range of so many.
type Cut = fn(i64, i64, usize) -> Option<Range<usize>>;

/// The bits that `start` and `end` mean, of a string of so many bytes; none if there are none.
fn chosen(cut: Cut, (start, end): (i64, i64), in_bits: bool, bytes: usize) -> Option<Range<usize>> {
    if in_bits {
        return cut(start, end, bytes * 8);
    }
    let range = cut(start, end, bytes)?;
    Some(range.start * 8..range.end * 8)
}

pub(super) fn bitcount(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (start, end) = match words {
        [_, _] => (0, -1),
        [_, _, _] => return Err(CommandError::Syntax),
        _ => (args::integer(&words[2])?, args::integer(&words[3])?),
    };
    if words.len() > 5 {
        return Err(CommandError::Syntax);
    }
    let in_bits = counts_bits(words.get(4))?;
    let Some(string) = context.get::<RedisString>(&words[1])? else {
        return Ok(Reply::Integer(0));
    };
    let bytes = string.bytes();
    let bits = chosen(strings::part, (start, end), in_bits, bytes.len());
    let set = bits.map_or(0, |bits| count(&bytes, bits));
    Ok(Reply::count(set))
}

/// The byte at a place, with bits outside of the range as zeros.
fn inside(bytes: &[u8], place: usize, bits: &Range<usize>) -> u8 {
    let mut kept = 0xff;
    if place == bits.start / 8 {
        kept &= 0xff >> (bits.start % 8);
    }
    if place == bits.end / 8 {
        kept &= !(0xff >> (bits.end % 8));
    }
    bytes[place] & kept
}

/// How many bits of the range, which is not empty and inside of the bytes, are set.
fn count(bytes: &[u8], bits: Range<usize>) -> usize {
    let (first, last) = (bits.start / 8, (bits.end - 1) / 8);
    let ends = if first == last {
        inside(bytes, first, &bits).count_ones()
    } else {
        inside(bytes, first, &bits).count_ones() + inside(bytes, last, &bits).count_ones()
    };
    let between = bytes.get(first + 1..last).unwrap_or_default();
    let (words, rest) = between.as_chunks();
    let in_words: usize = words
        .iter()
        .map(|word| u64::from_ne_bytes(*word).count_ones() as usize)
        .sum();
    let in_rest: u32 = rest.iter().map(|byte| byte.count_ones()).sum();
    ends as usize + in_words + in_rest as usize
}

pub(super) fn bitpos(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let wanted = match args::integer(&words[2])? {
        0 => false,
        1 => true,
        _ => {
            return Err(CommandError::Other("ERR The bit argument must be 1 or 0."));
        }
    };
    if words.len() > 6 {
        return Err(CommandError::Syntax);
    }
    let bound = |place: usize| words.get(place).map(|word| args::integer(word)).transpose();
    let start = bound(3)?.unwrap_or(0);
    let in_bits = counts_bits(words.get(5))?;
    let end = bound(4)?;
    let Some(string) = context.get::<RedisString>(&words[1])? else {
        return Ok(Reply::Integer(if wanted { -1 } else { 0 }));
    };
    let bytes = string.bytes();
    let Some(bits) = chosen(
        strings::clamped,
        (start, end.unwrap_or(-1)),
        in_bits,
        bytes.len(),
    ) else {
        return Ok(Reply::Integer(-1));
    };
    Ok(match position(&bytes, bits, wanted) {
        Some(position) => Reply::count(position),
        // Without an end, zeros go on after the string.
        None if !wanted && end.is_none() => Reply::count(bytes.len() * 8),
        None => Reply::Integer(-1),
    })
}

/// The first bit of the range that is as wanted.
fn position(bytes: &[u8], bits: Range<usize>, wanted: bool) -> Option<usize> {
    let without = if wanted { 0 } else { 0xff };
    let mut place = bits.start / 8;
    let last = (bits.end - 1) / 8;
    while place <= last {
        // All but the first byte are looked at whole: what comes too late is sorted out below.
        let first_bit = if place == bits.start / 8 {
            bits.start % 8
        } else {
            0
        };
        let hits = (bytes[place] ^ without) & (0xff >> first_bit);
        if hits != 0 {
            let position = place * 8 + hits.leading_zeros() as usize;
            return (position < bits.end).then_some(position);
        }
        place += 1;
        // Most of a long string is skipped by the chunk.
        let rest = bytes.get(place..=last).unwrap_or_default();
        place += 8 * rest
            .as_chunks::<8>()
            .0
            .iter()
            .take_while(|chunk| **chunk == [without; 8])
            .count();
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::command::testing::story;

    #[test]
    fn single_bits() {
        story(
            r#"
            > GETBIT a 5
            (integer) 0
            > SETBIT a 1 1
            (integer) 0
            ! new a, setbit a
            > SETBIT a 1 1
            (integer) 1
            !
            > GET a
            "@"
            > SETBIT a 15 0
            (integer) 0
            ! setbit a
            > STRLEN a
            (integer) 2
            > SET a 1
            OK
            > SETBIT a 6 1
            (integer) 0
            > GET a
            "3"
            > GETBIT a 7
            (integer) 1
            > GETBIT a 8
            (integer) 0
            > SETBIT a -1 1
            (error) ERR bit offset is not an integer or out of range
            > SETBIT a 4294967296 1
            (error) ERR bit offset is not an integer or out of range
            > GETBIT a 4294967295
            (integer) 0
            > SETBIT a 0 2
            (error) ERR bit is not an integer or out of range
            > SETBIT a 0 x
            (error) ERR bit is not an integer or out of range
            "#,
        );
    }

    #[test]
    fn counted() {
        story(
            r#"
            > BITCOUNT a
            (integer) 0
            > SET a foobar
            OK
            > BITCOUNT a
            (integer) 26
            > BITCOUNT a 0 0
            (integer) 4
            > BITCOUNT a 1 1 BYTE
            (integer) 6
            > BITCOUNT a 5 30 BIT
            (integer) 17
            > BITCOUNT a -2 -1
            (integer) 7
            > BITCOUNT a 3 1
            (integer) 0
            > BITCOUNT a -1 -2
            (integer) 0
            > BITCOUNT a 0
            (error) ERR syntax error
            > BITCOUNT a 0 1 NIBBLE
            (error) ERR syntax error
            > BITCOUNT missing 0 x
            (error) ERR value is not an integer or out of range
            > BITCOUNT a 0 1 BIT BIT
            (error) ERR syntax error
            "#,
        );
    }

    #[test]
    fn found() {
        story(
            r#"
            > BITPOS a 1
            (integer) -1
            > BITPOS a 0
            (integer) 0
            > SET a "\xff\xf0\x00"
            OK
            > BITPOS a 0
            (integer) 12
            > BITPOS a 1 2
            (integer) -1
            > BITPOS a 1 -3 -1
            (integer) 0
            > BITPOS a 1 7 15 BIT
            (integer) 7
            > BITPOS a 0 7 11 BIT
            (integer) -1
            > BITPOS a 1 7 -3 BIT
            (integer) 7
            > BITPOS a 1 -1 -100
            (integer) -1
            > SET a "\x01"
            OK
            > BITPOS a 1 -1 -100
            (integer) 7
            > BITCOUNT a -1 -100
            (integer) 0
            > SET a "\xff\xff"
            OK
            > BITPOS a 0
            (integer) 16
            > BITPOS a 0 1
            (integer) 16
            > BITPOS a 0 0 -1
            (integer) -1
            > BITPOS a 0 5
            (integer) -1
            > SET a ""
            OK
            > BITPOS a 0
            (integer) -1
            > BITPOS a 2
            (error) ERR The bit argument must be 1 or 0.
            > BITPOS a x
            (error) ERR value is not an integer or out of range
            > BITPOS a 0 0 1 TRIT
            (error) ERR syntax error
            > BITPOS a 0 0 1 BIT BIT
            (error) ERR syntax error
            "#,
        );
    }

    proptest! {
        #[test]
        fn ranges_are_as_bit_by_bit(
            bytes in prop::collection::vec(prop::sample::select(vec![0, 0, 0xff, 0xff, 1, 0x80, 0x7f]), 1..60),
            ends in any::<(prop::sample::Index, prop::sample::Index)>(),
        ) {
            let (one, other) = (ends.0.index(bytes.len() * 8), ends.1.index(bytes.len() * 8));
            let bits = one.min(other)..one.max(other) + 1;
            let is_set = |bit: usize| bytes[bit / 8] & mask(bit) != 0;
            prop_assert_eq!(count(&bytes, bits.clone()), bits.clone().filter(|bit| is_set(*bit)).count());
            for wanted in [false, true] {
                let expected = bits.clone().find(|bit| is_set(*bit) == wanted);
                prop_assert_eq!(position(&bytes, bits.clone(), wanted), expected);
            }
        }
    }
}
