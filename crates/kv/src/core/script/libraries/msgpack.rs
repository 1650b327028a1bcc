//! `cmsgpack`: MessagePack (msgpack.org, "MessagePack specification"), written as Redis's
//! library writes it.

use mlua::{Lua, MultiValue, Table, Value};

use super::{msgpack_read, places};
use crate::core::script::{
    arguments::{Fault, expect_bytes, expect_number},
    native::{function, given},
};

/// Tables within tables; what is deeper becomes nothing.
const DEPTH_MAX: usize = 16;
/// The most bytes that are written.
const PACKED_BYTES_MAX: usize = 64 << 20;

pub(in crate::core::script) fn table(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("_NAME", "cmsgpack")?;
    table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    let pack = |lua: &Lua, args: MultiValue| {
        if args.is_empty() {
            return Err("bad argument #0 to 'pack' (MessagePack pack needs input.)".into());
        }
        let mut packed = Vec::new();
        for value in &args {
            write(&mut packed, value, 0)?;
        }
        given(Value::String(lua.create_string(packed)?))
    };
    table.raw_set("pack", function(lua, pack)?)?;
    let unpack = |lua: &Lua, args: MultiValue| {
        let packed = expect_bytes(&args, 0, "unpack")?;
        Ok(msgpack_read::read(lua, &packed, usize::MAX)?.0)
    };
    table.raw_set("unpack", function(lua, unpack)?)?;
    let some = |lua: &Lua, args: &MultiValue, limit: usize, offset: f64| {
        let packed = expect_bytes(args, 0, "unpack")?;
        if offset < 0.0 || limit == 0 {
            return Err(format!(
                "Invalid request to unpack with offset of {offset} and limit of {limit}."
            )
            .into());
        }
        // Of a fraction the rest is left out, and what does not fit is too far.
        let offset = offset as usize;
        let rest = packed.get(offset..).ok_or_else(|| {
            format!(
                "Start offset {offset} greater than input length {}.",
                packed.len()
            )
        })?;
        let (mut values, read) = msgpack_read::read(lua, rest, limit)?;
        let next = match read == rest.len() {
            true => -1.0,
            false => (offset + read) as f64,
        };
        values.push_front(Value::Number(next));
        Ok::<_, Fault>(values)
    };
    let one = move |lua: &Lua, args: MultiValue| {
        let offset = match args.get(1) {
            None | Some(Value::Nil) => 0.0,
            Some(_) => expect_number(&args, 1, "unpack_one")?,
        };
        some(lua, &args, 1, offset)
    };
    table.raw_set("unpack_one", function(lua, one)?)?;
    let limited = move |lua: &Lua, args: MultiValue| {
        // What is negative is none.
        let limit = expect_number(&args, 1, "unpack_limit")? as usize;
        let offset = match args.get(2) {
            None | Some(Value::Nil) => 0.0,
            Some(_) => expect_number(&args, 2, "unpack_limit")?,
        };
        some(lua, &args, limit, offset)
    };
    table.raw_set("unpack_limit", function(lua, limited)?)?;
    Ok(table)
}

fn write(to: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), Fault> {
    if to.len() > PACKED_BYTES_MAX {
        return Err(format!("cmsgpack.pack writes at most {PACKED_BYTES_MAX} bytes").into());
    }
    match value {
        Value::Boolean(false) => to.push(0xc2),
        Value::Boolean(true) => to.push(0xc3),
        Value::Integer(integer) => write_integer(to, *integer),
        Value::Number(number) => write_double(to, *number),
        Value::String(string) => {
            let bytes = string.as_bytes();
            let marks = [(0xd9, 1), (0xda, 2), (0xdb, 4)];
            write_length(to, bytes.len(), (0xa0, 32), &marks);
            to.extend_from_slice(&bytes);
        }
        Value::Table(table) if depth < DEPTH_MAX => write_table(to, table, depth + 1)?,
        // Nothing, and what there is no form for.
        _ => to.push(0xc0),
    }
    Ok(())
}

fn write_integer(to: &mut Vec<u8>, integer: i64) {
    let bytes = integer.to_be_bytes();
    let (mark, count) = match integer {
        -32..=127 => {
            to.push(bytes[7]);
            return;
        }
        128..=0xff => (0xcc, 1),
        0x100..=0xffff => (0xcd, 2),
        0x1_0000..=0xffff_ffff => (0xce, 4),
        0x1_0000_0000.. => (0xcf, 8),
        -128..=-33 => (0xd0, 1),
        -32_768..=-129 => (0xd1, 2),
        -2_147_483_648..=-32_769 => (0xd2, 4),
        _ => (0xd3, 8),
    };
    to.push(mark);
    to.extend_from_slice(&bytes[8 - count..]);
}

/// Half as long where nothing is lost by it.
fn write_double(to: &mut Vec<u8>, number: f64) {
    let half = number as f32;
    if f64::from(half) == number {
        to.push(0xca);
        to.extend_from_slice(&half.to_be_bytes());
    } else {
        to.push(0xcb);
        to.extend_from_slice(&number.to_be_bytes());
    }
}

/// A length: within its mark where it is short, else after one of these, which are followed by
/// so many bytes.
fn write_length(to: &mut Vec<u8>, length: usize, short: (u8, usize), marks: &[(u8, usize)]) {
    if length < short.1 {
        // Below 32.
        to.push(short.0 | length as u8);
        return;
    }
    let length = (length as u64).to_be_bytes();
    let needed = 8 - length.iter().take_while(|byte| **byte == 0).count();
    let fits = marks.iter().find(|(_, bytes)| *bytes >= needed);
    // Lua's strings and tables are far below what four bytes can tell.
    if let Some((mark, bytes)) = fits.or(marks.last()) {
        to.push(*mark);
        to.extend_from_slice(&length[8 - bytes..]);
    }
}

fn write_table(to: &mut Vec<u8>, table: &Table, depth: usize) -> Result<(), Fault> {
    match places(table)? {
        Some((last, filled)) if last == filled => {
            write_length(to, last, (0x90, 16), &[(0xdc, 2), (0xdd, 4)]);
            for place in 1..=last {
                write(to, &table.raw_get(place)?, depth)?;
            }
        }
        _ => {
            let count = table.pairs::<Value, Value>().count();
            write_length(to, count, (0x80, 16), &[(0xde, 2), (0xdf, 4)]);
            for pair in table.pairs::<Value, Value>() {
                let (key, value) = pair?;
                write(to, &key, depth)?;
                write(to, &value, depth)?;
            }
        }
    }
    Ok(())
}
