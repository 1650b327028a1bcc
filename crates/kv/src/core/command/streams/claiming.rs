//! XCLAIM.

use bytes::Bytes;

use super::{
    claim::{Claim, Claimed, has_group, number, see},
    ids,
};
use crate::core::{
    command::{CommandError, Context, Executed, args},
    data::{Milliseconds, Stream, StreamId},
    reply::Reply,
};

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

#[cfg(test)]
pub(super) mod tests {
    use crate::core::command::testing::story;

    /// A stream `s` with a group `g`, whose consumer `a` has 1-0, 2-0 and 3-0; 4-0 is nobody's.
    pub(in crate::core::command::streams) const BEGIN: &str = r#"
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
}
