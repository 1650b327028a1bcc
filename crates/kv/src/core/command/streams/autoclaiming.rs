//! XAUTOCLAIM.

use bytes::Bytes;

use super::{
    claim::{Claim, Claimed, has_group, number, see},
    id, ids,
};
use crate::core::{
    command::{CommandError, Context, Executed, args},
    data::{Milliseconds, Stream, StreamId},
    reply::Reply,
};

/// XAUTOCLAIM looks at so many entries for each one that it may claim; as in Redis.
const ATTEMPTS_PER_ENTRY: usize = 10;

/// XAUTOCLAIM claims so many entries where the client doesn't say; as in Redis.
const CLAIMED_DEFAULT: usize = 100;

/// The largest COUNT that Redis takes.
const COUNT_MAX: usize = usize::MAX >> 5;

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
    use crate::core::command::{streams::claiming::tests::BEGIN, testing::story};

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
