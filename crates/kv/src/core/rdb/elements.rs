//! The elements of values, for those that are too large to be restored at once.

use std::borrow::Cow;

use crate::core::{
    data::Milliseconds,
    dump::{
        Reader, RestoreError, kind,
        packs::{Item, intset, listpack, ziplist, zipmap},
        read::{self, PART_PACKED, PART_PLAIN},
    },
    number::format_double,
};

/// One of the things a value consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Element {
    /// All of a string.
    String(Vec<u8>),
    /// An item of a list.
    Item(Vec<u8>),
    /// A member of a set.
    Member(Vec<u8>),
    /// A member of a sorted set, and its score as ZADD takes it.
    Scored(Vec<u8>, String),
    /// A field of a hash, its value, and when it ends.
    Field(Vec<u8>, Vec<u8>, Option<Milliseconds>),
}

/// Whether a value of this type can be written element by element. A stream cannot: its groups
/// know more than any command says.
pub fn has_elements(kind: u8) -> bool {
    !matches!(
        kind,
        kind::STREAM | kind::STREAM_COUNTED | kind::STREAM_ACTIVE
    )
}

/// What [`super::Event::Element`] holds of a value of this type, of which
/// [`super::Event::Between`] has said `before` so far; nothing for a stream, which has no
/// elements that could be written one by one.
///
/// # Errors
/// [`RestoreError`] where it makes no sense.
pub fn elements(
    kind: u8,
    before: &[u8],
    bytes: &[u8],
) -> Result<Option<Vec<Element>>, RestoreError> {
    let mut reader = Reader::new(bytes);
    let reader = &mut reader;
    let found = match kind {
        kind::STRING => vec![Element::String(reader.string()?.into_owned())],
        kind::LIST => vec![Element::Item(reader.string()?.into_owned())],
        kind::SET => vec![Element::Member(reader.string()?.into_owned())],
        kind::HASH => {
            let (field, value) = (reader.string()?.into_owned(), reader.string()?.into_owned());
            vec![Element::Field(field, value, None)]
        }
        kind::HASH_WITH_TIMES => {
            let mut first = Reader::new(before);
            let first_ms = first.milliseconds()?;
            let after = reader.count()? as Milliseconds;
            let at_ms = match after.checked_sub(1) {
                None => None,
                Some(after_ms) => Some(first_ms.checked_add(after_ms).ok_or(RestoreError::Data)?),
            };
            let (field, value) = (reader.string()?.into_owned(), reader.string()?.into_owned());
            vec![Element::Field(field, value, at_ms)]
        }
        kind::SORTED_SET => {
            let member = reader.string()?.into_owned();
            vec![scored(member, read::score_text(reader)?)?]
        }
        kind::SORTED_SET_BINARY => {
            let member = reader.string()?.into_owned();
            vec![scored(member, reader.double()?)?]
        }
        kind::LIST_ZIPLIST | kind::LIST_OF_ZIPLISTS => items(ziplist(&reader.string()?))?,
        kind::LIST_OF_LISTPACKS => {
            let form = reader.count()?;
            let node = reader.string()?;
            match form {
                PART_PLAIN => vec![Element::Item(node.into_owned())],
                PART_PACKED => items(listpack(&node))?,
                _ => return Err(RestoreError::Data),
            }
        }
        kind::SET_INTSET => members(intset(&reader.string()?))?,
        kind::SET_LISTPACK => members(listpack(&reader.string()?))?,
        kind::SORTED_SET_ZIPLIST => all_scored(ziplist(&reader.string()?))?,
        kind::SORTED_SET_LISTPACK => all_scored(listpack(&reader.string()?))?,
        kind::HASH_ZIPMAP => fields(zipmap(&reader.string()?))?,
        kind::HASH_ZIPLIST => fields(ziplist(&reader.string()?))?,
        kind::HASH_LISTPACK => fields(listpack(&reader.string()?))?,
        kind::HASH_LISTPACK_WITH_TIMES => fields_with_times(listpack(&reader.string()?))?,
        _ => return Ok(None),
    };
    if reader.is_at_end() {
        Ok(Some(found))
    } else {
        Err(RestoreError::Data)
    }
}

fn scored(member: Vec<u8>, score: f64) -> Result<Element, RestoreError> {
    if score.is_nan() {
        return Err(RestoreError::Data);
    }
    Ok(Element::Scored(member, format_double(score)))
}

fn items<'a>(items: impl Iterator<Item = Item<'a>>) -> Result<Vec<Element>, RestoreError> {
    items
        .map(|it| Ok(Element::Item(it?.into_owned())))
        .collect()
}

fn members<'a>(items: impl Iterator<Item = Item<'a>>) -> Result<Vec<Element>, RestoreError> {
    items
        .map(|it| Ok(Element::Member(it?.into_owned())))
        .collect()
}

fn next<'a>(items: &mut impl Iterator<Item = Item<'a>>) -> Result<Cow<'a, [u8]>, RestoreError> {
    items.next().ok_or(RestoreError::Data)?
}

fn all_scored<'a>(mut items: impl Iterator<Item = Item<'a>>) -> Result<Vec<Element>, RestoreError> {
    let mut found = Vec::new();
    while let Some(member) = items.next() {
        let score = read::text(&next(&mut items)?)?
            .parse()
            .map_err(|_| RestoreError::Data)?;
        found.push(scored(member?.into_owned(), score)?);
    }
    Ok(found)
}

fn fields<'a>(mut items: impl Iterator<Item = Item<'a>>) -> Result<Vec<Element>, RestoreError> {
    let mut found = Vec::new();
    while let Some(field) = items.next() {
        let value = next(&mut items)?.into_owned();
        found.push(Element::Field(field?.into_owned(), value, None));
    }
    Ok(found)
}

fn fields_with_times<'a>(
    mut items: impl Iterator<Item = Item<'a>>,
) -> Result<Vec<Element>, RestoreError> {
    let mut found = Vec::new();
    while let Some(field) = items.next() {
        let value = next(&mut items)?.into_owned();
        let at_ms: Milliseconds = read::text(&next(&mut items)?)?
            .parse()
            .map_err(|_| RestoreError::Data)?;
        let at_ms = Some(at_ms).filter(|at_ms| *at_ms > 0);
        found.push(Element::Field(field?.into_owned(), value, at_ms));
    }
    Ok(found)
}
