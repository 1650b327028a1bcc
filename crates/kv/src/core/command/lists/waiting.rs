//! The commands that wait for an element.

use bytes::Bytes;

use super::{end, ends, moving};
use crate::core::{
    command::{Context, Executed, args::ManyPop, blocking},
    data::{End, List},
    reply::Reply,
};

pub(super) fn blpop(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    pop(context, words, End::Left)
}

pub(super) fn brpop(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    pop(context, words, End::Right)
}

fn pop(context: &mut Context<'_>, words: &[Bytes], end: End) -> Executed {
    let last = words.len() - 1;
    blocking::timeout(&words[last])?;
    for key in &words[1..last] {
        if context.get::<List>(key)?.is_some() {
            let mut items = ends::take(context, key, end, 1)?;
            return Ok(Reply::Array(vec![
                Reply::bulk(key),
                Reply::optional(items.pop()),
            ]));
        }
    }
    Ok(context.block(Reply::NullArray))
}

pub(super) fn blmove(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (from, to) = (end(&words[3])?, end(&words[4])?);
    blocking::timeout(&words[5])?;
    let moved = moving::step(context, &words[1], &words[2], from, to)?;
    Ok(moved.unwrap_or_else(|| context.block(Reply::Null)))
}

pub(super) fn brpoplpush(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    blocking::timeout(&words[3])?;
    let moved = moving::step(context, &words[1], &words[2], End::Right, End::Left)?;
    Ok(moved.unwrap_or_else(|| context.block(Reply::Null)))
}

pub(super) fn blmpop(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    // The timeout comes first, but is read last.
    let pop = ManyPop::read(words, 2, end)?;
    blocking::timeout(&words[1])?;
    Ok(pop
        .run(context)?
        .unwrap_or_else(|| context.block(Reply::NullArray)))
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn those_who_find_something_do_not_wait() {
        story(
            r#"
            > RPUSH b 1 2 3 4 5 6
            (integer) 6
            > BLPOP a b 0
            1) "b"
            2) "1"
            ! lpop b
            > BRPOP a b 1.5
            1) "b"
            2) "6"
            ! rpop b
            > BLMOVE b c LEFT RIGHT 0
            "2"
            ! new c, rpush c, lpop b
            > BRPOPLPUSH b c 0
            "5"
            > BLMPOP 0 2 a b LEFT COUNT 5
            1) "b"
            2) 1) "3"
               2) "4"
            ! lpop b, del b
            "#,
        );
    }

    #[test]
    fn the_others_wait() {
        story(
            r#"
            > BLPOP a b 0
            (blocks)
            (nil)
            > BRPOP a 1
            (blocks)
            (nil)
            > BLMOVE a b LEFT LEFT 0
            (blocks)
            (nil)
            > BRPOPLPUSH a b 0
            (blocks)
            (nil)
            > BLMPOP 0 2 a b LEFT
            (blocks)
            (nil)
            > BLPOP a x
            (error) ERR timeout is not a float or out of range
            > BLPOP a -1
            (error) ERR timeout is negative
            > BLMOVE a b LEFT LEFT x
            (error) ERR timeout is not a float or out of range
            > BLMOVE a b UP LEFT x
            (error) ERR syntax error
            > BRPOPLPUSH a b -1
            (error) ERR timeout is negative
            > BLMPOP -1 2 a b LEFT
            (error) ERR timeout is negative
            > BLMPOP x 0 a LEFT
            (error) ERR numkeys should be greater than 0
            "#,
        );
    }
}
