//! XREADGROUP.
//!
//! It notes each time that its consumer asked, which alone doesn't count as a change of the key:
//! two consumers who wait would wake each other for ever.

use bytes::Bytes;

use super::{call::Call, entry, fields, id, ids, no_group};
use crate::core::{
    command::{CommandError, Context, EventClass, Executed},
    data::{Milliseconds, Stream, StreamId},
    reply::Reply,
};

/// From where a consumer reads.
#[derive(Clone, Copy)]
enum Start {
    /// `>`: what was not delivered to the group yet.
    Undelivered,
    /// What is pending for the consumer, after this id.
    Pending(StreamId),
}

pub(super) fn xreadgroup(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let call = Call::of("xreadgroup", words)?;
    let Some((group, consumer)) = call.group else {
        return Err(CommandError::Syntax);
    };
    let mut starts = Vec::with_capacity(call.ids.len());
    for (key, word) in call.keys.iter().zip(call.ids) {
        let stream = context.get::<Stream>(key)?;
        if !stream.is_some_and(|stream| stream.groups().contains_key(group.as_ref())) {
            return Err(no_group(key, group, " in XREADGROUP with GROUP option"));
        }
        starts.push(match word.as_ref() {
            b">" => Start::Undelivered,
            b"$" | b"+" => return Err(meaningless(word)),
            word => Start::Pending(ids::strict(word, 0)?),
        });
    }
    let mut found = Vec::new();
    for (key, start) in call.keys.iter().zip(starts) {
        let now_ms = context.now_ms();
        let Some(stream) = context.get_mut::<Stream>(key)? else {
            continue;
        };
        let new = stream
            .group_mut(group)
            .is_some_and(|group| group.saw(consumer, now_ms));
        let delivered = match start {
            Start::Undelivered => {
                let delivered = deliver(stream, &call, now_ms);
                // Nothing new is nothing; an empty history is an answer.
                Some(delivered).filter(|entries| !entries.is_empty())
            }
            Start::Pending(after) => Some(deliver_again(stream, &call, after, now_ms)),
        };
        if new {
            context.event(EventClass::Stream, "xgroup-createconsumer", key);
        }
        let any = delivered
            .as_ref()
            .is_some_and(|entries| !entries.is_empty());
        if new || any {
            context.touched(key);
        }
        found.extend(delivered.map(|entries| (Reply::bulk(key), Reply::Array(entries))));
    }
    Ok(call.answer(context, found))
}

fn meaningless(word: &[u8]) -> CommandError {
    let sign = String::from_utf8_lossy(word);
    CommandError::Text(format!(
        "ERR The {sign} ID is meaningless in the context of XREADGROUP: you want to read the \
         history of this consumer by specifying a proper ID, or use the > ID to get new messages. \
         The {sign} ID would just return an empty result set."
    ))
}

/// Gives the consumer what the group was not given yet.
fn deliver(stream: &mut Stream, call: &Call<'_>, now_ms: Milliseconds) -> Vec<Reply> {
    let Some((name, consumer)) = call.group else {
        return Vec::new();
    };
    let last = stream
        .groups()
        .get(name.as_ref())
        .map(|group| group.last_id);
    let Some(from) = last.and_then(StreamId::next) else {
        return Vec::new();
    };
    let entries = stream.range(from, StreamId::MAX).take(call.count);
    let (ids, replies): (Vec<StreamId>, Vec<Reply>) =
        entries.map(|(id, fields)| (id, entry(id, fields))).unzip();
    for id in ids {
        stream.advance_group(name, id);
        if !call.acknowledged
            && let Some(group) = stream.group_mut(name)
        {
            group.assign(id, consumer, now_ms, 1);
            group.was_active(consumer, now_ms);
        }
    }
    replies
}

/// Tells the consumer once more what is pending for it. Of an entry that was deleted, only the
/// id is left.
fn deliver_again(
    stream: &mut Stream,
    call: &Call<'_>,
    after: StreamId,
    now_ms: Milliseconds,
) -> Vec<Reply> {
    let (Some((name, consumer)), Some(from)) = (call.group, after.next()) else {
        return Vec::new();
    };
    let consumers = stream
        .groups()
        .get(name.as_ref())
        .map(|group| group.consumers());
    let Some(consumer) = consumers.and_then(|consumers| consumers.get(consumer.as_ref())) else {
        return Vec::new();
    };
    let pending = consumer.pending().range(from..).take(call.count);
    let pending: Vec<StreamId> = pending.copied().collect();
    let mut replies = Vec::with_capacity(pending.len());
    for at in pending {
        let shown = stream.get(at).map(fields);
        if shown.is_some()
            && let Some(group) = stream.group_mut(name)
        {
            group.deliver_again(at, now_ms);
        }
        let shown = shown.unwrap_or(Reply::NullArray);
        replies.push(Reply::Array(vec![id(at), shown]));
    }
    replies
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn groups_read() {
        story(
            r#"
            > XREADGROUP GROUP g c STREAMS s >
            (error) NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option
            > XGROUP CREATE s g $ MKSTREAM
            OK
            > XREADGROUP GROUP other c STREAMS s >
            (error) NOGROUP No such key 's' or consumer group 'other' in XREADGROUP with GROUP option
            > XREADGROUP GROUP g c BLOCK 0 STREAMS s >
            (blocks)
            (nil)
            ! xgroup-createconsumer s
            > XADD s 1 f 1
            "1-0"
            > XADD s 2 f 2
            "2-0"
            > XREADGROUP GROUP g c COUNT 1 STREAMS s >
            1# "s" => 1) 1) "1-0"
                  2) 1) "f"
                     2) "1"
            > XREADGROUP GROUP g d NOACK STREAMS s >
            1# "s" => 1) 1) "2-0"
                  2) 1) "f"
                     2) "2"
            ! xgroup-createconsumer s
            > XREADGROUP GROUP g c STREAMS s >
            (nil)
            > XREADGROUP GROUP g d STREAMS s 0
            1# "s" => (empty array)
            > XDEL s 1
            (integer) 1
            > XREADGROUP GROUP g c BLOCK 0 STREAMS s 0
            1# "s" => 1) 1) "1-0"
                  2) (nil)
            > XREADGROUP GROUP g c STREAMS s $
            (error) ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.
            > XREADGROUP GROUP g c COUNT 1 STREAMS s
            (error) ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified.
            > XREADGROUP COUNT 1 NOACK STREAMS s t > >
            (error) ERR Missing GROUP option for XREADGROUP
            "#,
        );
    }
}
