//! What SORT takes from values, and what it makes of the result.

use bytes::Bytes;

use crate::core::data::{End, Hash, Kind, List, Milliseconds, RedisString, Value};

/// What is sorted.
#[derive(Default)]
pub(super) struct Source {
    pub(super) elements: Vec<Bytes>,
    /// Whether their order means something.
    pub(super) have_order: bool,
}

/// The elements of a list, a set or a sorted set; none for other types.
pub(super) fn elements(value: &Value) -> Option<Source> {
    let copy = Bytes::copy_from_slice;
    let elements = match value {
        Value::List(list) => list.iter().map(copy).collect(),
        Value::Set(set) => set.iter().map(|member| copy(&member)).collect(),
        Value::SortedSet(set) => set.iter().map(|(member, _)| copy(member)).collect(),
        Value::String(_) | Value::Hash(_) | Value::Stream(_) => return None,
    };
    Some(Source {
        elements,
        have_order: !matches!(value, Value::Set(_)),
    })
}

/// The string that a key of BY or GET holds.
pub(super) fn string(value: &Value) -> Option<Bytes> {
    let string = RedisString::of(value)?;
    Some(Bytes::copy_from_slice(&string.bytes()))
}

/// A field of the hash that a key of BY or GET holds.
pub(super) fn field(value: &Value, field: &[u8], now_ms: Milliseconds) -> Option<Bytes> {
    let found = Hash::of(value)?.get(field, now_ms)?;
    Some(Bytes::copy_from_slice(found))
}

/// A list of these elements.
pub(super) fn list(elements: impl Iterator<Item = Bytes>) -> List {
    let mut list = List::default();
    for element in elements {
        list.push(End::Right, &element);
    }
    list
}
