//! Fields as numbers. A field that ends goes on to end when it did (Redis: "HINCRBY" keeps the
//! time to live).

use bytes::Bytes;

use crate::core::{
    command::{CommandError, Context, EventClass, Executed, args},
    data::{Decimal, Hash, parse_integer},
    reply::Reply,
};

pub(super) fn hincrby(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (key, field, by) = (&words[1], &words[2], args::integer(&words[3])?);
    let number = match value(context, key, field)? {
        None => 0,
        Some(text) => {
            parse_integer(text).ok_or(CommandError::Other("ERR hash value is not an integer"))?
        }
    };
    let sum = number.checked_add(by).ok_or(CommandError::Other(
        "ERR increment or decrement would overflow",
    ))?;
    let hash = context.get_or_add::<Hash>(key)?;
    hash.set_value(field, sum.to_string().as_bytes());
    context.changed(key, EventClass::Hash, "hincrby");
    Ok(Reply::Integer(sum))
}

pub(super) fn hincrbyfloat(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (key, field, by) = (&words[1], &words[2], &words[3]);
    let by = Decimal::parse(by).ok_or(CommandError::NotFloat)?;
    if matches!(by, Decimal::Float(number) if number.is_infinite()) {
        return Err(CommandError::Other("ERR value is NaN or Infinity"));
    }
    let text = value(context, key, field)?.unwrap_or(b"0");
    let sum = Decimal::parse(text)
        .ok_or(CommandError::Other("ERR hash value is not a float"))?
        .sum(by)
        .ok_or(CommandError::Other(
            "ERR increment would produce NaN or Infinity",
        ))?;
    let hash = context.get_or_add::<Hash>(key)?;
    hash.set_value(field, sum.as_bytes());
    context.changed(key, EventClass::Hash, "hincrbyfloat");
    Ok(Reply::bulk(sum))
}

fn value<'a>(
    context: &'a mut Context<'_>,
    key: &[u8],
    field: &[u8],
) -> Result<Option<&'a [u8]>, CommandError> {
    let now_ms = context.now_ms();
    let hash = context.get::<Hash>(key)?;
    Ok(hash.and_then(|hash| hash.get(field, now_ms)))
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn fields_count() {
        story(
            r#"
            > HINCRBY h a 5
            (integer) 5
            ! new h, hincrby h
            > HINCRBY h a -7
            (integer) -2
            ! hincrby h
            > HGET h a
            "-2"
            > HINCRBY h a x
            (error) ERR value is not an integer or out of range
            > HSET h text x
            (integer) 1
            > HINCRBY h text 1
            (error) ERR hash value is not an integer
            > HSET h most 9223372036854775807
            (integer) 1
            > HINCRBY h most 1
            (error) ERR increment or decrement would overflow
            > HINCRBYFLOAT h f 10.5
            "10.5"
            ! hincrbyfloat h
            > HINCRBYFLOAT h f 0.1
            "10.6"
            > HINCRBYFLOAT h f -10.6
            "0"
            > HINCRBYFLOAT h text 1
            (error) ERR hash value is not a float
            > HINCRBYFLOAT h f text
            (error) ERR value is not a valid float
            > HINCRBYFLOAT h f +inf
            (error) ERR value is NaN or Infinity
            > HINCRBYFLOAT none f 3.0e3
            "3000"
            "#,
        );
    }

    #[test]
    fn counting_keeps_the_end() {
        story(
            r#"
            > HSET h a 1
            (integer) 1
            > HPEXPIRE h 100 FIELDS 1 a
            1) (integer) 1
            > HINCRBY h a 1
            (integer) 2
            > HINCRBYFLOAT h a 0.5
            "2.5"
            > HPTTL h FIELDS 1 a
            1) (integer) 100
            @ 101
            > HINCRBY h a 1
            (integer) 1
            ! hexpired h, del h, new h, hincrby h
            > HPTTL h FIELDS 1 a
            1) (integer) -1
            "#,
        );
    }
}
