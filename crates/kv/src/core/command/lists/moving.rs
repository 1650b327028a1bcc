//! From list to list, and out of several.

use bytes::Bytes;

use super::{end, ends, popped, pushed};
use crate::core::{
    command::{CommandError, Context, EventClass, Executed, args::ManyPop},
    data::{End, List},
    reply::Reply,
};

pub(super) fn lmove(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (from, to) = (end(&words[3])?, end(&words[4])?);
    let moved = step(context, &words[1], &words[2], from, to)?;
    Ok(moved.unwrap_or(Reply::Null))
}

pub(super) fn rpoplpush(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let moved = step(context, &words[1], &words[2], End::Right, End::Left)?;
    Ok(moved.unwrap_or(Reply::Null))
}

/// Moves one element; none if there is none.
pub(super) fn step(
    context: &mut Context<'_>,
    source: &[u8],
    destination: &[u8],
    from: End,
    to: End,
) -> Result<Option<Reply>, CommandError> {
    if context.get::<List>(source)?.is_none() {
        return Ok(None);
    }
    context.get::<List>(destination)?;
    // The two may be one list, which then is empty for a moment but stays.
    let Some(item) = context
        .get_mut::<List>(source)?
        .and_then(|list| list.pop(from))
    else {
        return Ok(None);
    };
    context.get_or_add::<List>(destination)?.push(to, &item);
    context.changed(destination, EventClass::List, pushed(to));
    context.changed(source, EventClass::List, popped(from));
    context.remove_if_spent::<List>(source);
    Ok(Some(Reply::Bulk(item.into())))
}

pub(super) fn lmpop(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let taken = ManyPop::read(words, 1, end)?.run(context)?;
    Ok(taken.unwrap_or(Reply::NullArray))
}

impl ManyPop<'_, End> {
    /// Takes elements out of the first list; none if all are empty.
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Option<Reply>, CommandError> {
        for key in self.keys {
            if context.get::<List>(key)?.is_some() {
                let items = ends::take(context, key, self.side, self.count)?;
                return Ok(Some(Reply::Array(vec![
                    Reply::bulk(key),
                    ends::bulks(items),
                ])));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn elements_move() {
        story(
            r#"
            > RPUSH a 1 2 3
            (integer) 3
            > LMOVE a b RIGHT LEFT
            "3"
            ! new b, lpush b, rpop a
            > LMOVE a b left right
            "1"
            ! rpush b, lpop a
            > RPOPLPUSH a b
            "2"
            ! lpush b, rpop a, del a
            > LMOVE a b LEFT LEFT
            (nil)
            > RPOPLPUSH a b
            (nil)
            > LMOVE a b UP LEFT
            (error) ERR syntax error
            > LMOVE b b LEFT RIGHT
            "2"
            ! rpush b, lpop b
            > LRANGE b 0 -1
            1) "3"
            2) "1"
            3) "2"
            > RPUSH one x
            (integer) 1
            > RPOPLPUSH one one
            "x"
            ! lpush one, rpop one
            > LRANGE one 0 -1
            1) "x"
            "#,
        );
    }

    #[test]
    fn the_first_list_gives() {
        story(
            r#"
            > LMPOP 2 a b LEFT
            (nil)
            > RPUSH b 1 2 3
            (integer) 3
            > LMPOP 2 a b LEFT
            1) "b"
            2) 1) "1"
            ! lpop b
            > LMPOP 2 a b RIGHT COUNT 5
            1) "b"
            2) 1) "3"
               2) "2"
            ! rpop b, del b
            > LMPOP 0 a LEFT
            (error) ERR numkeys should be greater than 0
            > LMPOP x a LEFT
            (error) ERR numkeys should be greater than 0
            > LMPOP 1 a UP
            (error) ERR syntax error
            > LMPOP 2 a LEFT
            (error) ERR syntax error
            > LMPOP 9 a LEFT
            (error) ERR syntax error
            > LMPOP 1 a LEFT COUNT
            (error) ERR syntax error
            > LMPOP 1 a LEFT COUNT 1 COUNT 2
            (error) ERR syntax error
            > LMPOP 1 a LEFT COUNT 0
            (error) ERR count should be greater than 0
            > LMPOP 1 a LEFT COUNT x
            (error) ERR count should be greater than 0
            "#,
        );
    }
}
