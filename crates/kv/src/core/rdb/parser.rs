//! Says what is in a file, piece by piece.

use std::borrow::Cow;

use super::{
    RdbError, VERSION_MAX,
    cursor::{Cursor, Found, Stop},
    shape::{Unit, pass, pass_module_piece, shape},
    string,
};
use crate::core::{data::Milliseconds, dump::crc64_of};

/// Marks between the keys.
mod mark {
    pub(super) const SLOT: u8 = 244;
    pub(super) const FUNCTION: u8 = 245;
    pub(super) const MODULE: u8 = 247;
    pub(super) const IDLE: u8 = 248;
    pub(super) const FREQUENCY: u8 = 249;
    pub(super) const AUXILIARY: u8 = 250;
    pub(super) const SIZES: u8 = 251;
    pub(super) const EXPIRES_MS: u8 = 252;
    pub(super) const EXPIRES_S: u8 = 253;
    pub(super) const DATABASE: u8 = 254;
    pub(super) const END: u8 = 255;
}

/// The value of a module. An older form of it (6) cannot be passed over without the module.
const MODULE_VALUE: u8 = 7;
/// From this version on there is a checksum at the end.
const CHECKSUM_SINCE: u16 = 5;
const MAGIC: &[u8; 5] = b"REDIS";
const VERSION_DIGITS: usize = 4;

/// A key; its value follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The number of its database.
    pub database: u64,
    /// Its name.
    pub name: Vec<u8>,
    /// When it ends.
    pub expires_at_ms: Option<Milliseconds>,
    /// The type of its value, as in a dump; none for the value of a module, of which nothing
    /// follows but its end.
    pub kind: Option<u8>,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Something that says nothing about keys was passed over.
    Passed,
    /// Something about the file or the server that wrote it: `redis-ver`, `ctime`, and others.
    Auxiliary {
        /// What.
        name: Cow<'a, [u8]>,
        /// What about it.
        value: Cow<'a, [u8]>,
    },
    /// The code of a library of functions.
    Function(Cow<'a, [u8]>),
    /// Data of a module beside the keys were passed over.
    Module,
    /// A key. Pieces of its value follow, then [`Event::ValueEnd`].
    Key(Key),
    /// Bytes of the value that stand before, between and behind its elements.
    Between(&'a [u8]),
    /// One element of the value: a string, a member, a field, a node of a list.
    Element(&'a [u8]),
    /// The value is complete.
    ValueEnd,
    /// The file is complete, and its checksum is right. What comes behind is no part of it.
    End,
}

/// What came of looking at the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// At least so many more are needed. A caller that gets twice as many as it had, where that
    /// is more, has the parser look at each byte only a few times.
    More(usize),
    /// This is there, in so many bytes, which must not be shown again.
    Found(Event<'a>, usize),
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Head,
    BetweenKeys,
    /// In a value: the pieces that are left of it, and of the first one so many elements, if it
    /// has been begun.
    Value(&'static [Unit], Option<u64>),
    ModuleValue,
    Sum,
    End,
}

/// Reads one file.
#[derive(Debug)]
pub struct Parser {
    place: Place,
    at: u64,
    version: u16,
    sum: u64,
    database: u64,
    expires_at_ms: Option<Milliseconds>,
}

impl Default for Parser {
    fn default() -> Self {
        Parser {
            place: Place::Head,
            at: 0,
            version: 0,
            sum: 0,
            database: 0,
            expires_at_ms: None,
        }
    }
}

impl Parser {
    /// How many bytes have been found something in.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// What the file's end before the next thing is complete means.
    pub fn short(&self, bytes_left: usize) -> RdbError {
        match self.place {
            Place::Head => RdbError::NoRdb,
            _ => RdbError::Short {
                at: self.at.saturating_add(bytes_left as u64),
            },
        }
    }

    /// Looks at the bytes behind those in which something was found.
    ///
    /// # Errors
    /// [`RdbError`]; nothing can be read after that.
    pub fn next<'a>(&mut self, bytes: &'a [u8]) -> Result<Step<'a>, RdbError> {
        let mut cursor = Cursor::new(bytes);
        let at = self.at;
        let found = match self.place {
            Place::Head => self.head(&mut cursor)?,
            Place::BetweenKeys => self.between_keys(&mut cursor)?,
            Place::Value(units, left) => self.value(&mut cursor, units, left),
            Place::ModuleValue => self.module_value(&mut cursor),
            Place::Sum => self.checksum(&mut cursor)?,
            Place::End => Ok(Event::End),
        };
        match found {
            Ok(event) => {
                let read = cursor.at();
                // The checksum is over all that is before it.
                if !matches!(self.place, Place::End) {
                    self.sum = crc64_of(self.sum, &bytes[..read]);
                }
                self.at = at.saturating_add(read as u64);
                Ok(Step::Found(event, read))
            }
            Err(Stop::More(count)) => Ok(Step::More(count)),
            Err(Stop::TooLong) => Err(RdbError::TooLong { at }),
            Err(Stop::Damaged(what)) => {
                let at = at.saturating_add(cursor.at() as u64);
                Err(RdbError::Damaged { at, what })
            }
        }
    }

    fn head<'a>(&mut self, cursor: &mut Cursor<'a>) -> Result<Found<Event<'a>>, RdbError> {
        let head = match cursor.take(MAGIC.len() + VERSION_DIGITS) {
            Ok(head) => head,
            Err(stop) => return Ok(Err(stop)),
        };
        let digits = head.strip_prefix(MAGIC).ok_or(RdbError::NoRdb)?;
        let digits = std::str::from_utf8(digits).map_err(|_| RdbError::NoRdb)?;
        if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(RdbError::NoRdb);
        }
        let version = digits.parse().map_err(|_| RdbError::NoRdb)?;
        if !(1..=VERSION_MAX).contains(&version) {
            return Err(RdbError::Version { version });
        }
        self.version = version;
        self.place = Place::BetweenKeys;
        Ok(Ok(Event::Passed))
    }

    fn between_keys<'a>(&mut self, cursor: &mut Cursor<'a>) -> Result<Found<Event<'a>>, RdbError> {
        let mark = match cursor.byte() {
            Ok(mark) => mark,
            Err(stop) => return Ok(Err(stop)),
        };
        let known = mark == MODULE_VALUE || shape(mark).is_some();
        match mark {
            mark::END => {
                self.place = Place::Sum;
                Ok(Ok(Event::Passed))
            }
            mark::SLOT | mark::FUNCTION | mark::MODULE..=mark::DATABASE => {
                Ok(self.marked(mark, cursor))
            }
            kind if known => Ok(self.key(kind, cursor)),
            kind => Err(RdbError::Unknown { at: self.at, kind }),
        }
    }

    fn marked<'a>(&mut self, mark: u8, cursor: &mut Cursor<'a>) -> Found<Event<'a>> {
        match mark {
            // Which slot comes next, and how much is in it.
            mark::SLOT => pass(cursor, &[Unit::Count, Unit::Count, Unit::Count])?,
            mark::FUNCTION => return Ok(Event::Function(decoded(cursor)?)),
            mark::MODULE => {
                // Which module; when it wants to read it.
                pass(cursor, &[Unit::Count, Unit::Count, Unit::Count])?;
                while pass_module_piece(cursor)? {}
                return Ok(Event::Module);
            }
            mark::IDLE => pass(cursor, &[Unit::Count])?,
            mark::FREQUENCY => pass(cursor, &[Unit::Bytes(1)])?,
            mark::AUXILIARY => {
                let (name, value) = (decoded(cursor)?, decoded(cursor)?);
                return Ok(Event::Auxiliary { name, value });
            }
            mark::SIZES => pass(cursor, &[Unit::Count, Unit::Count])?,
            mark::EXPIRES_MS => {
                self.expires_at_ms = Some(moment(i64::from_le_bytes(cursor.array()?)));
            }
            mark::EXPIRES_S => {
                let seconds = i64::from(i32::from_le_bytes(cursor.array()?));
                self.expires_at_ms = Some(moment(seconds * 1_000));
            }
            mark::DATABASE => self.database = cursor.count()?,
            _ => return Err(Stop::Damaged("an unknown mark")),
        }
        Ok(Event::Passed)
    }

    fn key<'a>(&mut self, kind: u8, cursor: &mut Cursor<'a>) -> Found<Event<'a>> {
        let name = decoded(cursor)?.into_owned();
        let kind = match shape(kind) {
            Some(units) => {
                self.place = Place::Value(units, None);
                Some(kind)
            }
            None => {
                // Which module.
                cursor.count()?;
                self.place = Place::ModuleValue;
                None
            }
        };
        Ok(Event::Key(Key {
            database: self.database,
            name,
            expires_at_ms: self.expires_at_ms.take(),
            kind,
        }))
    }

    fn value<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        units: &'static [Unit],
        left: Option<u64>,
    ) -> Found<Event<'a>> {
        let Some((unit, rest)) = units.split_first() else {
            self.place = Place::BetweenKeys;
            return Ok(Event::ValueEnd);
        };
        let mut whole = *cursor;
        let (place, is_element) = match (unit, left) {
            (Unit::Many(_), None) => (Place::Value(units, Some(cursor.count()?)), false),
            (Unit::Many(_), Some(0)) => (Place::Value(rest, None), false),
            (Unit::Many(parts), Some(left)) => {
                pass(cursor, parts)?;
                (Place::Value(units, Some(left - 1)), true)
            }
            (unit, _) => {
                pass(cursor, std::slice::from_ref(unit))?;
                (Place::Value(rest, None), matches!(unit, Unit::String))
            }
        };
        self.place = place;
        let bytes = whole.take(cursor.at())?;
        Ok(if is_element {
            Event::Element(bytes)
        } else {
            Event::Between(bytes)
        })
    }

    fn module_value<'a>(&mut self, cursor: &mut Cursor<'a>) -> Found<Event<'a>> {
        if pass_module_piece(cursor)? {
            return Ok(Event::Passed);
        }
        self.place = Place::BetweenKeys;
        Ok(Event::ValueEnd)
    }

    fn checksum<'a>(&mut self, cursor: &mut Cursor<'a>) -> Result<Found<Event<'a>>, RdbError> {
        if self.version >= CHECKSUM_SINCE {
            let sum = match cursor.array() {
                Ok(sum) => u64::from_le_bytes(sum),
                Err(stop) => return Ok(Err(stop)),
            };
            // A server that was told to make none writes 0.
            if sum != 0 && sum != self.sum {
                return Err(RdbError::Checksum);
            }
        }
        self.place = Place::End;
        Ok(Ok(Event::End))
    }
}

fn decoded<'a>(cursor: &mut Cursor<'a>) -> Found<Cow<'a, [u8]>> {
    string(cursor.string()?).ok_or(Stop::Damaged("a compressed string that makes no sense"))
}

/// What is before the epoch is over as well.
fn moment(ms: i64) -> Milliseconds {
    // 0 would be no end at all to RESTORE.
    Milliseconds::try_from(ms).unwrap_or(1).max(1)
}
