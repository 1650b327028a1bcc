//! Replies as values of Lua, and values of Lua as replies (Redis: "Data type conversion").

use bytes::Bytes;
use mlua::{Lua, Table, Value};

use super::{
    arguments::{Fault, bytes, number},
    limits::{REPLY_BYTES_MAX, REPLY_DEPTH_MAX, REPLY_ITEMS_MAX},
};
use crate::core::{number::format_double, reply::Reply};

/// A reply as a script sees it: in RESP3's types, if it asked for these. Whether it is an error
/// is for the caller to tell.
pub(super) fn to_lua(lua: &Lua, reply: &Reply, resp3: bool) -> mlua::Result<Value> {
    let string = |bytes: &[u8]| lua.create_string(bytes).map(Value::String);
    let field = |name: &str, value: Value| {
        let table = lua.create_table()?;
        table.raw_set(name, value)?;
        Ok(Value::Table(table))
    };
    match reply {
        Reply::Status(text) => field("ok", string(text.as_bytes())?),
        Reply::Simple(text) => field("ok", string(text)?),
        Reply::Error(text) => field("err", string(text)?),
        Reply::Integer(integer) => Ok(Value::Number(*integer as f64)),
        Reply::Bulk(bytes) => string(bytes),
        Reply::Null | Reply::NullArray if resp3 => Ok(Value::Nil),
        Reply::Null | Reply::NullArray => Ok(Value::Boolean(false)),
        Reply::Boolean(truth) if resp3 => Ok(Value::Boolean(*truth)),
        Reply::Boolean(truth) => Ok(Value::Number(f64::from(u8::from(*truth)))),
        Reply::Double(number) if resp3 => field("double", Value::Number(*number)),
        Reply::Double(number) => string(format_double(*number).as_bytes()),
        Reply::BigNumber(digits) if resp3 => field("big_number", string(digits)?),
        Reply::BigNumber(digits) => string(digits),
        Reply::Verbatim(text) if resp3 => {
            let table = lua.create_table()?;
            table.raw_set("string", string(text)?)?;
            table.raw_set("format", "txt")?;
            field("verbatim_string", Value::Table(table))
        }
        Reply::Verbatim(text) => string(text),
        Reply::Set(items) if resp3 => {
            let table = lua.create_table()?;
            for item in items {
                set(&table, to_lua(lua, item, resp3)?, Value::Boolean(true))?;
            }
            field("set", Value::Table(table))
        }
        Reply::Array(items) | Reply::Set(items) => {
            let table = lua.create_table_with_capacity(items.len(), 0)?;
            for (place, item) in items.iter().enumerate() {
                table.raw_set(place + 1, to_lua(lua, item, resp3)?)?;
            }
            Ok(Value::Table(table))
        }
        Reply::Map(pairs) | Reply::PairsOrMap(pairs) if resp3 => {
            let table = lua.create_table()?;
            for (key, value) in pairs {
                set(&table, to_lua(lua, key, resp3)?, to_lua(lua, value, resp3)?)?;
            }
            field("map", Value::Table(table))
        }
        Reply::Map(pairs) => flat(lua, pairs, resp3),
        Reply::Pairs(pairs) if !resp3 => flat(lua, pairs, resp3),
        Reply::Pairs(pairs) | Reply::PairsOrMap(pairs) => {
            let table = lua.create_table_with_capacity(pairs.len(), 0)?;
            for (place, (key, value)) in pairs.iter().enumerate() {
                let two = [to_lua(lua, key, resp3)?, to_lua(lua, value, resp3)?];
                table.raw_set(place + 1, lua.create_sequence_from(two)?)?;
            }
            Ok(Value::Table(table))
        }
    }
}

/// Nothing and no number can't be keys.
fn set(table: &Table, key: Value, value: Value) -> mlua::Result<()> {
    match key {
        Value::Nil => Ok(()),
        Value::Number(number) if number.is_nan() => Ok(()),
        key => table.raw_set(key, value),
    }
}

fn flat(lua: &Lua, pairs: &[(Reply, Reply)], resp3: bool) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(2 * pairs.len(), 0)?;
    for (place, (key, value)) in pairs.iter().enumerate() {
        table.raw_set(2 * place + 1, to_lua(lua, key, resp3)?)?;
        table.raw_set(2 * place + 2, to_lua(lua, value, resp3)?)?;
    }
    Ok(Value::Table(table))
}

/// What a script returned, as a reply. Metatables do not matter.
///
/// # Errors
/// It is deeper or larger than a reply may be.
pub(super) fn to_reply(value: &Value, resp3: bool) -> Result<Reply, Fault> {
    let mut room = Room {
        items: REPLY_ITEMS_MAX,
        bytes: REPLY_BYTES_MAX,
    };
    one(value, resp3, REPLY_DEPTH_MAX, &mut room)
}

/// What a reply may still hold.
struct Room {
    items: usize,
    bytes: usize,
}

impl Room {
    fn take(&mut self, bytes: usize) -> Result<(), Fault> {
        let left = self.items.checked_sub(1).zip(self.bytes.checked_sub(bytes));
        let (items, bytes) = left.ok_or_else(|| {
            format!(
                "ERR a script's reply has at most {REPLY_ITEMS_MAX} parts and \
                 {REPLY_BYTES_MAX} bytes"
            )
        })?;
        *self = Room { items, bytes };
        Ok(())
    }
}

fn one(value: &Value, resp3: bool, depth: usize, room: &mut Room) -> Result<Reply, Fault> {
    room.take(0)?;
    let table = match value {
        Value::String(string) => {
            let bytes = string.as_bytes();
            room.take(bytes.len())?;
            return Ok(Reply::bulk(bytes));
        }
        // A fraction is cut off.
        Value::Integer(integer) => return Ok(Reply::Integer(*integer)),
        Value::Number(number) => return Ok(Reply::Integer(*number as i64)),
        Value::Boolean(truth) if resp3 => return Ok(Reply::Boolean(*truth)),
        Value::Boolean(true) => return Ok(Reply::Integer(1)),
        Value::Table(table) => table,
        _ => return Ok(Reply::Null),
    };
    let depth = depth.checked_sub(1).ok_or("ERR reached lua stack limit")?;
    if let Some(reply) = special(table, resp3, depth, room)? {
        return Ok(reply);
    }
    let mut items = Vec::new();
    loop {
        let item: Value = table.raw_get(items.len() + 1)?;
        if item.is_nil() {
            return Ok(Reply::Array(items));
        }
        items.push(one(&item, resp3, depth, room)?);
    }
}

/// Tables with one of the names that mean something.
fn special(
    table: &Table,
    resp3: bool,
    depth: usize,
    room: &mut Room,
) -> Result<Option<Reply>, Fault> {
    let text = |name: &str, room: &mut Room| -> Result<Option<Bytes>, Fault> {
        let text = match table.raw_get(name)? {
            Value::String(string) => Bytes::copy_from_slice(&string.as_bytes()),
            _ => return Ok(None),
        };
        room.take(text.len())?;
        Ok(Some(text))
    };
    if let Some(text) = text("err", room)? {
        return Ok(Some(Reply::Error(error_text(text))));
    }
    if let Some(text) = text("ok", room)? {
        return Ok(Some(Reply::Simple(one_line(text))));
    }
    if let value @ (Value::Integer(_) | Value::Number(_)) = table.raw_get("double")? {
        return Ok(number(&value).map(Reply::Double));
    }
    if let Value::Table(map) = table.raw_get("map")? {
        let mut pairs = Vec::new();
        for pair in map.pairs::<Value, Value>() {
            let (key, value) = pair?;
            let key = one(&key, resp3, depth, room)?;
            pairs.push((key, one(&value, resp3, depth, room)?));
        }
        return Ok(Some(Reply::Map(pairs)));
    }
    if let Value::Table(set) = table.raw_get("set")? {
        let mut items = Vec::new();
        for pair in set.pairs::<Value, Value>() {
            items.push(one(&pair?.0, resp3, depth, room)?);
        }
        return Ok(Some(Reply::Set(items)));
    }
    if let Some(digits) = text("big_number", room)? {
        return Ok(Some(Reply::BigNumber(one_line(digits))));
    }
    if let Value::Table(verbatim) = table.raw_get("verbatim_string")? {
        let text = bytes(&verbatim.raw_get::<Value>("string")?);
        if let Some(text) = text {
            room.take(text.len())?;
            return Ok(Some(Reply::Verbatim(text)));
        }
    }
    Ok(None)
}

/// The text of an error; a mark before it, as the protocol has one, is none of it.
fn error_text(text: Bytes) -> Bytes {
    match text.strip_prefix(b"-") {
        Some(rest) => text.slice_ref(rest),
        None => text,
    }
}

/// Line ends would end the reply.
fn one_line(text: Bytes) -> Bytes {
    if !text.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return text;
    }
    let space = |byte: &u8| match byte {
        b'\r' | b'\n' => b' ',
        other => *other,
    };
    text.iter().map(space).collect()
}
