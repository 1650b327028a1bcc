//! Whether keys are there, of what type, and their end.

use bytes::Bytes;

use crate::core::{
    command::{Context, EventClass, Executed},
    reply::Reply,
};

/// DEL and UNLINK, which differ in Redis only by who frees the memory.
pub(super) fn del(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let mut removed = 0;
    for key in &words[1..] {
        if context.remove(key).is_some() {
            context.changed(key, EventClass::Generic, "del");
            removed += 1;
        }
    }
    Ok(Reply::Integer(removed))
}

/// TOUCH, which uses the keys.
pub(super) fn touch(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let keys = words[1..].iter();
    Ok(Reply::count(
        keys.filter(|key| context.value(key).is_some()).count(),
    ))
}

/// EXISTS, which doesn't.
pub(super) fn exists(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let there = words[1..].iter().filter(|key| context.exists(key)).count();
    Ok(Reply::count(there))
}

pub(super) fn type_of(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let entry = context.entry(&words[1]);
    let name = entry.map(|entry| entry.value.type_name());
    Ok(Reply::Status(name.unwrap_or("none")))
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn there_or_not() {
        story(
            r#"
            > MSET a 1 b 2 c 3
            OK
            > EXISTS a a missing b
            (integer) 3
            > TOUCH a missing
            (integer) 1
            > TYPE a
            string
            > TYPE missing
            none
            > DEL a missing b a
            (integer) 2
            ! del a, del b
            > UNLINK c
            (integer) 1
            ! del c
            > PSETEX a 5 x
            OK
            @ 6
            > EXISTS a
            (integer) 0
            > DEL a
            (integer) 0
            ! expired a
            "#,
        );
    }
}
