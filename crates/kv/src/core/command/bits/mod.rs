//! Bits of strings: the table of their commands, and what they share. Bit 0 is the highest of the
//! first byte.

use bytes::Bytes;

use super::{
    CommandError, args,
    table::{Command, Flags, Group, KeyPlaces},
};
use crate::core::data::{STRING_BYTES_MAX, parse_integer};

mod bit;
mod field;
mod operation;

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "bitcount",
        arity: -2,
        flags: Flags::READONLY,
        keys: KeyPlaces::ONE,
        group: Group::Bitmap,
        since: "2.6.0",
        summary: "Counts the bits that are set in a string or a part of it.",
        complexity: "O(N) where N is the length of the string",
        execute: bit::bitcount,
        subcommands: &[],
    },
    Command {
        name: "bitfield",
        arity: -2,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: KeyPlaces::ONE,
        group: Group::Bitmap,
        since: "3.2.0",
        summary: "Reads, sets and adds to integers of any width in a string.",
        complexity: "O(1) for each operation",
        execute: field::bitfield,
        subcommands: &[],
    },
    Command {
        name: "bitfield_ro",
        arity: -2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: KeyPlaces::ONE,
        group: Group::Bitmap,
        since: "6.0.0",
        summary: "Reads integers of any width in a string.",
        complexity: "O(1) for each operation",
        execute: field::bitfield_ro,
        subcommands: &[],
    },
    Command {
        name: "bitop",
        arity: -4,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: KeyPlaces::Range {
            first: 2,
            last: -1,
            step: 1,
        },
        group: Group::Bitmap,
        since: "2.6.0",
        summary: "Combines strings bit by bit and keeps the result.",
        complexity: "O(N) where N is the length of the longest string",
        execute: operation::bitop,
        subcommands: &[],
    },
    Command {
        name: "bitpos",
        arity: -3,
        flags: Flags::READONLY,
        keys: KeyPlaces::ONE,
        group: Group::Bitmap,
        since: "2.8.7",
        summary: "Finds the first bit that is set, or that is not.",
        complexity: "O(N) where N is the length of the string",
        execute: bit::bitpos,
        subcommands: &[],
    },
    Command {
        name: "getbit",
        arity: 3,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: KeyPlaces::ONE,
        group: Group::Bitmap,
        since: "2.2.0",
        summary: "Returns a bit of a string.",
        complexity: "O(1)",
        execute: bit::getbit,
        subcommands: &[],
    },
    Command {
        name: "setbit",
        arity: 4,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: KeyPlaces::ONE,
        group: Group::Bitmap,
        since: "2.2.0",
        summary: "Sets a bit of a string and returns the one before.",
        complexity: "O(1)",
        execute: bit::setbit,
        subcommands: &[],
    },
];

const BAD_OFFSET: CommandError =
    CommandError::Other("ERR bit offset is not an integer or out of range");

/// A bit's offset inside the longest possible string.
fn offset(argument: &[u8]) -> Result<usize, CommandError> {
    offset_in_units(argument, 1)
}

/// The same, from an offset in units of so many bits.
fn offset_in_units(argument: &[u8], unit_bits: usize) -> Result<usize, CommandError> {
    parse_integer(argument)
        .and_then(|offset| usize::try_from(offset).ok())
        .and_then(|offset| offset.checked_mul(unit_bits))
        .filter(|offset| offset / 8 < STRING_BYTES_MAX)
        .ok_or(BAD_OFFSET)
}

/// Whether bits are meant, not bytes, by the word that may follow a range.
fn counts_bits(word: Option<&Bytes>) -> Result<bool, CommandError> {
    match word {
        None => Ok(false),
        Some(word) if args::is(word, "BYTE") => Ok(false),
        Some(word) if args::is(word, "BIT") => Ok(true),
        Some(_) => Err(CommandError::Syntax),
    }
}
