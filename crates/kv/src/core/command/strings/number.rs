//! Counting: whole and decimal numbers.

use bytes::Bytes;

use crate::core::{
    command::{CommandError, Context, EventClass, Executed, args},
    data::{Decimal, RedisString, Value},
    reply::Reply,
};

pub(super) fn incr(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    add(context, &words[1], 1)
}

pub(super) fn incrby(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    add(context, &words[1], args::integer(&words[2])?)
}

pub(super) fn decr(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    add(context, &words[1], -1)
}

pub(super) fn decrby(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let by = args::integer(&words[2])?
        .checked_neg()
        .ok_or(CommandError::Other("ERR decrement would overflow"))?;
    add(context, &words[1], by)
}

fn add(context: &mut Context<'_>, key: &[u8], by: i64) -> Executed {
    let number = match context.get::<RedisString>(key)? {
        None => 0,
        Some(string) => string.integer().ok_or(CommandError::NotInteger)?,
    };
    let sum = number.checked_add(by).ok_or(CommandError::Other(
        "ERR increment or decrement would overflow",
    ))?;
    replace(context, key, RedisString::Integer(sum))?;
    context.changed(key, EventClass::String, "incrby");
    Ok(Reply::Integer(sum))
}

pub(super) fn incrbyfloat(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let key = &words[1];
    let number = match context.get::<RedisString>(key)? {
        None => Decimal::Fixed(0),
        Some(string) => Decimal::parse(&string.bytes()).ok_or(CommandError::NotFloat)?,
    };
    let by = Decimal::parse(&words[2]).ok_or(CommandError::NotFloat)?;
    let sum = number.sum(by).ok_or(CommandError::Other(
        "ERR increment would produce NaN or Infinity",
    ))?;
    replace(context, key, RedisString::text(sum.as_bytes()))?;
    context.changed(key, EventClass::String, "incrbyfloat");
    Ok(Reply::bulk(sum))
}

/// Puts the string in the place of the one at the key; the time of expiry stays.
fn replace(context: &mut Context<'_>, key: &[u8], string: RedisString) -> Result<(), CommandError> {
    match context.get_mut::<RedisString>(key)? {
        Some(place) => *place = string,
        None => context.insert(key, Value::String(string), None),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn whole_numbers() {
        story(
            r#"
            > INCR a
            (integer) 1
            ! new a, incrby a
            > EXPIRE a 10
            (integer) 1
            > DECRBY a 3
            (integer) -2
            ! incrby a
            > DECR a
            (integer) -3
            > INCRBY a 9223372036854775807
            (integer) 9223372036854775804
            > TTL a
            (integer) 10
            > INCRBY a 4
            (error) ERR increment or decrement would overflow
            > DECRBY a -9223372036854775808
            (error) ERR decrement would overflow
            > INCRBY a 1.5
            (error) ERR value is not an integer or out of range
            > SET a " 1"
            OK
            > INCR a
            (error) ERR value is not an integer or out of range
            > SET a 1
            OK
            > APPEND a 0
            (integer) 2
            > INCR a
            (integer) 11
            > OBJECT ENCODING a
            "int"
            "#,
        );
    }

    #[test]
    fn decimal_numbers() {
        story(
            r#"
            > INCRBYFLOAT a 10.50
            "10.5"
            ! new a, incrbyfloat a
            > INCRBYFLOAT a 0.1
            "10.6"
            > INCRBYFLOAT a -5
            "5.6"
            > INCRBYFLOAT a 4.4e0
            "10"
            > INCR a
            (integer) 11
            > INCRBYFLOAT a +inf
            (error) ERR increment would produce NaN or Infinity
            > INCRBYFLOAT a nan
            (error) ERR value is not a valid float
            > SET a "1 "
            OK
            > INCRBYFLOAT a 1
            (error) ERR value is not a valid float
            "#,
        );
    }
}
