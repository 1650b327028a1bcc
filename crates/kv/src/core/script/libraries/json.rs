//! `cjson`: writing JSON, and what of it can be set.

use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use super::{json_read, places};
use crate::core::script::{
    arguments::{Fault, Given, expect_bytes, expect_number, format_number},
    native::{Shared, function, given},
};

/// The longest text that is written, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 20;
/// The greatest depth that can be asked for: each level takes room on the stack.
const DEPTH_MAX: usize = 1_000;
/// Digits of a number at the most.
const PRECISION_MAX: usize = 16;

/// What scripts can set, until they end.
#[derive(Clone, Copy, Debug)]
pub(in crate::core::script) struct Settings {
    /// What to do with arrays that have more holes than this allows.
    sparse: Sparse,
    encode_depth_max: usize,
    pub(super) decode_depth_max: usize,
    /// Digits of a number.
    precision: usize,
    encode_invalid: Invalid,
    pub(super) decode_invalid: bool,
}

#[derive(Clone, Copy, Debug)]
struct Sparse {
    /// They become objects; else they are refused.
    becomes_object: bool,
    /// Places for each element; 0 allows any number.
    ratio: usize,
    /// Up to so many places are always allowed.
    safe: usize,
}

/// What to do with numbers that JSON has none of.
#[derive(Clone, Copy, Debug)]
enum Invalid {
    Refused,
    Written,
    Null,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            sparse: Sparse {
                becomes_object: false,
                ratio: 2,
                safe: 10,
            },
            encode_depth_max: DEPTH_MAX,
            decode_depth_max: DEPTH_MAX,
            precision: 14,
            encode_invalid: Invalid::Refused,
            decode_invalid: true,
        }
    }
}

pub(in crate::core::script) fn table(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    table.raw_set("null", Value::NULL)?;
    let of = shared.clone();
    let encode = move |lua: &Lua, args: MultiValue| {
        let [value] = args.as_slices().0 else {
            return Err("bad argument #1 to 'encode' (expected 1 argument)".into());
        };
        let mut text = Vec::new();
        write(&mut text, &of.json.get(), value, 0)?;
        given(Value::String(lua.create_string(text)?))
    };
    table.raw_set("encode", function(lua, encode)?)?;
    let of = shared.clone();
    let decode = move |lua: &Lua, args: MultiValue| {
        if args.len() != 1 {
            return Err("bad argument #1 to 'decode' (expected 1 argument)".into());
        }
        let text = expect_bytes(&args, 0, "decode")?;
        given(json_read::read(lua, &text, &of.json.get())?)
    };
    table.raw_set("decode", function(lua, decode)?)?;
    let set = |name: &'static str, f: fn(&mut Settings, &MultiValue) -> Given| {
        let of = shared.clone();
        let set = function(lua, move |_, args| {
            let mut settings = of.json.get();
            let given = f(&mut settings, &args)?;
            of.json.set(settings);
            Ok(given)
        })?;
        table.raw_set(name, set)
    };
    set("encode_sparse_array", set_sparse)?;
    set("encode_max_depth", |settings, args| {
        count(args, 0, 1..=DEPTH_MAX, &mut settings.encode_depth_max)
    })?;
    set("decode_max_depth", |settings, args| {
        count(args, 0, 1..=DEPTH_MAX, &mut settings.decode_depth_max)
    })?;
    set("encode_number_precision", |settings, args| {
        count(args, 0, 1..=PRECISION_MAX, &mut settings.precision)
    })?;
    set("encode_invalid_numbers", set_encode_invalid)?;
    set("decode_invalid_numbers", |settings, args| {
        truth(args, 0, &mut settings.decode_invalid)
    })?;
    // There is no buffer to keep.
    set("encode_keep_buffer", |_, args| {
        let mut keeps = true;
        truth(args, 0, &mut keeps)
    })?;
    Ok(table)
}

/// Sets a number, if one is given, and tells what holds now.
fn count(
    args: &MultiValue,
    place: usize,
    range: std::ops::RangeInclusive<usize>,
    setting: &mut usize,
) -> Given {
    if args.get(place).is_some_and(|value| !value.is_nil()) {
        let number = expect_number(args, place, "?")?;
        let (low, high) = (*range.start(), *range.end());
        // What does not fit is out of range, too.
        let number = number as usize;
        if !range.contains(&number) {
            let text = format!(
                "bad argument #{} to '?' (expected integer between {low} and {high})",
                place + 1
            );
            return Err(text.into());
        }
        *setting = number;
    }
    given(Value::Number(*setting as f64))
}

fn truth(args: &MultiValue, place: usize, setting: &mut bool) -> Given {
    match args.get(place) {
        None | Some(Value::Nil) => {}
        Some(Value::Boolean(truth)) => *setting = *truth,
        Some(Value::String(word)) if word.as_bytes() == *b"on" => *setting = true,
        Some(Value::String(word)) if word.as_bytes() == *b"off" => *setting = false,
        Some(_) => return Err("bad argument #1 to '?' (invalid option)".into()),
    }
    given(Value::Boolean(*setting))
}

fn set_sparse(settings: &mut Settings, args: &MultiValue) -> Given {
    let sparse = &mut settings.sparse;
    let mut all = truth(args, 0, &mut sparse.becomes_object)?;
    all.extend(count(args, 1, 0..=usize::MAX >> 12, &mut sparse.ratio)?);
    all.extend(count(args, 2, 0..=usize::MAX >> 12, &mut sparse.safe)?);
    Ok(all)
}

fn set_encode_invalid(settings: &mut Settings, args: &MultiValue) -> Given {
    let is_null = matches!(args.front(), Some(Value::String(word)) if word.as_bytes() == *b"null");
    if is_null {
        settings.encode_invalid = Invalid::Null;
    } else {
        let mut written = matches!(settings.encode_invalid, Invalid::Written);
        truth(args, 0, &mut written)?;
        if args.front().is_some() {
            settings.encode_invalid = match written {
                true => Invalid::Written,
                false => Invalid::Refused,
            };
        }
    }
    given(match settings.encode_invalid {
        Invalid::Refused => Value::Boolean(false),
        Invalid::Written | Invalid::Null => Value::Boolean(true),
    })
}

fn write(to: &mut Vec<u8>, settings: &Settings, value: &Value, depth: usize) -> Result<(), Fault> {
    if to.len() > TEXT_BYTES_MAX {
        return Err(format!("Cannot serialise more than {TEXT_BYTES_MAX} bytes").into());
    }
    match value {
        Value::Nil => to.extend_from_slice(b"null"),
        null if null.is_null() => to.extend_from_slice(b"null"),
        Value::Boolean(true) => to.extend_from_slice(b"true"),
        Value::Boolean(false) => to.extend_from_slice(b"false"),
        Value::Integer(integer) => write_number(to, settings, *integer as f64)?,
        Value::Number(number) => write_number(to, settings, *number)?,
        Value::String(string) => write_string(to, &string.as_bytes()),
        Value::Table(table) => write_table(to, settings, table, depth + 1)?,
        other => {
            let kind = other.type_name();
            return Err(format!("Cannot serialise {kind}: type not supported").into());
        }
    }
    Ok(())
}

fn write_number(to: &mut Vec<u8>, settings: &Settings, number: f64) -> Result<(), Fault> {
    if number.is_finite() {
        to.extend_from_slice(format_number(number, settings.precision).as_bytes());
        return Ok(());
    }
    match settings.encode_invalid {
        Invalid::Refused => Err("Cannot serialise number: must not be NaN or Inf".into()),
        Invalid::Null => {
            to.extend_from_slice(b"null");
            Ok(())
        }
        Invalid::Written => {
            let text: &[u8] = match number {
                f64::INFINITY => b"Infinity",
                f64::NEG_INFINITY => b"-Infinity",
                _ => b"NaN",
            };
            to.extend_from_slice(text);
            Ok(())
        }
    }
}

fn write_string(to: &mut Vec<u8>, bytes: &[u8]) {
    to.push(b'"');
    for byte in bytes {
        match byte {
            b'"' => to.extend_from_slice(b"\\\""),
            b'\\' => to.extend_from_slice(b"\\\\"),
            b'/' => to.extend_from_slice(b"\\/"),
            0x08 => to.extend_from_slice(b"\\b"),
            b'\t' => to.extend_from_slice(b"\\t"),
            b'\n' => to.extend_from_slice(b"\\n"),
            0x0c => to.extend_from_slice(b"\\f"),
            b'\r' => to.extend_from_slice(b"\\r"),
            0..0x20 | 0x7f => to.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            byte => to.push(*byte),
        }
    }
    to.push(b'"');
}

fn write_table(
    to: &mut Vec<u8>,
    settings: &Settings,
    table: &Table,
    depth: usize,
) -> Result<(), Fault> {
    if depth > settings.encode_depth_max {
        return Err(format!("Cannot serialise, excessive depth ({depth})").into());
    }
    let Some(last) = array(settings, table)? else {
        return write_object(to, settings, table, depth);
    };
    to.push(b'[');
    for place in 1..=last {
        if place > 1 {
            to.push(b',');
        }
        write(to, settings, &table.raw_get(place)?, depth)?;
    }
    to.push(b']');
    Ok(())
}

/// The last place of an array; none, if the table is written as an object.
fn array(settings: &Settings, table: &Table) -> Result<Option<usize>, Fault> {
    let sparse = settings.sparse;
    match places(table)? {
        None | Some((0, _)) => Ok(None),
        Some((last, filled))
            if sparse.ratio > 0
                && last > filled.saturating_mul(sparse.ratio)
                && last > sparse.safe =>
        {
            match sparse.becomes_object {
                true => Ok(None),
                false => Err("Cannot serialise table: excessively sparse array".into()),
            }
        }
        Some((last, _)) => Ok(Some(last)),
    }
}

fn write_object(
    to: &mut Vec<u8>,
    settings: &Settings,
    table: &Table,
    depth: usize,
) -> Result<(), Fault> {
    to.push(b'{');
    let mut is_first = true;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        if !std::mem::take(&mut is_first) {
            to.push(b',');
        }
        match &key {
            Value::String(name) => write_string(to, &name.as_bytes()),
            Value::Integer(_) | Value::Number(_) => {
                to.push(b'"');
                write(to, settings, &key, depth)?;
                to.push(b'"');
            }
            other => {
                let kind = other.type_name();
                return Err(format!(
                    "Cannot serialise {kind}: table key must be a number or string"
                )
                .into());
            }
        }
        to.push(b':');
        write(to, settings, &value, depth)?;
    }
    to.push(b'}');
    Ok(())
}
