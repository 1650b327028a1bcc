//! BITFIELD: integers of any width inside of a string.

use bytes::Bytes;

use super::offset_in_units;
use crate::core::{
    command::{
        CommandError, Context, EventClass, Executed,
        args::{self, Words},
    },
    data::RedisString,
    reply::Reply,
};

/// Width and sign of an integer: `i1` to `i64`, `u1` to `u63`.
#[derive(Clone, Copy, Debug)]
struct Width {
    signed: bool,
    bits: usize,
}

/// What is done about a number that does not fit.
#[derive(Clone, Copy, Debug)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Get,
    Set(i64),
    Add(i64),
}

#[derive(Clone, Copy, Debug)]
struct Operation {
    width: Width,
    /// In bits.
    offset: usize,
    action: Action,
    overflow: Overflow,
}

impl Width {
    fn read(word: &[u8]) -> Result<Width, CommandError> {
        let (signed, digits) = match word {
            [b'i', digits @ ..] => (true, digits),
            [b'u', digits @ ..] => (false, digits),
            _ => (false, &[][..]),
        };
        let bits_max = if signed { 64 } else { 63 };
        args::integer(digits)
            .ok()
            .and_then(|bits| usize::try_from(bits).ok())
            .filter(|bits| (1..=bits_max).contains(bits))
            .map(|bits| Width { signed, bits })
            .ok_or(CommandError::Other(
                "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not \
                 supported but i64 is.",
            ))
    }

    fn min(self) -> i128 {
        if self.signed {
            -(1 << (self.bits - 1))
        } else {
            0
        }
    }

    fn max(self) -> i128 {
        let bits = self.bits - usize::from(self.signed);
        (1 << bits) - 1
    }

    /// The number as it fits; none where it does not and shall not.
    fn fit(self, number: i128, overflow: Overflow) -> Option<i128> {
        let (min, max) = (self.min(), self.max());
        if (min..=max).contains(&number) {
            return Some(number);
        }
        match overflow {
            Overflow::Wrap => Some((number - min).rem_euclid(1 << self.bits) + min),
            Overflow::Saturate => Some(number.clamp(min, max)),
            Overflow::Fail => None,
        }
    }

    /// The number in these bits; bits after the end of the string are zeros.
    fn get(self, bytes: &[u8], offset: usize) -> i128 {
        let (first, end) = (offset / 8, (offset + self.bits).div_ceil(8));
        let window = (first..end).fold(0_i128, |window, place| {
            window << 8 | i128::from(bytes.get(place).copied().unwrap_or(0))
        });
        let number = window >> (end * 8 - offset - self.bits) & ((1 << self.bits) - 1);
        if number > self.max() {
            number - (1 << self.bits)
        } else {
            number
        }
    }

    /// Puts a number that fits into these bits, which are all there.
    fn set(self, bytes: &mut [u8], offset: usize, number: i128) {
        let (first, end) = (offset / 8, (offset + self.bits).div_ceil(8));
        let shift = end * 8 - offset - self.bits;
        let mut mask: i128 = ((1 << self.bits) - 1) << shift;
        let mut window = number << shift & mask;
        for byte in bytes[first..end].iter_mut().rev() {
            *byte = *byte & !(mask as u8) | window as u8;
            mask >>= 8;
            window >>= 8;
        }
    }
}

impl Operation {
    /// The number that was there, what is there afterwards (none if it overflows and shall not
    /// be written), and the reply.
    fn apply(&self, bytes: &[u8]) -> (i128, Option<i128>, Reply) {
        let before = self.width.get(bytes, self.offset);
        let after = match self.action {
            Action::Get => Some(before),
            Action::Set(number) => self.width.fit(self.given(number), self.overflow),
            Action::Add(number) => self.width.fit(before + i128::from(number), self.overflow),
        };
        let told = match self.action {
            Action::Add(_) => after,
            Action::Get | Action::Set(_) => after.map(|_| before),
        };
        let reply = told.and_then(|told| i64::try_from(told).ok());
        (before, after, reply.map_or(Reply::Null, Reply::Integer))
    }

    /// A number to be set. What is negative is far too large for an unsigned one.
    fn given(&self, number: i64) -> i128 {
        if self.width.signed {
            i128::from(number)
        } else {
            i128::from(number.cast_unsigned())
        }
    }

    fn writes(&self) -> bool {
        !matches!(self.action, Action::Get)
    }

    /// So many bytes the string needs.
    fn bytes_min(&self) -> usize {
        (self.offset + self.width.bits).div_ceil(8)
    }
}

fn operations(words: &[Bytes]) -> Result<Vec<Operation>, CommandError> {
    let mut operations = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut rest = Words::from(words, 2);
    while let Some(name) = rest.next() {
        if args::is(name, "OVERFLOW") {
            overflow = match rest.expect()? {
                word if args::is(word, "WRAP") => Overflow::Wrap,
                word if args::is(word, "SAT") => Overflow::Saturate,
                word if args::is(word, "FAIL") => Overflow::Fail,
                _ => {
                    return Err(CommandError::Other("ERR Invalid OVERFLOW type specified"));
                }
            };
            continue;
        }
        let action: fn(i64) -> Action = match () {
            () if args::is(name, "GET") => |_| Action::Get,
            () if args::is(name, "SET") => Action::Set,
            () if args::is(name, "INCRBY") => Action::Add,
            () => return Err(CommandError::Syntax),
        };
        let takes_number = !matches!(action(0), Action::Get);
        // A word too few is a syntax error, whatever the others are.
        if rest.left() < 2 + usize::from(takes_number) {
            return Err(CommandError::Syntax);
        }
        let width = Width::read(rest.expect()?)?;
        let offset = match rest.expect()?.as_ref() {
            [b'#', number @ ..] => offset_in_units(number, width.bits)?,
            number => offset_in_units(number, 1)?,
        };
        let number = if takes_number {
            rest.expect_integer()?
        } else {
            0
        };
        operations.push(Operation {
            width,
            offset,
            action: action(number),
            overflow,
        });
    }
    Ok(operations)
}

pub(super) fn bitfield_ro(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let operations = operations(words)?;
    if operations.iter().any(Operation::writes) {
        return Err(CommandError::Other(
            "ERR BITFIELD_RO only supports the GET subcommand",
        ));
    }
    read(context, &words[1], &operations)
}

fn read(context: &mut Context<'_>, key: &[u8], operations: &[Operation]) -> Executed {
    let string = context.get::<RedisString>(key)?;
    let bytes = string.map(RedisString::bytes).unwrap_or_default();
    let replies = operations.iter().map(|operation| operation.apply(&bytes).2);
    Ok(Reply::Array(replies.collect()))
}

pub(super) fn bitfield(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let key = &words[1];
    let operations = operations(words)?;
    let writing = operations.iter().filter(|operation| operation.writes());
    let Some(bytes_min) = writing.map(Operation::bytes_min).max() else {
        return read(context, key, &operations);
    };
    // The string grows for whatever might be written, even if it is not, as in Redis.
    let before = context.get::<RedisString>(key)?.map_or(0, RedisString::len);
    let mut replies = Vec::with_capacity(operations.len());
    let string = context.get_or_add::<RedisString>(key)?;
    let changed = string.edit_if(|bytes| {
        let mut changed = before < bytes_min;
        if changed {
            bytes.resize(bytes_min, 0);
        }
        for operation in &operations {
            let (before, after, reply) = operation.apply(bytes);
            replies.push(reply);
            if let Some(after) = after.filter(|after| *after != before) {
                operation.width.set(bytes, operation.offset, after);
                changed = true;
            }
        }
        changed
    });
    if changed {
        context.changed(key, EventClass::String, "setbit");
    }
    Ok(Reply::Array(replies))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::command::testing::story;

    #[test]
    fn read_and_written() {
        story(
            r#"
            > BITFIELD a
            (empty array)
            > BITFIELD a GET u8 0
            1) (integer) 0
            > EXISTS a
            (integer) 0
            > BITFIELD a SET i8 0 -5 GET u8 0 INCRBY u4 #1 3 GET i8 #0
            1) (integer) 0
            2) (integer) 251
            3) (integer) 14
            4) (integer) -2
            ! new a, setbit a
            > BITFIELD a SET u63 1 9223372036854775807 GET i64 0
            1) (integer) 9079256848778919936
            2) (integer) -1
            > BITFIELD_RO a GET u3 62
            1) (integer) 6
            > BITFIELD a SET u1 0 1
            1) (integer) 1
            !
            > SET b 1
            OK
            > BITFIELD b SET u8 0 49 OVERFLOW FAIL INCRBY u8 0 250
            1) (integer) 49
            2) (nil)
            !
            > OBJECT ENCODING b
            "int"
            > BITFIELD b INCRBY u8 0 1
            1) (integer) 50
            > GET b
            "2"
            "#,
        );
    }

    #[test]
    fn overflows() {
        story(
            r#"
            > BITFIELD a INCRBY u2 100 3 OVERFLOW SAT INCRBY u2 102 3
            1) (integer) 3
            2) (integer) 3
            > BITFIELD a INCRBY u2 100 2 OVERFLOW SAT INCRBY u2 102 3
            1) (integer) 1
            2) (integer) 3
            > BITFIELD a OVERFLOW FAIL INCRBY u2 102 1 SET u2 102 9
            1) (nil)
            2) (nil)
            !
            > BITFIELD a OVERFLOW SAT SET u8 0 -1 GET u8 0 SET i8 0 1000 GET i8 0 INCRBY i8 0 -300
            1) (integer) 0
            2) (integer) 255
            3) (integer) -1
            4) (integer) 127
            5) (integer) -128
            > BITFIELD b SET i64 0 9223372036854775807 INCRBY i64 0 1 OVERFLOW FAIL INCRBY i64 0 -1
            1) (integer) 0
            2) (integer) -9223372036854775808
            3) (nil)
            > BITFIELD b OVERFLOW WRAP SET u8 0 -1 SET u8 0 257 GET u8 0
            1) (integer) 128
            2) (integer) 255
            3) (integer) 1
            "#,
        );
    }

    #[test]
    fn refused() {
        story(
            r#"
            > BITFIELD a GET u64 0
            (error) ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
            > BITFIELD a GET i65 0
            (error) ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
            > BITFIELD a GET x8 0
            (error) ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
            > BITFIELD a GET u8 -1
            (error) ERR bit offset is not an integer or out of range
            > BITFIELD a SET u8 #536870912 1
            (error) ERR bit offset is not an integer or out of range
            > BITFIELD a SET u8 0 x
            (error) ERR value is not an integer or out of range
            > BITFIELD a SET nonsense 0
            (error) ERR syntax error
            > BITFIELD a PUT u8 0 1
            (error) ERR syntax error
            > BITFIELD a OVERFLOW BURST
            (error) ERR Invalid OVERFLOW type specified
            > BITFIELD_RO a SET u8 0 1
            (error) ERR BITFIELD_RO only supports the GET subcommand
            > EXISTS a
            (integer) 0
            "#,
        );
    }

    proptest! {
        #[test]
        fn numbers_come_back_and_neighbours_stay(
            mut bytes in prop::collection::vec(any::<u8>(), 24),
            signed in any::<bool>(),
            bits in 1usize..=63,
            offset in 0usize..=128,
            number in any::<i64>(),
        ) {
            let width = Width { signed, bits };
            let number = width.fit(i128::from(number), Overflow::Wrap).expect("wrapped");
            let before = bytes.clone();
            width.set(&mut bytes, offset, number);
            prop_assert_eq!(width.get(&bytes, offset), number);
            for bit in (0..bytes.len() * 8).filter(|bit| !(offset..offset + bits).contains(bit)) {
                let one = Width { signed: false, bits: 1 };
                prop_assert_eq!(one.get(&bytes, bit), one.get(&before, bit));
            }
        }

        #[test]
        fn what_wraps_is_the_low_bits(signed in any::<bool>(), bits in 1usize..=63, number in any::<i64>()) {
            let width = Width { signed, bits };
            let wrapped = width.fit(i128::from(number), Overflow::Wrap).expect("wrapped");
            prop_assert!((width.min()..=width.max()).contains(&wrapped));
            prop_assert_eq!((wrapped - i128::from(number)).rem_euclid(1 << bits), 0);
        }
    }
}
