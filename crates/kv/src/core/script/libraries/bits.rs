//! `bit`: operations on the bits of numbers of 32 bits, as LuaJIT's library of that name has them.

use mlua::{Lua, MultiValue, Table, Value};

use crate::core::script::{
    arguments::{Fault, Given, expect_number},
    native::{function, given},
};

pub(in crate::core::script) fn table(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let add = |name: &'static str, f: fn(&Lua, &'static str, &MultiValue) -> Given| {
        table.raw_set(name, function(lua, move |lua, args| f(lua, name, &args))?)
    };
    add("tobit", |_, name, args| number(bits(args, 0, name)?))?;
    add("bnot", |_, name, args| number(!bits(args, 0, name)?))?;
    add("bswap", |_, name, args| {
        number(bits(args, 0, name)?.swap_bytes())
    })?;
    add("band", |_, name, args| fold(name, args, |a, b| a & b))?;
    add("bor", |_, name, args| fold(name, args, |a, b| a | b))?;
    add("bxor", |_, name, args| fold(name, args, |a, b| a ^ b))?;
    add("lshift", |_, name, args| shift(name, args, |a, n| a << n))?;
    add("rshift", |_, name, args| {
        shift(name, args, |a, n| (a.cast_unsigned() >> n).cast_signed())
    })?;
    add("arshift", |_, name, args| shift(name, args, |a, n| a >> n))?;
    add("rol", |_, name, args| shift(name, args, i32::rotate_left))?;
    add("ror", |_, name, args| shift(name, args, i32::rotate_right))?;
    add("tohex", tohex)?;
    Ok(table)
}

/// A number as 32 bits: rounded, and what is above falls off.
fn bits(args: &MultiValue, place: usize, name: &str) -> Result<i32, Fault> {
    let number = expect_number(args, place, name)?;
    let wrapped = number.round_ties_even().rem_euclid(4_294_967_296.0);
    // Below two to the 32nd, so only the sign changes.
    Ok((wrapped as u32).cast_signed())
}

fn number(bits: i32) -> Given {
    given(Value::Number(f64::from(bits)))
}

fn fold(name: &str, args: &MultiValue, both: fn(i32, i32) -> i32) -> Given {
    let mut all = bits(args, 0, name)?;
    for place in 1..args.len() {
        all = both(all, bits(args, place, name)?);
    }
    number(all)
}

fn shift(name: &str, args: &MultiValue, shifted: fn(i32, u32) -> i32) -> Given {
    let by = bits(args, 1, name)?.cast_unsigned() & 31;
    number(shifted(bits(args, 0, name)?, by))
}

/// So many digits, of which the lowest are told; in capitals, if negative.
fn tohex(lua: &Lua, name: &'static str, args: &MultiValue) -> Given {
    let bits = bits(args, 0, name)?.cast_unsigned();
    let digits = match args.get(1) {
        None => 8,
        Some(_) => self::bits(args, 1, name)?,
    };
    let count = usize::try_from(digits.unsigned_abs().min(8)).unwrap_or(8);
    let text = match digits < 0 {
        true => format!("{bits:08X}"),
        false => format!("{bits:08x}"),
    };
    given(Value::String(lua.create_string(&text[8 - count..])?))
}
