//! Pushing and popping at the ends.

use bytes::Bytes;

use super::{popped, pushed};
use crate::core::{
    command::{CommandError, Context, EventClass, Executed, args},
    data::{End, List},
    reply::Reply,
};

pub(super) fn lpush(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    push(context, words, End::Left, true)
}

pub(super) fn rpush(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    push(context, words, End::Right, true)
}

pub(super) fn lpushx(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    push(context, words, End::Left, false)
}

pub(super) fn rpushx(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    push(context, words, End::Right, false)
}

fn push(context: &mut Context<'_>, words: &[Bytes], end: End, anew: bool) -> Executed {
    let key = &words[1];
    if !anew && context.get::<List>(key)?.is_none() {
        return Ok(Reply::Integer(0));
    }
    let list = context.get_or_add::<List>(key)?;
    for item in &words[2..] {
        list.push(end, item);
    }
    let len = list.len();
    context.changed(key, EventClass::List, pushed(end));
    Ok(Reply::count(len))
}

pub(super) fn llen(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let list = context.get::<List>(&words[1])?;
    Ok(Reply::count(list.map_or(0, List::len)))
}

pub(super) fn lpop(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    pop(context, words, End::Left, "lpop")
}

pub(super) fn rpop(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    pop(context, words, End::Right, "rpop")
}

fn pop(context: &mut Context<'_>, words: &[Bytes], end: End, name: &'static str) -> Executed {
    let count = match &words[2..] {
        [] => None,
        [count] => Some(args::at_least(
            count,
            0,
            "ERR value is out of range, must be positive",
        )?),
        _ => return Err(CommandError::Arity(name)),
    };
    let key = &words[1];
    let exists = context.get::<List>(key)?.is_some();
    match count {
        None if !exists => Ok(Reply::Null),
        None => Ok(Reply::optional(take(context, key, end, 1)?.pop())),
        Some(_) if !exists => Ok(Reply::NullArray),
        Some(count) => Ok(bulks(take(context, key, end, count)?)),
    }
}

/// Takes up to so many elements out and tells of it.
pub(super) fn take(
    context: &mut Context<'_>,
    key: &[u8],
    end: End,
    count: usize,
) -> Result<Vec<Vec<u8>>, CommandError> {
    let Some(list) = context.get_mut::<List>(key)? else {
        return Ok(Vec::new());
    };
    let count = count.min(list.len());
    if count == 0 {
        return Ok(Vec::new());
    }
    let (places, items) = match end {
        End::Left => {
            let items = list.iter().take(count).map(<[u8]>::to_vec);
            (0..count, items.collect())
        }
        End::Right => {
            let items = list.iter().rev().take(count).map(<[u8]>::to_vec);
            (list.len() - count..list.len(), items.collect())
        }
    };
    list.remove(places);
    context.changed(key, EventClass::List, popped(end));
    context.remove_if_spent::<List>(key);
    Ok(items)
}

/// Strings in an array.
pub(super) fn bulks(items: Vec<Vec<u8>>) -> Reply {
    let items = items.into_iter().map(|item| Reply::Bulk(item.into()));
    Reply::Array(items.collect())
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn push_and_pop() {
        story(
            r#"
            > LPUSHX l a
            (integer) 0
            > LPUSH l b a
            (integer) 2
            ! new l, lpush l
            > RPUSH l c
            (integer) 3
            ! rpush l
            > RPUSHX l d e f
            (integer) 6
            > LPUSHX l z
            (integer) 7
            > LLEN l
            (integer) 7
            > LLEN none
            (integer) 0
            > LPOP l
            "z"
            ! lpop l
            > RPOP l
            "f"
            ! rpop l
            > LPOP l 2
            1) "a"
            2) "b"
            ! lpop l
            > RPOP l 0
            (empty array)
            > RPOP l 9
            1) "e"
            2) "d"
            3) "c"
            ! rpop l, del l
            > LPOP l
            (nil)
            > LPOP l 1
            (nil)
            > LPOP l -1
            (error) ERR value is out of range, must be positive
            > LPOP l x
            (error) ERR value is out of range, must be positive
            > RPOP l 1 1
            (error) ERR wrong number of arguments for 'rpop' command
            "#,
        );
    }

    #[test]
    fn another_type_is_refused() {
        let calls = [
            "LPUSH s a",
            "RPUSH s a",
            "LPUSHX s a",
            "RPUSHX s a",
            "LPOP s",
            "RPOP s 1",
            "LLEN s",
            "LRANGE s 0 1",
            "LINDEX s 0",
            "LSET s 0 a",
            "LINSERT s BEFORE a b",
            "LREM s 0 a",
            "LTRIM s 0 1",
            "LPOS s a",
            "LMOVE s l LEFT LEFT",
            "LMOVE l s LEFT LEFT",
            "RPOPLPUSH s l",
            "LMPOP 1 s LEFT",
            "BLPOP s 0",
            "BRPOP none s l 0",
            "BLMOVE s l LEFT LEFT 0",
            "BRPOPLPUSH s l 0",
            "BLMPOP 0 1 s LEFT",
        ];
        let refused = "(error) WRONGTYPE Operation against a key holding the wrong kind of value";
        let told: Vec<String> = calls
            .iter()
            .map(|call| format!("> {call}\n{refused}\n"))
            .collect();
        story(&format!(
            "> SET s x\nOK\n> RPUSH l a\n(integer) 1\n{}> LRANGE l 0 -1\n1) \"a\"\n",
            told.concat()
        ));
    }
}
