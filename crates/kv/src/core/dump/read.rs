//! Values from their encodings.

use std::borrow::Cow;

use super::{
    RestoreError, kind,
    packs::{Item, intset, listpack, ziplist, zipmap},
    reader::Reader,
    stream,
};
use crate::core::data::{
    End, Hash, Kind as _, List, Milliseconds, RedisString, Set, SortedSet, Value,
};

/// Parts of lists: a single element, or a listpack of several.
pub(in crate::core) const PART_PLAIN: usize = 1;
pub(in crate::core) const PART_PACKED: usize = 2;

/// The latest moment at which a field may end, as HEXPIRE has it.
const EXPIRES_AT_MS_MAX: Milliseconds = (1 << 46) - 1;

/// Reads the type and the value. A value without members is refused: no key holds one.
pub(super) fn value(reader: &mut Reader<'_>) -> Result<Value, RestoreError> {
    match reader.byte()? {
        kind::STRING => Ok(RedisString::new(&reader.string()?).into_value()),
        kind::LIST => list(strings(reader)?),
        kind::SET => set(strings(reader)?),
        kind::HASH => hash(doubled(reader)?),
        kind::SORTED_SET => scored(reader, score_text),
        kind::SORTED_SET_BINARY => scored(reader, |reader| reader.double()),
        kind::HASH_ZIPMAP => hash(zipmap(&reader.string()?)),
        kind::LIST_ZIPLIST => list(ziplist(&reader.string()?)),
        kind::SET_INTSET => set(intset(&reader.string()?)),
        kind::SORTED_SET_ZIPLIST => sorted_set(ziplist(&reader.string()?)),
        kind::HASH_ZIPLIST => hash(ziplist(&reader.string()?)),
        kind::LIST_OF_ZIPLISTS => {
            list_of(reader, |_| Ok(PART_PACKED), |part| Box::new(ziplist(part)))
        }
        kind::STREAM => stream::read(reader, stream::Version::First),
        kind::STREAM_COUNTED => stream::read(reader, stream::Version::Counted),
        kind::STREAM_ACTIVE => stream::read(reader, stream::Version::Active),
        kind::HASH_LISTPACK => hash(listpack(&reader.string()?)),
        kind::SORTED_SET_LISTPACK => sorted_set(listpack(&reader.string()?)),
        kind::LIST_OF_LISTPACKS => list_of(
            reader,
            |reader| reader.count(),
            |part| Box::new(listpack(part)),
        ),
        kind::SET_LISTPACK => set(listpack(&reader.string()?)),
        kind::HASH_WITH_TIMES => hash_with_times(reader),
        kind::HASH_LISTPACK_WITH_TIMES => {
            // The first moment, which the fields' own ones tell, too.
            reader.milliseconds()?;
            packed_hash_with_times(listpack(&reader.string()?))
        }
        _ => Err(RestoreError::Data),
    }
}

fn full<T: crate::core::data::Kind>(value: T) -> Result<Value, RestoreError> {
    if value.is_spent() {
        Err(RestoreError::Data)
    } else {
        Ok(value.into_value())
    }
}

/// A count and so many strings.
fn strings<'r, 'a>(
    reader: &'r mut Reader<'a>,
) -> Result<impl Iterator<Item = Item<'a>> + use<'r, 'a>, RestoreError> {
    let count = reader.count()?;
    Ok((0..count).map(|_| reader.string()))
}

/// A count and twice as many strings.
fn doubled<'r, 'a>(
    reader: &'r mut Reader<'a>,
) -> Result<impl Iterator<Item = Item<'a>> + use<'r, 'a>, RestoreError> {
    let count = reader.count()?.checked_mul(2).ok_or(RestoreError::Data)?;
    Ok((0..count).map(|_| reader.string()))
}

fn list<'a>(items: impl Iterator<Item = Item<'a>>) -> Result<Value, RestoreError> {
    let mut list = List::default();
    for item in items {
        list.push(End::Right, &item?);
    }
    full(list)
}

/// A list in parts, each of a form and a string.
fn list_of(
    reader: &mut Reader<'_>,
    form: fn(&mut Reader<'_>) -> Result<usize, RestoreError>,
    items: for<'p> fn(&'p [u8]) -> Box<dyn Iterator<Item = Item<'p>> + 'p>,
) -> Result<Value, RestoreError> {
    let mut list = List::default();
    for _ in 0..reader.count()? {
        let form = form(reader)?;
        let part = reader.string()?;
        match form {
            PART_PLAIN => list.push(End::Right, &part),
            PART_PACKED => {
                for item in items(&part) {
                    list.push(End::Right, &item?);
                }
            }
            _ => return Err(RestoreError::Data),
        }
    }
    full(list)
}

fn set<'a>(items: impl Iterator<Item = Item<'a>>) -> Result<Value, RestoreError> {
    let mut set = Set::default();
    for item in items {
        if !set.insert(&item?) {
            return Err(RestoreError::Data);
        }
    }
    full(set)
}

fn hash<'a>(mut items: impl Iterator<Item = Item<'a>>) -> Result<Value, RestoreError> {
    let mut hash = Hash::default();
    while let Some(field) = items.next() {
        let value = items.next().ok_or(RestoreError::Data)??;
        if !hash.set(&field?, &value) {
            return Err(RestoreError::Data);
        }
    }
    full(hash)
}

/// A field, and when it ends; 0 is never.
fn add_field(
    hash: &mut Hash,
    field: &[u8],
    value: &[u8],
    at_ms: Milliseconds,
) -> Result<(), RestoreError> {
    if at_ms > EXPIRES_AT_MS_MAX || !hash.set(field, value) {
        return Err(RestoreError::Data);
    }
    if at_ms > 0 {
        hash.expire_at(field, Some(at_ms));
    }
    Ok(())
}

/// The first moment at which a field ends, and the fields' as what they are beyond it, plus 1.
fn hash_with_times(reader: &mut Reader<'_>) -> Result<Value, RestoreError> {
    let first_ms = reader.milliseconds()?;
    let mut hash = Hash::default();
    for _ in 0..reader.count()? {
        let after = reader.count()? as Milliseconds;
        let at_ms = match after.checked_sub(1) {
            None => 0,
            Some(after_ms) => first_ms.checked_add(after_ms).ok_or(RestoreError::Data)?,
        };
        let (field, value) = (reader.string()?, reader.string()?);
        add_field(&mut hash, &field, &value, at_ms)?;
    }
    full(hash)
}

/// Fields, values and moments in turn.
fn packed_hash_with_times<'a>(
    mut items: impl Iterator<Item = Item<'a>>,
) -> Result<Value, RestoreError> {
    let mut hash = Hash::default();
    while let Some(field) = items.next() {
        let value = items.next().ok_or(RestoreError::Data)??;
        let at_ms = items.next().ok_or(RestoreError::Data)??;
        let at_ms = text(&at_ms)?.parse().map_err(|_| RestoreError::Data)?;
        add_field(&mut hash, &field?, &value, at_ms)?;
    }
    full(hash)
}

pub(in crate::core) fn text(bytes: &[u8]) -> Result<&str, RestoreError> {
    std::str::from_utf8(bytes).map_err(|_| RestoreError::Data)
}

fn add_member(set: &mut SortedSet, member: &[u8], score: f64) -> Result<(), RestoreError> {
    if score.is_nan() || set.insert(member, score).is_some() {
        return Err(RestoreError::Data);
    }
    Ok(())
}

/// Members and scores in turn.
fn sorted_set<'a>(mut items: impl Iterator<Item = Item<'a>>) -> Result<Value, RestoreError> {
    let mut set = SortedSet::default();
    while let Some(member) = items.next() {
        let score: Cow<'_, [u8]> = items.next().ok_or(RestoreError::Data)??;
        let score = text(&score)?.parse().map_err(|_| RestoreError::Data)?;
        add_member(&mut set, &member?, score)?;
    }
    full(set)
}

/// A count, and so many members with scores, which are read by `score`.
fn scored(
    reader: &mut Reader<'_>,
    score: fn(&mut Reader<'_>) -> Result<f64, RestoreError>,
) -> Result<Value, RestoreError> {
    let mut set = SortedSet::default();
    for _ in 0..reader.count()? {
        let member = reader.string()?;
        let score = score(reader)?;
        add_member(&mut set, &member, score)?;
    }
    full(set)
}

/// A score as digits with a byte of length, or one of three bytes for what has no digits.
pub(in crate::core) fn score_text(reader: &mut Reader<'_>) -> Result<f64, RestoreError> {
    match reader.byte()? {
        253 => Err(RestoreError::Data),
        254 => Ok(f64::INFINITY),
        255 => Ok(f64::NEG_INFINITY),
        length => text(reader.bytes(usize::from(length))?)?
            .parse()
            .map_err(|_| RestoreError::Data),
    }
}
