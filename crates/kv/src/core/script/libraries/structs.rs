//! `struct`: values as C lays them out (Redis: "Lua API", struct library).

use bytes::Bytes;
use mlua::{Lua, MultiValue, Table, Value};

use crate::core::script::{
    arguments::{Fault, Given, expect_bytes, expect_number},
    limits::VALUES_MAX,
    native::{function, given},
};

/// The most bytes of a number.
const NUMBER_BYTES_MAX: usize = 8;
/// The most bytes that a format can stand for.
const PACKED_BYTES_MAX: usize = 64 << 20;

pub(in crate::core::script) fn table(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("pack", function(lua, pack)?)?;
    table.raw_set("unpack", function(lua, unpack)?)?;
    let size = |_: &Lua, args: MultiValue| {
        let format = expect_bytes(&args, 0, "size")?;
        let mut layout = Layout::new(&format);
        let mut size = 0;
        while let Some(item) = layout.next(size)? {
            match item.kind {
                Kind::Text => return Err("variable-size format for 'size'".into()),
                Kind::Bytes if item.bytes == 0 => {
                    return Err("variable-length format for 'size'".into());
                }
                _ => size = within(size + item.padding + item.bytes)?,
            }
        }
        given(Value::Number(size as f64))
    };
    table.raw_set("size", function(lua, size)?)?;
    Ok(table)
}

fn within(bytes: usize) -> Result<usize, Fault> {
    match bytes > PACKED_BYTES_MAX {
        true => Err(format!("format result too large (over {PACKED_BYTES_MAX} bytes)").into()),
        false => Ok(bytes),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Signed,
    Unsigned,
    Float,
    Double,
    /// Ends with a zero.
    Text,
    /// So many; if none, as many as the number before says, or all there are.
    Bytes,
    /// A byte that means nothing.
    Padding,
}

/// One thing of a format.
struct Item {
    kind: Kind,
    bytes: usize,
    /// Bytes before it, so that it begins where it has to.
    padding: usize,
    is_little: bool,
}

/// A format, read letter by letter.
struct Layout<'a> {
    rest: &'a [u8],
    is_little: bool,
    alignment: usize,
}

impl<'a> Layout<'a> {
    fn new(format: &'a [u8]) -> Self {
        Layout {
            rest: format,
            is_little: cfg!(target_endian = "little"),
            alignment: 1,
        }
    }

    /// The number that follows a letter.
    fn count(&mut self, otherwise: usize) -> Result<usize, Fault> {
        let is_digit = |byte: &u8| byte.is_ascii_digit();
        let length = self.rest.iter().take_while(|byte| is_digit(byte)).count();
        let (digits, rest) = self.rest.split_at(length);
        self.rest = rest;
        if digits.is_empty() {
            return Ok(otherwise);
        }
        let count = std::str::from_utf8(digits)
            .ok()
            .and_then(|it| it.parse().ok());
        within(count.ok_or("integral size overflow")?)
    }

    /// The next thing, if it begins after so many bytes.
    fn next(&mut self, at: usize) -> Result<Option<Item>, Fault> {
        while let Some((letter, rest)) = self.rest.split_first() {
            self.rest = rest;
            let (kind, bytes) = match letter {
                b' ' => continue,
                b'<' => {
                    self.is_little = true;
                    continue;
                }
                b'>' => {
                    self.is_little = false;
                    continue;
                }
                b'!' => {
                    let alignment = self.count(NUMBER_BYTES_MAX)?;
                    if !alignment.is_power_of_two() {
                        return Err("alignment is not a power of 2".into());
                    }
                    self.alignment = alignment;
                    continue;
                }
                b'b' => (Kind::Signed, 1),
                b'B' => (Kind::Unsigned, 1),
                b'h' => (Kind::Signed, 2),
                b'H' => (Kind::Unsigned, 2),
                b'l' => (Kind::Signed, 8),
                b'L' | b'T' => (Kind::Unsigned, 8),
                b'i' | b'I' => {
                    let bytes = self.count(4)?;
                    if bytes == 0 || bytes > NUMBER_BYTES_MAX {
                        return Err(format!(
                            "integral size {bytes} is larger than limit of {NUMBER_BYTES_MAX}"
                        )
                        .into());
                    }
                    let kind = match letter {
                        b'i' => Kind::Signed,
                        _ => Kind::Unsigned,
                    };
                    (kind, bytes)
                }
                b'f' => (Kind::Float, 4),
                b'd' => (Kind::Double, 8),
                b'x' => (Kind::Padding, 1),
                b'c' => (Kind::Bytes, self.count(1)?),
                b's' => (Kind::Text, 0),
                other => {
                    let letter = char::from(*other);
                    return Err(format!("invalid format option '{letter}'").into());
                }
            };
            let is_aligned = !matches!(kind, Kind::Text | Kind::Bytes | Kind::Padding);
            let to = bytes.min(self.alignment).max(1);
            let padding = match is_aligned && to.is_power_of_two() {
                true => at.next_multiple_of(to) - at,
                false => 0,
            };
            return Ok(Some(Item {
                kind,
                bytes,
                padding,
                is_little: self.is_little,
            }));
        }
        Ok(None)
    }
}

fn pack(lua: &Lua, args: MultiValue) -> Given {
    let format = expect_bytes(&args, 0, "pack")?;
    let mut layout = Layout::new(&format);
    let mut packed = Vec::new();
    let mut place = 1;
    while let Some(item) = layout.next(packed.len())? {
        within(packed.len() + item.padding + item.bytes)?;
        packed.resize(packed.len() + item.padding, 0);
        if item.kind == Kind::Padding {
            packed.push(0);
            continue;
        }
        match item.kind {
            Kind::Text | Kind::Bytes => {
                let bytes = expect_bytes(&args, place, "pack")?;
                let count = match (item.kind, item.bytes) {
                    (Kind::Bytes, count) if count > 0 => count,
                    _ => bytes.len(),
                };
                let taken = bytes.get(..count).ok_or_else(|| {
                    format!("bad argument #{} to 'pack' (string too short)", place + 1)
                })?;
                within(packed.len() + count)?;
                packed.extend_from_slice(taken);
                if item.kind == Kind::Text {
                    packed.push(0);
                }
            }
            Kind::Float => {
                let number = expect_number(&args, place, "pack")? as f32;
                append(&mut packed, &number.to_be_bytes(), &item);
            }
            Kind::Double => {
                let number = expect_number(&args, place, "pack")?;
                append(&mut packed, &number.to_be_bytes(), &item);
            }
            _ => {
                let number = expect_number(&args, place, "pack")?;
                // What is negative keeps its bits, and what is large has all of them.
                let bits = match number < 0.0 {
                    true => (number as i64).cast_unsigned(),
                    false => number as u64,
                };
                append(&mut packed, &bits.to_be_bytes()[8 - item.bytes..], &item);
            }
        }
        place += 1;
    }
    given(Value::String(lua.create_string(packed)?))
}

/// Bytes of a number, the highest first.
fn append(packed: &mut Vec<u8>, number: &[u8], item: &Item) {
    if item.is_little {
        packed.extend(number.iter().rev());
    } else {
        packed.extend_from_slice(number);
    }
}

fn unpack(lua: &Lua, args: MultiValue) -> Given {
    let format = expect_bytes(&args, 0, "unpack")?;
    let data = expect_bytes(&args, 1, "unpack")?;
    let mut at = match args.get(2) {
        None | Some(Value::Nil) => 0,
        // Places count from 1; what is below is none.
        Some(_) => (expect_number(&args, 2, "unpack")? as usize)
            .checked_sub(1)
            .ok_or("offset must be 1 or greater")?,
    };
    let mut layout = Layout::new(&format);
    let mut values: Vec<Value> = Vec::new();
    while let Some(item) = layout.next(at)? {
        if values.len() == VALUES_MAX - 2 {
            return Err("too many results to unpack".into());
        }
        at = at.saturating_add(item.padding);
        at = read(lua, &data, at, &item, &mut values)?;
    }
    values.push(Value::Number((at + 1) as f64));
    Ok(MultiValue::from_vec(values))
}

/// Reads one thing; where the next one begins.
fn read(
    lua: &Lua,
    data: &Bytes,
    at: usize,
    item: &Item,
    values: &mut Vec<Value>,
) -> Result<usize, Fault> {
    let rest = data.get(at..).ok_or("data string too short")?;
    let count = match item.kind {
        Kind::Text => {
            let end = rest.iter().position(|byte| *byte == 0);
            end.ok_or("unfinished string in data")?
        }
        // As many as the number before says, which is none of the results.
        Kind::Bytes if item.bytes == 0 => match values.pop() {
            Some(Value::Number(number)) if number >= 0.0 => number as usize,
            _ => return Err("format 'c0' needs a previous size".into()),
        },
        _ => item.bytes,
    };
    let bytes = rest.get(..count).ok_or("data string too short")?;
    let mut number = [0; 8];
    for (place, byte) in number.iter_mut().zip(bytes) {
        *place = *byte;
    }
    if item.is_little {
        number[..count.min(8)].reverse();
    }
    // The highest first, and nothing after the lowest.
    let shift = 64 - 8 * u32::try_from(count.clamp(1, 8)).unwrap_or(8);
    let bits = u64::from_be_bytes(number);
    let value = match item.kind {
        Kind::Padding => return Ok(at + 1),
        Kind::Text | Kind::Bytes => Value::String(lua.create_string(bytes)?),
        Kind::Signed => Value::Number((bits.cast_signed() >> shift) as f64),
        Kind::Unsigned => Value::Number((bits >> shift) as f64),
        Kind::Float => {
            let [first, second, third, fourth, ..] = number;
            Value::Number(f64::from(f32::from_be_bytes([
                first, second, third, fourth,
            ])))
        }
        Kind::Double => Value::Number(f64::from_be_bytes(number)),
    };
    values.push(value);
    Ok(at + count + usize::from(item.kind == Kind::Text))
}
