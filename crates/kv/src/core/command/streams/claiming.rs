//! XCLAIM and XAUTOCLAIM.

use bytes::Bytes;

use super::{entry, id, ids, no_group};
use crate::core::{
    command::{CommandError, Context, EventClass, Executed, args},
    data::{Milliseconds, Stream, StreamId, parse_integer},
    reply::Reply,
};

/// XAUTOCLAIM looks at so many entries for each one that it may claim; as in Redis.
const ATTEMPTS_PER_ENTRY: usize = 10;

/// XAUTOCLAIM claims so many entries where the client doesn't say; as in Redis.
const CLAIMED_DEFAULT: usize = 100;

/// The largest COUNT that Redis takes.
const COUNT_MAX: usize = usize::MAX >> 5;

/// How entries are claimed.
struct Claim<'a> {
    consumer: &'a [u8],
    idle_min_ms: Milliseconds,
    delivered_at_ms: Milliseconds,
    /// The number of deliveries from now on; one more than before, if none.
    deliveries: Option<u64>,
    only_ids: bool,
    /// Whether what nobody has is claimed, too.
    force: bool,
}

/// What became of an entry.
enum Claimed {
    /// It is the consumer's; what to show.
    Yes(Reply),
    /// It was not old enough, or nobody's.
    No,
    /// The stream has it no more, and so has nobody.
    Deleted,
}

impl Claim<'_> {
    fn run(
        &self,
        stream: &mut Stream,
        group: &[u8],
        at: StreamId,
        now_ms: Milliseconds,
    ) -> Claimed {
        let shown = stream.get(at).map(|fields| match self.only_ids {
            true => id(at),
            false => entry(at, fields),
        });
        let Some(group) = stream.group_mut(group) else {
            return Claimed::No;
        };
        let Some(shown) = shown else {
            return match group.acknowledge(at) {
                true => Claimed::Deleted,
                false => Claimed::No,
            };
        };
        let deliveries = match group.pending().get(&at) {
            Some(pending) => {
                let idle_ms = now_ms.saturating_sub(pending.delivered_at_ms);
                if idle_ms < self.idle_min_ms {
                    return Claimed::No;
                }
                pending.deliveries
            }
            None if self.force => 1,
            None => return Claimed::No,
        };
        let once_more = deliveries.saturating_add(u64::from(!self.only_ids));
        let deliveries = self.deliveries.unwrap_or(once_more);
        group.assign(at, self.consumer, self.delivered_at_ms, deliveries);
        group.was_active(self.consumer, now_ms);
        Claimed::Yes(shown)
    }
}

/// A number that is named in its refusal, as 0 where it is negative.
fn number(word: &[u8], refusal: &'static str) -> Result<i64, CommandError> {
    parse_integer(word).ok_or(CommandError::Other(refusal))
}

fn has_group(context: &mut Context<'_>, key: &[u8], group: &[u8]) -> Result<(), CommandError> {
    let stream = context.get::<Stream>(key)?;
    match stream.is_some_and(|stream| stream.groups().contains_key(group)) {
        true => Ok(()),
        false => Err(no_group(key, group, "")),
    }
}

/// Notes that the consumer asked, and tells of it if it is new.
fn see(
    context: &mut Context<'_>,
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
) -> Result<(), CommandError> {
    let now_ms = context.now_ms();
    let group = context
        .get_mut::<Stream>(key)?
        .and_then(|stream| stream.group_mut(group));
    if group.is_some_and(|group| group.saw(consumer, now_ms)) {
        context.changed(key, EventClass::Stream, "xgroup-createconsumer");
    }
    Ok(())
}

pub(super) fn xclaim(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (key, group, consumer) = (&words[1], &words[2], &words[3]);
    has_group(context, key, group)?;
    let refusal = "ERR Invalid min-idle-time argument for XCLAIM";
    let idle_min_ms = Milliseconds::try_from(number(&words[4], refusal)?).unwrap_or(0);
    let ids = words[5..]
        .iter()
        .map_while(|word| ids::strict(word, 0).ok());
    let ids: Vec<StreamId> = ids.collect();
    let now_ms = context.now_ms();
    let mut claim = Claim {
        consumer,
        idle_min_ms,
        delivered_at_ms: now_ms,
        deliveries: None,
        only_ids: false,
        force: false,
    };
    let last_id = options(&mut claim, &words[5 + ids.len()..], now_ms)?;

    see(context, key, group, consumer)?;
    let Some(stream) = context.get_mut::<Stream>(key)? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let mut changed = false;
    if let Some(last_id) = last_id
        && let Some(group) = stream.group_mut(group)
        && group.last_id < last_id
    {
        group.last_id = last_id;
        changed = true;
    }
    let mut claimed = Vec::new();
    for at in ids {
        match claim.run(stream, group, at, now_ms) {
            Claimed::Yes(shown) => claimed.push(shown),
            Claimed::Deleted => changed = true,
            Claimed::No => {}
        }
    }
    if changed || !claimed.is_empty() {
        context.touched(key);
    }
    Ok(Reply::Array(claimed))
}

/// XCLAIM's options; the last id that the group is told.
fn options(
    claim: &mut Claim<'_>,
    words: &[Bytes],
    now_ms: Milliseconds,
) -> Result<Option<StreamId>, CommandError> {
    let mut last_id = None;
    // A time that is not in the past is now (Redis: clients count with clocks of their own).
    let past = |ms: i64| Milliseconds::try_from(ms).map_or(now_ms, |ms| ms.min(now_ms));
    let mut words = words.iter();
    while let Some(option) = words.next() {
        if args::is(option, "FORCE") {
            claim.force = true;
            continue;
        }
        if args::is(option, "JUSTID") {
            claim.only_ids = true;
            continue;
        }
        let unknown = || {
            let option = String::from_utf8_lossy(option);
            CommandError::Text(format!("ERR Unrecognized XCLAIM option '{option}'"))
        };
        let value = words.next().ok_or_else(unknown)?;
        if args::is(option, "IDLE") {
            let idle = number(value, "ERR Invalid IDLE option argument for XCLAIM")?;
            let now = i64::try_from(now_ms).unwrap_or(i64::MAX);
            claim.delivered_at_ms = past(now.saturating_sub(idle));
        } else if args::is(option, "TIME") {
            claim.delivered_at_ms = past(number(
                value,
                "ERR Invalid TIME option argument for XCLAIM",
            )?);
        } else if args::is(option, "RETRYCOUNT") {
            let refusal = "ERR Invalid RETRYCOUNT option argument for XCLAIM";
            claim.deliveries = u64::try_from(number(value, refusal)?).ok();
        } else if args::is(option, "LASTID") {
            last_id = Some(ids::strict(value, 0)?);
        } else {
            return Err(unknown());
        }
    }
    Ok(last_id)
}

pub(super) fn xautoclaim(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (key, group, consumer) = (&words[1], &words[2], &words[3]);
    let refusal = "ERR Invalid min-idle-time argument for XAUTOCLAIM";
    let idle_min_ms = Milliseconds::try_from(number(&words[4], refusal)?).unwrap_or(0);
    let from = ids::from(&words[5])?;
    let (mut count, mut only_ids) = (CLAIMED_DEFAULT, false);
    let mut options = words[6..].iter();
    while let Some(option) = options.next() {
        if args::is(option, "JUSTID") {
            only_ids = true;
        } else if args::is(option, "COUNT")
            && let Some(value) = options.next()
        {
            let refusal = "ERR COUNT must be > 0";
            count = args::at_least(value, 1, refusal)?;
            if count > COUNT_MAX {
                return Err(CommandError::Other(refusal));
            }
        } else {
            return Err(CommandError::Syntax);
        }
    }
    has_group(context, key, group)?;
    see(context, key, group, consumer)?;
    let now_ms = context.now_ms();
    let claim = Claim {
        consumer,
        idle_min_ms,
        delivered_at_ms: now_ms,
        deliveries: None,
        only_ids,
        force: false,
    };
    let Some(stream) = context.get_mut::<Stream>(key)? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let attempts = count.saturating_mul(ATTEMPTS_PER_ENTRY);
    let (mut claimed, mut deleted) = (Vec::new(), Vec::new());
    let mut next = first_pending(stream, group, from);
    for _ in 0..attempts {
        let Some(at) = next else { break };
        if claimed.len() + deleted.len() == count {
            break;
        }
        match claim.run(stream, group, at, now_ms) {
            Claimed::Yes(shown) => claimed.push(shown),
            Claimed::Deleted => deleted.push(id(at)),
            Claimed::No => {}
        }
        next = at
            .next()
            .and_then(|after| first_pending(stream, group, after));
    }
    if claimed.len() + deleted.len() > 0 {
        context.touched(key);
    }
    Ok(Reply::Array(vec![
        id(next.unwrap_or(StreamId::MIN)),
        Reply::Array(claimed),
        Reply::Array(deleted),
    ]))
}

/// The first pending entry from an id on.
fn first_pending(stream: &Stream, group: &[u8], from: StreamId) -> Option<StreamId> {
    let group = stream.groups().get(group)?;
    let mut pending = group.pending().range(from..);
    pending.next().map(|(at, _)| *at)
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    /// A stream `s` with a group `g`, whose consumer `a` has 1-0, 2-0 and 3-0; 4-0 is nobody's.
    const BEGIN: &str = r#"
        > XGROUP CREATE s g $ MKSTREAM
        OK
        > XADD s 1 f 1
        "1-0"
        > XADD s 2 f 2
        "2-0"
        > XADD s 3 f 3
        "3-0"
        > XREADGROUP GROUP g a COUNT 3 STREAMS s >
        1# "s" => 1) 1) "1-0"
              2) 1) "f"
                 2) "1"
           2) 1) "2-0"
              2) 1) "f"
                 2) "2"
           3) 1) "3-0"
              2) 1) "f"
                 2) "3"
        > XADD s 4 f 4
        "4-0"
        > XDEL s 2
        (integer) 1
    "#;

    #[test]
    fn entries_are_claimed() {
        story(&format!(
            r#"{BEGIN}
            @ 10
            > XCLAIM s g b 11 1
            (empty array)
            ! xgroup-createconsumer s
            > XCLAIM s g b 10 1 2 4
            1) 1) "1-0"
               2) 1) "f"
                  2) "1"
            > XPENDING s g - + 10
            1) 1) "1-0"
               2) "b"
               3) (integer) 0
               4) (integer) 2
            2) 1) "3-0"
               2) "a"
               3) (integer) 10
               4) (integer) 1
            > XCLAIM s g b 0 3 JUSTID IDLE 4 RETRYCOUNT 7
            1) "3-0"
            > XCLAIM s g b 0 4 1 FORCE JUSTID TIME 99999999999999
            1) "4-0"
            2) "1-0"
            > XPENDING s g - + 10 b
            1) 1) "1-0"
               2) "b"
               3) (integer) 0
               4) (integer) 2
            2) 1) "3-0"
               2) "b"
               3) (integer) 4
               4) (integer) 7
            3) 1) "4-0"
               2) "b"
               3) (integer) 0
               4) (integer) 1
            > XCLAIM s g b 0 7 FORCE LASTID 4
            (empty array)
            > XREADGROUP GROUP g b STREAMS s >
            (nil)
            > XCLAIM s none b 0 1
            (error) NOGROUP No such key 's' or consumer group 'none'
            > XCLAIM s g b x 1
            (error) ERR Invalid min-idle-time argument for XCLAIM
            > XCLAIM s g b 0 1 FOO
            (error) ERR Unrecognized XCLAIM option 'FOO'
            > XCLAIM s g b 0 1 IDLE
            (error) ERR Unrecognized XCLAIM option 'IDLE'
            > XCLAIM s g b 0 1 IDLE x
            (error) ERR Invalid IDLE option argument for XCLAIM
            > XCLAIM s g b 0 1 TIME x
            (error) ERR Invalid TIME option argument for XCLAIM
            > XCLAIM s g b 0 1 RETRYCOUNT x
            (error) ERR Invalid RETRYCOUNT option argument for XCLAIM
            > XCLAIM s g b 0 1 LASTID x
            (error) ERR Invalid stream ID specified as stream command argument
            "#
        ));
    }

    #[test]
    fn old_entries_are_claimed() {
        story(&format!(
            r#"{BEGIN}
            @ 10
            > XAUTOCLAIM s g b 11 2-1
            1) "0-0"
            2) (empty array)
            3) (empty array)
            ! xgroup-createconsumer s
            > XAUTOCLAIM s g b 10 0 COUNT 2
            1) "3-0"
            2) 1) 1) "1-0"
                  2) 1) "f"
                     2) "1"
            3) 1) "2-0"
            > XAUTOCLAIM s g b 10 3 JUSTID
            1) "0-0"
            2) 1) "3-0"
            3) (empty array)
            > XPENDING s g
            1) (integer) 2
            2) "1-0"
            3) "3-0"
            4) 1) 1) "b"
                  2) "2"
            > XAUTOCLAIM s g b 0 (1 COUNT 1 JUSTID
            1) "0-0"
            2) 1) "3-0"
            3) (empty array)
            > XAUTOCLAIM s none b 0 0
            (error) NOGROUP No such key 's' or consumer group 'none'
            > XAUTOCLAIM none g b 0 0
            (error) NOGROUP No such key 'none' or consumer group 'g'
            > XAUTOCLAIM s g b x 0
            (error) ERR Invalid min-idle-time argument for XAUTOCLAIM
            > XAUTOCLAIM s g b 0 x
            (error) ERR Invalid stream ID specified as stream command argument
            > XAUTOCLAIM s g b 0 0 COUNT 0
            (error) ERR COUNT must be > 0
            > XAUTOCLAIM s g b 0 0 COUNT 9223372036854775807
            (error) ERR COUNT must be > 0
            > XAUTOCLAIM s g b 0 0 COUNT
            (error) ERR syntax error
            > XAUTOCLAIM s g b 0 0 FOO
            (error) ERR syntax error
            "#
        ));
    }
}
