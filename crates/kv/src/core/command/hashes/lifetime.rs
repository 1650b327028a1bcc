//! How long fields have still got, and for ever (Redis 7.4: "HTTL", "HPERSIST").

use bytes::Bytes;

use super::expiry::{DONE, MILLISECONDS, NO_FIELD, SECONDS, Unit, fields};
use crate::core::{
    command::{Context, EventClass, Executed},
    data::{Hash, Milliseconds},
    reply::Reply,
};

const NO_EXPIRY: Reply = Reply::Integer(-1);

const NOT_A_COUNT: &str = "ERR Number of fields must be a positive integer";

pub(super) fn hpersist(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let key = &words[1];
    context.get::<Hash>(key)?;
    let fields = fields(words, 2, NOT_A_COUNT)?;
    let now_ms = context.now_ms();
    let Some(hash) = context.get_mut::<Hash>(key)? else {
        return Ok(Reply::Array(vec![NO_FIELD; fields.len()]));
    };
    let mut changed = false;
    let replies = fields.iter().map(|field| {
        if hash.get(field, now_ms).is_none() {
            return NO_FIELD;
        }
        if hash.expires_at(field).is_none() {
            return NO_EXPIRY;
        }
        hash.expire_at(field, None);
        changed = true;
        DONE
    });
    let replies = replies.collect();
    if changed {
        context.changed(key, EventClass::Hash, "hpersist");
    }
    Ok(Reply::Array(replies))
}

pub(super) fn httl(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let now_ms = context.now_ms();
    tell(context, words, SECONDS, now_ms)
}

pub(super) fn hpttl(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let now_ms = context.now_ms();
    tell(context, words, MILLISECONDS, now_ms)
}

pub(super) fn hexpiretime(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    tell(context, words, SECONDS, 0)
}

pub(super) fn hpexpiretime(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    tell(context, words, MILLISECONDS, 0)
}

/// When fields end, counted since a moment and rounded up.
fn tell(
    context: &mut Context<'_>,
    words: &[Bytes],
    unit: Unit,
    since_ms: Milliseconds,
) -> Executed {
    let now_ms = context.now_ms();
    let hash = context.get::<Hash>(&words[1])?;
    let fields = fields(words, 2, NOT_A_COUNT)?;
    let replies = fields.iter().map(|field| {
        let Some(hash) = hash.filter(|hash| hash.get(field, now_ms).is_some()) else {
            return NO_FIELD;
        };
        hash.expires_at(field).map_or(NO_EXPIRY, |at_ms| {
            let ms = at_ms.saturating_sub(since_ms);
            Reply::Integer(i64::try_from(ms.div_ceil(unit.ms)).unwrap_or(i64::MAX))
        })
    });
    Ok(Reply::Array(replies.collect()))
}
