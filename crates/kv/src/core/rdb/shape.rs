//! What each type of value consists of, as far as one must know to find its end.

use super::cursor::{Cursor, Found, Stop};
use crate::core::dump::kind;

/// A piece of a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    /// A number.
    Count,
    /// A string in any form.
    String,
    /// A score as digits behind a byte of length, or one of three bytes for what has no digits.
    ScoreText,
    /// So many bytes.
    Bytes(usize),
    /// A number, and as many times this.
    Many(&'static [Unit]),
}

use Unit::{Bytes, Count, Many, ScoreText, String};

/// A moment, a score or a moment's difference in eight bytes.
const EIGHT: Unit = Bytes(8);
const STREAM_ID_BYTES: usize = 16;

/// Deliveries that nobody has acknowledged: id, when, how often.
const PENDING: Unit = Many(&[Bytes(STREAM_ID_BYTES), EIGHT, Count]);
/// Ids of those of them that belong to a consumer.
const OWN_PENDING: Unit = Many(&[Bytes(STREAM_ID_BYTES)]);
/// Listpacks of entries behind their ids, then how many entries, and the last id in two numbers.
const ENTRIES: [Unit; 4] = [Many(&[String, String]), Count, Count, Count];
/// Redis 7.0 adds the first id, the greatest one that was deleted, and how many there ever were.
const COUNTED_ENTRIES: [Unit; 9] = [
    ENTRIES[0], ENTRIES[1], ENTRIES[2], ENTRIES[3], Count, Count, Count, Count, Count,
];

const FIRST_STREAM: &[Unit] = &[
    ENTRIES[0],
    ENTRIES[1],
    ENTRIES[2],
    ENTRIES[3],
    Many(&[
        String,
        Count,
        Count,
        PENDING,
        Many(&[String, EIGHT, OWN_PENDING]),
    ]),
];
const COUNTED_STREAM: &[Unit] = &counted(Many(&[
    String,
    Count,
    Count,
    Count,
    PENDING,
    Many(&[String, EIGHT, OWN_PENDING]),
]));
const ACTIVE_STREAM: &[Unit] = &counted(Many(&[
    String,
    Count,
    Count,
    Count,
    PENDING,
    // When it was seen, when it was active.
    Many(&[String, EIGHT, EIGHT, OWN_PENDING]),
]));

const fn counted(groups: Unit) -> [Unit; 10] {
    let it = COUNTED_ENTRIES;
    [
        it[0], it[1], it[2], it[3], it[4], it[5], it[6], it[7], it[8], groups,
    ]
}

/// The pieces of a value of this type; none for what Redis up to 7.4 does not write.
pub(super) fn shape(kind: u8) -> Option<&'static [Unit]> {
    Some(match kind {
        kind::STRING
        | kind::HASH_ZIPMAP
        | kind::LIST_ZIPLIST
        | kind::SET_INTSET
        | kind::SORTED_SET_ZIPLIST
        | kind::HASH_ZIPLIST
        | kind::HASH_LISTPACK
        | kind::SORTED_SET_LISTPACK
        | kind::SET_LISTPACK => &[String],
        kind::LIST | kind::SET | kind::LIST_OF_ZIPLISTS => &[Many(&[String])],
        kind::HASH => &[Many(&[String, String])],
        kind::SORTED_SET => &[Many(&[String, ScoreText])],
        kind::SORTED_SET_BINARY => &[Many(&[String, EIGHT])],
        kind::LIST_OF_LISTPACKS => &[Many(&[Count, String])],
        kind::HASH_WITH_TIMES => &[EIGHT, Many(&[Count, String, String])],
        kind::HASH_LISTPACK_WITH_TIMES => &[EIGHT, String],
        kind::STREAM => FIRST_STREAM,
        kind::STREAM_COUNTED => COUNTED_STREAM,
        kind::STREAM_ACTIVE => ACTIVE_STREAM,
        _ => return None,
    })
}

/// Goes over these pieces. The shapes are not deep, and each piece takes a byte at least.
pub(super) fn pass(cursor: &mut Cursor<'_>, units: &[Unit]) -> Found<()> {
    for unit in units {
        match unit {
            Count => {
                cursor.count()?;
            }
            String => {
                cursor.string()?;
            }
            Bytes(count) => {
                cursor.take(*count)?;
            }
            ScoreText => match cursor.byte()? {
                253 => return Err(Stop::Damaged("a score that is no number")),
                254 | 255 => {}
                length => {
                    cursor.take(usize::from(length))?;
                }
            },
            Many(units) => {
                for _ in 0..cursor.count()? {
                    pass(cursor, units)?;
                }
            }
        }
    }
    Ok(())
}

/// How a module's value or its auxiliary data goes on.
mod module {
    pub(super) const END: u64 = 0;
    pub(super) const SIGNED: u64 = 1;
    pub(super) const UNSIGNED: u64 = 2;
    pub(super) const FLOAT: u64 = 3;
    pub(super) const DOUBLE: u64 = 4;
    pub(super) const STRING: u64 = 5;
}

/// Goes over one piece of what a module saved; false at its end. Each piece says what it is.
pub(super) fn pass_module_piece(cursor: &mut Cursor<'_>) -> Found<bool> {
    match cursor.count()? {
        module::END => return Ok(false),
        module::SIGNED | module::UNSIGNED => {
            cursor.count()?;
        }
        module::FLOAT => {
            cursor.take(4)?;
        }
        module::DOUBLE => {
            cursor.take(8)?;
        }
        module::STRING => {
            cursor.string()?;
        }
        _ => return Err(Stop::Damaged("an unknown piece of a module's data")),
    }
    Ok(true)
}
