//! `cmsgpack`: reading MessagePack.

use bytes::Buf as _;
use mlua::{Lua, MultiValue, Value};

use crate::core::script::{arguments::Fault, limits::VALUES_MAX};

/// Arrays and maps within others, at the most.
const DEPTH_MAX: usize = 128;

/// At most so many values from the front of these bytes, and how many bytes they took.
pub(super) fn read(lua: &Lua, packed: &[u8], limit: usize) -> Result<(MultiValue, usize), Fault> {
    let mut reader = Reader { lua, rest: packed };
    let mut values = MultiValue::new();
    while !reader.rest.is_empty() && values.len() < limit {
        if values.len() == VALUES_MAX - 2 {
            return Err("Too many values to unpack at once.".into());
        }
        values.push_back(reader.value(DEPTH_MAX)?);
    }
    Ok((values, packed.len() - reader.rest.len()))
}

struct Reader<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or("Missing bytes in input.")?;
        self.rest = rest;
        Ok(taken)
    }

    /// A number of so many bytes without a sign.
    fn unsigned(&mut self, bytes: usize) -> Result<u64, Fault> {
        Ok(self.take(bytes)?.get_uint(bytes))
    }

    fn signed(&mut self, bytes: usize) -> Result<Value, Fault> {
        Ok(Value::Number(self.take(bytes)?.get_int(bytes) as f64))
    }

    fn length(&mut self, bytes: usize) -> Result<usize, Fault> {
        usize::try_from(self.unsigned(bytes)?).map_err(|_| "Missing bytes in input.".into())
    }

    fn string(&mut self, length: usize) -> Result<Value, Fault> {
        Ok(Value::String(self.lua.create_string(self.take(length)?)?))
    }

    fn value(&mut self, depth: usize) -> Result<Value, Fault> {
        let mark = self.take(1)?[0];
        match mark {
            0x00..=0x7f => Ok(Value::Number(f64::from(mark))),
            0xe0..=0xff => Ok(Value::Number(f64::from(mark.cast_signed()))),
            0x80..=0x8f => self.map(usize::from(mark & 0x0f), depth),
            0x90..=0x9f => self.array(usize::from(mark & 0x0f), depth),
            0xa0..=0xbf => self.string(usize::from(mark & 0x1f)),
            0xc0 => Ok(Value::Nil),
            0xc2 | 0xc3 => Ok(Value::Boolean(mark == 0xc3)),
            0xca => Ok(Value::Number(f64::from(self.take(4)?.get_f32()))),
            0xcb => Ok(Value::Number(self.take(8)?.get_f64())),
            0xcc..=0xcf => Ok(Value::Number(self.unsigned(1 << (mark - 0xcc))? as f64)),
            0xd0..=0xd3 => self.signed(1 << (mark - 0xd0)),
            0xc4..=0xc6 => {
                let length = self.length(1 << (mark - 0xc4))?;
                self.string(length)
            }
            0xd9..=0xdb => {
                let length = self.length(1 << (mark - 0xd9))?;
                self.string(length)
            }
            0xdc | 0xdd => {
                let count = self.length(2 << (mark - 0xdc))?;
                self.array(count, depth)
            }
            0xde | 0xdf => {
                let count = self.length(2 << (mark - 0xde))?;
                self.map(count, depth)
            }
            // One that nobody uses, and those of extensions.
            0xc1 | 0xc7..=0xc9 | 0xd4..=0xd8 => Err("Bad data format in input.".into()),
        }
    }

    /// Room for so many is made as they come: a count may claim anything.
    fn array(&mut self, count: usize, depth: usize) -> Result<Value, Fault> {
        let depth = depth.checked_sub(1).ok_or("Bad data format in input.")?;
        let table = self.lua.create_table()?;
        for place in 1..=count {
            table.raw_set(place, self.value(depth)?)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, count: usize, depth: usize) -> Result<Value, Fault> {
        let depth = depth.checked_sub(1).ok_or("Bad data format in input.")?;
        let table = self.lua.create_table()?;
        for _ in 0..count {
            let (key, value) = (self.value(depth)?, self.value(depth)?);
            let is_key = match &key {
                Value::Nil => false,
                Value::Number(number) => !number.is_nan(),
                _ => true,
            };
            if !is_key {
                return Err("Bad data format in input.".into());
            }
            table.raw_set(key, value)?;
        }
        Ok(Value::Table(table))
    }
}
