//! XPENDING.

use bytes::Bytes;

use super::{id, ids, no_group};
use crate::core::{
    command::{CommandError, Context, Executed, args},
    data::{Group, Milliseconds, Pending, Stream, StreamId},
    reply::Reply,
};

/// What the longer form asks for.
struct Query<'a> {
    idle_min_ms: Milliseconds,
    from: StreamId,
    to: StreamId,
    count: usize,
    consumer: Option<&'a Bytes>,
}

impl<'a> Query<'a> {
    /// `[IDLE min-idle-time] start end count [consumer]`; none for the short form.
    fn of(words: &'a [Bytes]) -> Result<Option<Self>, CommandError> {
        let mut rest = match words.len() {
            3 => return Ok(None),
            6..=9 => &words[3..],
            _ => return Err(CommandError::Syntax),
        };
        let mut idle_min_ms = 0;
        if args::is(&rest[0], "IDLE") {
            let number = args::integer(&rest[1])?;
            idle_min_ms = Milliseconds::try_from(number).unwrap_or(0);
            rest = &rest[2..];
        }
        let [from, to, count, others @ ..] = rest else {
            return Err(CommandError::Syntax);
        };
        let count = usize::try_from(args::integer(count)?).unwrap_or(0);
        Ok(Some(Query {
            idle_min_ms,
            from: ids::from(from)?,
            to: ids::to(to)?,
            count,
            consumer: others.first(),
        }))
    }
}

pub(super) fn xpending(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let query = Query::of(words)?;
    let (key, name) = (&words[1], &words[2]);
    let now_ms = context.now_ms();
    let stream = context.get::<Stream>(key)?;
    let group = stream
        .and_then(|stream| stream.groups().get(name.as_ref()))
        .ok_or_else(|| no_group(key, name, ""))?;
    Ok(match query {
        None => summary(group),
        Some(query) => entries(group, &query, now_ms),
    })
}

fn summary(group: &Group) -> Reply {
    let pending = group.pending();
    let (Some((first, _)), Some((last, _))) = (pending.first_key_value(), pending.last_key_value())
    else {
        return Reply::Array(vec![
            Reply::Integer(0),
            Reply::Null,
            Reply::Null,
            Reply::NullArray,
        ]);
    };
    let busy = group
        .consumers()
        .iter()
        .filter(|(_, consumer)| !consumer.pending().is_empty());
    let consumers = busy.map(|(name, consumer)| {
        // A number that is written as a string, as Redis does.
        let count = Reply::bulk(consumer.pending().len().to_string());
        Reply::Array(vec![Reply::bulk(name), count])
    });
    Reply::Array(vec![
        Reply::count(pending.len()),
        id(*first),
        id(*last),
        Reply::Array(consumers.collect()),
    ])
}

fn entries(group: &Group, query: &Query<'_>, now_ms: Milliseconds) -> Reply {
    let none = Reply::Array(Vec::new());
    if query.from > query.to {
        return none;
    }
    let range = query.from..=query.to;
    let idle = |pending: &Pending| now_ms.saturating_sub(pending.delivered_at_ms);
    let show = |(at, pending): (&StreamId, &Pending)| {
        (idle(pending) >= query.idle_min_ms).then(|| {
            Reply::Array(vec![
                id(*at),
                Reply::bulk(&pending.consumer),
                integer(idle(pending)),
                integer(pending.deliveries),
            ])
        })
    };
    let Some(name) = query.consumer else {
        let all = group.pending().range(range).filter_map(show);
        return Reply::Array(all.take(query.count).collect());
    };
    let Some(consumer) = group.consumers().get(name.as_ref()) else {
        return none;
    };
    let ids = consumer.pending().range(range);
    let its = ids.filter_map(|at| show((at, group.pending().get(at)?)));
    Reply::Array(its.take(query.count).collect())
}

/// A number that in practice fits.
pub(super) fn integer(number: u64) -> Reply {
    Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn pending_entries_are_told() {
        story(
            r#"
            > XPENDING s g
            (error) NOGROUP No such key 's' or consumer group 'g'
            > XGROUP CREATE s g $ MKSTREAM
            OK
            > XADD s 1 f 1
            "1-0"
            > XADD s 2 f 2
            "2-0"
            > XREADGROUP GROUP g b COUNT 1 STREAMS s >
            1# "s" => 1) 1) "1-0"
                  2) 1) "f"
                     2) "1"
            @ 10
            > XREADGROUP GROUP g a COUNT 1 STREAMS s >
            1# "s" => 1) 1) "2-0"
                  2) 1) "f"
                     2) "2"
            @ 15
            > XPENDING s g
            1) (integer) 2
            2) "1-0"
            3) "2-0"
            4) 1) 1) "a"
                  2) "1"
               2) 1) "b"
                  2) "1"
            > XPENDING s g - + 10
            1) 1) "1-0"
               2) "b"
               3) (integer) 15
               4) (integer) 1
            2) 1) "2-0"
               2) "a"
               3) (integer) 5
               4) (integer) 1
            > XPENDING s g IDLE 10 - + 10
            1) 1) "1-0"
               2) "b"
               3) (integer) 15
               4) (integer) 1
            > XPENDING s g (1-0 + 10 a
            1) 1) "2-0"
               2) "a"
               3) (integer) 5
               4) (integer) 1
            > XPENDING s g IDLE 10 - + 10 a
            (empty array)
            > XPENDING s g - + 10 none
            (empty array)
            > XPENDING s g - + 0
            (empty array)
            > XPENDING s g + - 5
            (empty array)
            > XPENDING s g - +
            (error) ERR syntax error
            > XPENDING s g IDLE 5 - +
            (error) ERR syntax error
            > XPENDING s g IDLE x - + 5
            (error) ERR value is not an integer or out of range
            > XPENDING s g x + 5
            (error) ERR Invalid stream ID specified as stream command argument
            > XREADGROUP GROUP g b STREAMS s 0
            1# "s" => 1) 1) "1-0"
                  2) 1) "f"
                     2) "1"
            > XPENDING s g - + 1
            1) 1) "1-0"
               2) "b"
               3) (integer) 0
               4) (integer) 2
            "#,
        );
    }
}
