//! BITOP: strings combined bit by bit.

use bytes::Bytes;

use crate::core::{
    command::{CommandError, Context, EventClass, Executed, args},
    data::{RedisString, Value},
    reply::Reply,
};

pub(super) fn bitop(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (name, to, from) = (&words[1], &words[2], &words[3..]);
    let combine: fn(&mut u8, u8) = match () {
        () if args::is(name, "AND") => |byte, other| *byte &= other,
        () if args::is(name, "OR") => |byte, other| *byte |= other,
        () if args::is(name, "XOR") => |byte, other| *byte ^= other,
        // Of the one string; combining has nothing to do.
        () if args::is(name, "NOT") && from.len() == 1 => |_, _| (),
        () if args::is(name, "NOT") => {
            return Err(CommandError::Other(
                "ERR BITOP NOT must be called with a single source key.",
            ));
        }
        () => return Err(CommandError::Syntax),
    };
    let mut result = combined(context, from, combine)?;
    if args::is(name, "NOT") {
        result.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let length = result.len();
    if length > 0 {
        context.insert(to, Value::String(RedisString::raw(result)), None);
        context.changed(to, EventClass::String, "set");
    } else if context.remove(to).is_some() {
        context.changed(to, EventClass::Generic, "del");
    }
    Ok(Reply::count(length))
}

/// As long as the longest; zero bytes follow the shorter ones.
fn combined(
    context: &mut Context<'_>,
    from: &[Bytes],
    combine: fn(&mut u8, u8),
) -> Result<Vec<u8>, CommandError> {
    let mut length = 0;
    for key in from {
        let string = context.get::<RedisString>(key)?;
        length = length.max(string.map_or(0, RedisString::len));
    }
    let mut result = vec![0; length];
    for (at, key) in from.iter().enumerate() {
        let string = context.get::<RedisString>(key)?;
        let bytes = string.map(RedisString::bytes).unwrap_or_default();
        let (both, alone) = result.split_at_mut(bytes.len());
        if at == 0 {
            both.copy_from_slice(&bytes);
            continue;
        }
        for (byte, other) in both.iter_mut().zip(bytes.iter()) {
            combine(byte, *other);
        }
        for byte in alone {
            combine(byte, 0);
        }
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn combined() {
        story(
            r#"
            > MSET a "\x0f\xff" b "\x3c"
            OK
            > BITOP AND c a b
            (integer) 2
            ! new c, set c
            > GET c
            "\x0c\x00"
            > BITOP or c a b missing
            (integer) 2
            > GET c
            "?\xff"
            > BITOP XOR c b a
            (integer) 2
            > GET c
            "3\xff"
            > BITOP XOR c a
            (integer) 2
            > GET c
            "\x0f\xff"
            > BITOP AND c a missing
            (integer) 2
            > GET c
            "\x00\x00"
            > EXPIRE c 10
            (integer) 1
            > BITOP NOT c a
            (integer) 2
            > GET c
            "\xf0\x00"
            > TTL c
            (integer) -1
            > BITOP NOT c missing
            (integer) 0
            ! del c
            > EXISTS c
            (integer) 0
            > BITOP NOT c a b
            (error) ERR BITOP NOT must be called with a single source key.
            > BITOP NAND c a b
            (error) ERR syntax error
            > BITOP AND a a a
            (integer) 2
            > GET a
            "\x0f\xff"
            "#,
        );
    }
}
