//! XRANGE and XREVRANGE.

use bytes::Bytes;

use super::{entry, ids};
use crate::core::{
    command::{
        CommandError, Context, Executed,
        args::{self, Words},
    },
    data::Stream,
    reply::Reply,
};

pub(super) fn xrange(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    range(context, words, false)
}

pub(super) fn xrevrange(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    range(context, words, true)
}

fn range(context: &mut Context<'_>, words: &[Bytes], backwards: bool) -> Executed {
    let (from, to) = if backwards { (3, 2) } else { (2, 3) };
    let (from, to) = (ids::from(&words[from])?, ids::to(&words[to])?);
    let mut count = usize::MAX;
    let mut options = Words::from(words, 4);
    while let Some(option) = options.next() {
        if !args::is(option, "COUNT") {
            return Err(CommandError::Syntax);
        }
        count = usize::try_from(options.expect_integer()?).unwrap_or(0);
    }
    let Some(stream) = context.get::<Stream>(&words[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    if count == 0 {
        return Ok(Reply::NullArray);
    }
    let entries = stream.range(from, to);
    let show = |(id, fields)| entry(id, fields);
    Ok(Reply::Array(if backwards {
        entries.rev().take(count).map(show).collect()
    } else {
        entries.take(count).map(show).collect()
    }))
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn ranges() {
        story(
            r#"
            > XADD s 1-1 a 1
            "1-1"
            > XADD s 1-2 b 2 c 3
            "1-2"
            > XADD s 2-0 d 4
            "2-0"
            > XRANGE s - +
            1) 1) "1-1"
               2) 1) "a"
                  2) "1"
            2) 1) "1-2"
               2) 1) "b"
                  2) "2"
                  3) "c"
                  4) "3"
            3) 1) "2-0"
               2) 1) "d"
                  2) "4"
            > XRANGE s 1 (1-2 COUNT 5
            1) 1) "1-1"
               2) 1) "a"
                  2) "1"
            > XREVRANGE s + (1-1 COUNT 1
            1) 1) "2-0"
               2) 1) "d"
                  2) "4"
            > XREVRANGE s 1 1
            1) 1) "1-2"
               2) 1) "b"
                  2) "2"
                  3) "c"
                  4) "3"
            2) 1) "1-1"
               2) 1) "a"
                  2) "1"
            > XRANGE s 3 1
            (empty array)
            > XRANGE s - + COUNT 0
            (nil)
            > XRANGE s - + COUNT -1
            (nil)
            > XRANGE none - + COUNT 0
            (empty array)
            > XRANGE s - + COUNT
            (error) ERR syntax error
            > XRANGE s - + COUNT x
            (error) ERR value is not an integer or out of range
            > XRANGE s (- +
            (error) ERR Invalid stream ID specified as stream command argument
            > XRANGE s - (0-0
            (error) ERR invalid end ID for the interval
            > XRANGE s (18446744073709551615-18446744073709551615 +
            (error) ERR invalid start ID for the interval
            "#,
        );
    }

    #[test]
    fn another_type_is_refused() {
        let calls = [
            "XADD x * a 1",
            "XLEN x",
            "XRANGE x - +",
            "XREVRANGE x + -",
            "XDEL x 1",
            "XTRIM x MAXLEN 1",
            "XSETID x 1",
            "XREAD STREAMS x 0",
            "XREADGROUP GROUP g c STREAMS x >",
            "XACK x g 1",
            "XPENDING x g",
            "XCLAIM x g c 0 1",
            "XAUTOCLAIM x g c 0 0",
            "XGROUP CREATE x g 0",
            "XGROUP SETID x g 0",
            "XGROUP DESTROY x g",
            "XGROUP CREATECONSUMER x g c",
            "XGROUP DELCONSUMER x g c",
            "XINFO STREAM x",
            "XINFO GROUPS x",
            "XINFO CONSUMERS x g",
        ];
        let refused = "(error) WRONGTYPE Operation against a key holding the wrong kind of value";
        let told: Vec<String> = calls
            .iter()
            .map(|call| format!("> {call}\n{refused}\n"))
            .collect();
        story(&format!("> SET x 1\nOK\n{}", told.concat()));
    }
}
