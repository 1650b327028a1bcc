//! Values, each in the form that it is kept in.

use bytes::Bytes;

use super::{
    SnapshotError, read::optional as read_optional, sink::Sink, write::optional as write_optional,
};
use crate::core::{
    codec::{CodecError, Reader},
    data::{
        Group, Hash, Kind, List, Pack, RedisString, Set, SetForm, SortedSet, Stream, StreamId,
        Table, Value,
    },
};

/// What marks each form. A new one gets a new mark and a new version of the format.
mod mark {
    pub(super) const INTEGER: u8 = 0;
    pub(super) const EMBEDDED: u8 = 1;
    pub(super) const RAW: u8 = 2;
    pub(super) const LIST: u8 = 3;
    pub(super) const SET_INTEGERS: u8 = 4;
    pub(super) const SET_PACKED: u8 = 5;
    pub(super) const SET_TABLE: u8 = 6;
    pub(super) const SORTED_SMALL: u8 = 7;
    pub(super) const SORTED_LARGE: u8 = 8;
    pub(super) const HASH_PACKED: u8 = 9;
    pub(super) const HASH_TABLE: u8 = 10;
    pub(super) const STREAM: u8 = 11;
}

pub(super) fn write<F: FnMut(Bytes)>(to: &mut Sink<F>, value: &Value) {
    match value {
        Value::String(RedisString::Integer(integer)) => {
            to.byte(mark::INTEGER).number(zigzag(*integer));
        }
        Value::String(string) => {
            let form = match string.is_embedded() {
                true => mark::EMBEDDED,
                false => mark::RAW,
            };
            to.byte(form).bytes(&string.bytes());
        }
        Value::List(list) => {
            to.byte(mark::LIST).length(list.packs().count());
            for row in list.packs() {
                write_pack(to, row);
            }
        }
        Value::Set(set) => write_set(to, set),
        Value::SortedSet(sorted) => {
            let form = match sorted.is_small() {
                true => mark::SORTED_SMALL,
                false => mark::SORTED_LARGE,
            };
            to.byte(form).length(sorted.len());
            // A large one's table; a small one's only order.
            if sorted.is_small() {
                for (member, score) in sorted.iter() {
                    to.bytes(member).number(score_bits(score));
                }
            } else {
                for (member, score) in (0..sorted.len()).filter_map(|place| sorted.at(place)) {
                    to.bytes(member).number(score_bits(score));
                }
            }
        }
        Value::Hash(hash) => {
            let form = match hash.is_packed() {
                true => mark::HASH_PACKED,
                false => mark::HASH_TABLE,
            };
            to.byte(form).byte(u8::from(hash.may_end()));
            to.length(hash.stored());
            for (field, value) in hash.iter_stored() {
                to.bytes(field).bytes(value);
                if hash.may_end() {
                    write_optional(to, hash.expires_at(field));
                }
            }
        }
        Value::Stream(stream) => write_stream(to, stream),
    }
}

pub(super) fn read(from: &mut Reader) -> Result<Value, SnapshotError> {
    Ok(match from.byte()? {
        mark::INTEGER => RedisString::Integer(read_zigzag(from)?).into_value(),
        mark::EMBEDDED => RedisString::text(&from.bytes()?).into_value(),
        mark::RAW => RedisString::raw(from.bytes()?.to_vec()).into_value(),
        mark::LIST => {
            let rows = (0..from.count(2)?)
                .map(|_| read_pack(from))
                .collect::<Result<_, _>>()?;
            possible(List::restore(rows), "a list without elements")?.into_value()
        }
        mark::SET_INTEGERS => {
            let width = usize::from(from.byte()?);
            let numbers = (0..from.count(1)?)
                .map(|_| read_zigzag(from))
                .collect::<Result<_, _>>()?;
            read_set(SetForm::Integers(width, numbers))?
        }
        mark::SET_PACKED => read_set(SetForm::Packed(read_pack(from)?))?,
        mark::SET_TABLE => {
            let mut table = Table::default();
            for _ in 0..from.count(1)? {
                if table.insert(from.bytes()?[..].into(), ()).is_some() {
                    return Err(SnapshotError::Impossible("a member twice"));
                }
            }
            read_set(SetForm::Table(table))?
        }
        mark::SORTED_SMALL => {
            let members = (0..from.count(2)?)
                .map(|_| Ok((from.bytes()?, read_score(from)?)))
                .collect::<Result<Vec<_>, SnapshotError>>()?;
            unspent(SortedSet::restore_small(&members), "an odd sorted set")?
        }
        mark::SORTED_LARGE => {
            let mut scores = Table::default();
            for _ in 0..from.count(2)? {
                let member = from.bytes()?;
                if scores.insert((&member).into(), read_score(from)?).is_some() {
                    return Err(SnapshotError::Impossible("a member twice"));
                }
            }
            unspent(SortedSet::restore_large(scores), "an odd sorted set")?
        }
        form @ (mark::HASH_PACKED | mark::HASH_TABLE) => {
            let ends = from.flag()?;
            let fields = (0..from.count(2)?)
                .map(|_| {
                    let (field, value) = (from.bytes()?, from.bytes()?);
                    let at_ms = if ends { read_optional(from)? } else { None };
                    Ok((field, value, at_ms))
                })
                .collect::<Result<Vec<_>, CodecError>>()?;
            let hash = Hash::restore(form == mark::HASH_PACKED, &fields);
            unspent(hash, "an odd hash")?
        }
        mark::STREAM => read_stream(from)?.into_value(),
        other => return Err(CodecError::Mark(other).into()),
    })
}

fn possible<T>(value: Option<T>, otherwise: &'static str) -> Result<T, SnapshotError> {
    value.ok_or(SnapshotError::Impossible(otherwise))
}

/// A value that is possible, and has members.
fn unspent<K: Kind>(value: Option<K>, otherwise: &'static str) -> Result<Value, SnapshotError> {
    let value = value.filter(|value| !value.is_spent());
    possible(value, otherwise).map(Kind::into_value)
}

fn write_set<F: FnMut(Bytes)>(to: &mut Sink<F>, set: &Set) {
    if let Some((width, numbers)) = set.integers() {
        // 2, 4 or 8.
        to.byte(mark::SET_INTEGERS).byte(width as u8);
        to.length(set.len());
        for number in numbers {
            to.number(zigzag(number));
        }
    } else {
        let form = match set.is_small() {
            true => mark::SET_PACKED,
            false => mark::SET_TABLE,
        };
        to.byte(form).length(set.len());
        for member in set.iter() {
            to.bytes(&member);
        }
    }
}

fn read_set(form: SetForm) -> Result<Value, SnapshotError> {
    unspent(Set::restore(form), "an odd set")
}

fn write_pack<F: FnMut(Bytes)>(to: &mut Sink<F>, pack: &Pack) {
    to.length(pack.len());
    for item in pack.iter() {
        to.bytes(item);
    }
}

fn read_pack(from: &mut Reader) -> Result<Pack, SnapshotError> {
    let items = (0..from.count(1)?)
        .map(|_| from.bytes())
        .collect::<Result<Vec<_>, _>>()?;
    // Rows keep lengths in 32 bits.
    let is_short = |length: usize| u32::try_from(length).is_ok();
    if !is_short(items.len()) || !items.iter().all(|item| is_short(item.len())) {
        return Err(SnapshotError::Impossible("a row that is too long"));
    }
    Ok(items.iter().collect())
}

fn write_stream<F: FnMut(Bytes)>(to: &mut Sink<F>, stream: &Stream) {
    to.byte(mark::STREAM);
    write_id(to, stream.last_id());
    write_id(to, stream.max_deleted_id());
    to.number(stream.entries_added()).length(stream.len());
    for (id, fields) in stream.range(StreamId::MIN, StreamId::MAX) {
        write_id(to, id);
        write_pack(to, fields);
    }
    to.length(stream.groups().len());
    for (name, group) in stream.groups() {
        to.bytes(name);
        write_id(to, group.last_id);
        write_optional(to, group.entries_read);
        to.length(group.consumers().len());
        for (name, consumer) in group.consumers() {
            to.bytes(name).number(consumer.seen_at_ms);
            write_optional(to, consumer.active_at_ms);
        }
        to.length(group.pending().len());
        for (id, pending) in group.pending() {
            write_id(to, *id);
            to.bytes(&pending.consumer)
                .number(pending.delivered_at_ms)
                .number(pending.deliveries);
        }
    }
}

fn read_stream(from: &mut Reader) -> Result<Stream, SnapshotError> {
    let mut stream = Stream::default();
    let (last_id, max_deleted_id) = (read_id(from)?, read_id(from)?);
    let entries_added = from.number()?;
    for _ in 0..from.count(3)? {
        let id = read_id(from)?;
        if id <= stream.last_id() || id > last_id {
            return Err(SnapshotError::Impossible("a stream out of order"));
        }
        stream.add(id, read_pack(from)?);
    }
    stream.set_counters(last_id, Some(entries_added), Some(max_deleted_id));
    for _ in 0..from.count(5)? {
        let name = from.bytes()?;
        let mut group = Group::new(read_id(from)?, read_optional(from)?);
        for _ in 0..from.count(3)? {
            let name = from.bytes()?;
            group.add_consumer(&name, from.number()?);
            if let Some(active_at_ms) = read_optional(from)? {
                group.was_active(&name, active_at_ms);
            }
        }
        for _ in 0..from.count(5)? {
            let (id, consumer) = (read_id(from)?, from.bytes()?);
            if !group.consumers().contains_key(&*consumer) {
                return Err(SnapshotError::Impossible("an entry that waits for nobody"));
            }
            group.assign(id, &consumer, from.number()?, from.number()?);
        }
        if !stream.add_group(&name, group) {
            return Err(SnapshotError::Impossible("a group twice"));
        }
    }
    Ok(stream)
}

fn write_id<F: FnMut(Bytes)>(to: &mut Sink<F>, id: StreamId) {
    to.number(id.ms).number(id.seq);
}

fn read_id(from: &mut Reader) -> Result<StreamId, CodecError> {
    Ok(StreamId {
        ms: from.number()?,
        seq: from.number()?,
    })
}

/// Small numbers of either sign are short.
fn zigzag(integer: i64) -> u64 {
    ((integer << 1) ^ (integer >> 63)).cast_unsigned()
}

fn read_zigzag(from: &mut Reader) -> Result<i64, CodecError> {
    let number = from.number()?;
    Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

/// A score with its sign and exponent last: short for whole numbers.
fn score_bits(score: f64) -> u64 {
    score.to_bits().swap_bytes()
}

fn read_score(from: &mut Reader) -> Result<f64, SnapshotError> {
    let score = f64::from_bits(from.number()?.swap_bytes());
    let is_minus_nothing = score == 0.0 && score.is_sign_negative();
    if score.is_nan() || is_minus_nothing {
        return Err(SnapshotError::Impossible("a score that is none"));
    }
    Ok(score)
}
