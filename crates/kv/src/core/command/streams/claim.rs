//! What XCLAIM and XAUTOCLAIM have in common.

use super::{entry, id, no_group};
use crate::core::{
    command::{CommandError, Context, EventClass},
    data::{Milliseconds, Stream, StreamId, parse_integer},
    reply::Reply,
};

/// How entries are claimed.
pub(super) struct Claim<'a> {
    pub(super) consumer: &'a [u8],
    pub(super) idle_min_ms: Milliseconds,
    pub(super) delivered_at_ms: Milliseconds,
    /// The number of deliveries from now on; one more than before, if none.
    pub(super) deliveries: Option<u64>,
    pub(super) only_ids: bool,
    /// Whether what nobody has is claimed, too.
    pub(super) force: bool,
}

/// What became of an entry.
pub(super) enum Claimed {
    /// It is the consumer's; what to show.
    Yes(Reply),
    /// It was not old enough, or nobody's.
    No,
    /// The stream has it no more, and so has nobody.
    Deleted,
}

impl Claim<'_> {
    /// Claims one entry.
    pub(super) fn run(
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

/// A number, with a refusal of its own.
pub(super) fn number(word: &[u8], refusal: &'static str) -> Result<i64, CommandError> {
    parse_integer(word).ok_or(CommandError::Other(refusal))
}

/// Refuses where the group is not there.
pub(super) fn has_group(
    context: &mut Context<'_>,
    key: &[u8],
    group: &[u8],
) -> Result<(), CommandError> {
    let stream = context.get::<Stream>(key)?;
    match stream.is_some_and(|stream| stream.groups().contains_key(group)) {
        true => Ok(()),
        false => Err(no_group(key, group, "")),
    }
}

/// Notes that the consumer asked, and tells of it if it is new.
pub(super) fn see(
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
