//! Values into their plain encodings.

use super::{kind, stream};
use crate::core::data::{Hash, RedisString, Value, parse_integer};

/// The type and the value.
pub(super) fn value(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        Value::String(text) => {
            out.push(kind::STRING);
            string(&mut out, &RedisString::bytes(text));
        }
        Value::List(list) => {
            out.push(kind::LIST);
            count(&mut out, list.len() as u64);
            list.iter().for_each(|item| string(&mut out, item));
        }
        Value::Set(set) => {
            out.push(kind::SET);
            count(&mut out, set.len() as u64);
            set.iter().for_each(|member| string(&mut out, &member));
        }
        Value::SortedSet(set) => {
            out.push(kind::SORTED_SET_BINARY);
            count(&mut out, set.len() as u64);
            for (member, score) in set.iter() {
                string(&mut out, member);
                out.extend_from_slice(&score.to_le_bytes());
            }
        }
        Value::Hash(fields) => hash(&mut out, fields),
        Value::Stream(entries) => {
            out.push(kind::STREAM_ACTIVE);
            stream::write(&mut out, entries);
        }
    }
    out
}

/// Fields that end come with what their moment is beyond the first one, plus 1; others with 0.
fn hash(out: &mut Vec<u8>, hash: &Hash) {
    let times = hash
        .iter_stored()
        .filter_map(|(field, _)| hash.expires_at(field));
    let first_ms = times.min();
    match first_ms {
        Some(first_ms) => {
            out.push(kind::HASH_WITH_TIMES);
            out.extend_from_slice(&first_ms.to_le_bytes());
        }
        None => out.push(kind::HASH),
    }
    count(out, hash.stored() as u64);
    for (field, value) in hash.iter_stored() {
        if let Some(first_ms) = first_ms {
            let after = hash.expires_at(field).map(|at_ms| at_ms - first_ms + 1);
            count(out, after.unwrap_or(0));
        }
        string(out, field);
        string(out, value);
    }
}

/// A length, as short as it can be.
pub(super) fn count(out: &mut Vec<u8>, count: u64) {
    match (
        u8::try_from(count),
        u16::try_from(count),
        u32::try_from(count),
    ) {
        (Ok(short), _, _) if short < 1 << 6 => out.push(short),
        (_, Ok(short), _) if short < 1 << 14 => {
            out.extend_from_slice(&(short | 1 << 14).to_be_bytes());
        }
        (_, _, Ok(long)) => {
            out.push(0x80);
            out.extend_from_slice(&long.to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&count.to_be_bytes());
        }
    }
}

/// A string; a number of up to four bytes as one.
pub(super) fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    let number = parse_integer(bytes).and_then(|number| i32::try_from(number).ok());
    let Some(number) = number else {
        count(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
        return;
    };
    match (i8::try_from(number), i16::try_from(number)) {
        (Ok(number), _) => {
            out.push(0xc0);
            out.extend_from_slice(&number.to_le_bytes());
        }
        (_, Ok(number)) => {
            out.push(0xc1);
            out.extend_from_slice(&number.to_le_bytes());
        }
        _ => {
            out.push(0xc2);
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
}
