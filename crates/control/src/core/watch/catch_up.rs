//! How a stream is emptied, and how its lagging watchers become synced again.

use std::{mem, sync::Arc};

use super::{
    hub::{Hub, Step, StreamSlot},
    index::WatcherSlot,
    queue::{Popped, ReplyKind},
    ring::Group,
    watcher::find_matches,
};
use crate::{core::Space, proto::mvccpb::Event};

/// Revisions of the ring that are looked at in one step, so that other streams are not kept
/// waiting.
const STEP_REVISIONS_MAX: usize = 1_024;
/// Lagging watchers have a turn after this many responses, even if the queue is never empty.
const TURN_RESPONSES: u32 = 16;

/// What happened while a storage read was evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReadEnd {
    /// What was asked for has been compacted up to this revision.
    Compacted(i64),
    /// It could not be read.
    Failed,
}

const READ_FAILED: &str = "atoll: the events this watch still needs could not be read on this node; watch again from the revision after the last one seen, perhaps on another node";

impl Hub {
    /// What the stream has to do next.
    pub(crate) fn poll(&mut self, stream: StreamSlot) -> Step {
        loop {
            self.answer_progress(stream);
            if !self.is_catch_up_due(stream) {
                return self.pop(stream);
            }
            self.stream_mut(stream).sent_since_catch_up = 0;
            if let Some(read) = self.catch_up(stream) {
                return read;
            }
        }
    }

    fn is_catch_up_due(&self, stream: StreamSlot) -> bool {
        let stream = self.stream(stream);
        let is_turn = stream.sent_since_catch_up >= TURN_RESPONSES
            && stream.queue.is_half_empty(&self.limits);
        stream.has_lagging() && (stream.queue.is_empty() || is_turn)
    }

    fn pop(&mut self, stream: StreamSlot) -> Step {
        let response_bytes_max = self.limits.response_bytes_max;
        let stream = self.stream_mut(stream);
        let Some(popped) = stream.queue.pop(response_bytes_max) else {
            return Step::Idle;
        };
        stream.sent_since_catch_up = stream.sent_since_catch_up.saturating_add(1);
        match popped {
            Popped::Reply(reply) => Step::Reply(reply),
            Popped::Events(events) => Step::Events(events),
        }
    }

    /// Advances lagging watchers by one step, or answers what must be read for that.
    fn catch_up(&mut self, stream: StreamSlot) -> Option<Step> {
        let mut from_ring = None;
        let mut from_storage = None;
        for space in [Space::User, Space::System] {
            let compact = self.space(space).compact;
            self.cancel_lagging(stream, space, compact, &ReplyKind::Compacted(compact));
            let ring_from = self.space(space).ring.from();
            let Some(lagging) = &self.stream(stream).lagging[space as usize] else {
                continue;
            };
            let nearest = lagging.order.range((ring_from, WatcherSlot(0))..).next();
            from_ring = from_ring.or(nearest.map(|&(next, _)| (space, next)));
            let farthest = lagging.order.first().filter(|&&(next, _)| next < ring_from);
            from_storage = from_storage.or(farthest.map(|&(next, _)| (space, next)));
        }
        let is_storage_first = mem::take(&mut self.stream_mut(stream).storage_first);
        match (from_ring, from_storage) {
            (Some((space, from)), storage) if storage.is_none() || !is_storage_first => {
                self.stream_mut(stream).storage_first = true;
                self.feed_from_ring(stream, space, from);
                None
            }
            (_, Some((space, from))) => Some(Step::Read(space, from)),
            _ => None,
        }
    }

    fn feed_from_ring(&mut self, stream: StreamSlot, space: Space, from: i64) {
        let state = self.space(space);
        let groups: Vec<_> = state
            .ring
            .since(from)
            .take(STEP_REVISIONS_MAX)
            .cloned()
            .collect();
        let to = match groups.last() {
            Some(last) if groups.len() == STEP_REVISIONS_MAX => last.revision + 1,
            _ => state.current + 1,
        };
        self.feed_groups(stream, space, from, &groups, to);
    }

    /// Takes what was read after [`Step::Read`]: every revision in `from..to` that changed
    /// something, in order.
    pub(crate) fn feed(
        &mut self,
        stream: StreamSlot,
        space: Space,
        from: i64,
        groups: Vec<(i64, Arc<[Event]>)>,
        to: i64,
    ) {
        // Nothing may be told before it is published, or a progress answer would seem to
        // go back.
        let to = to.min(self.space(space).current + 1);
        let groups: Vec<_> = groups
            .into_iter()
            .filter(|(revision, _)| (from..to).contains(revision))
            .map(|(revision, events)| Group::new(revision, events))
            .collect();
        assert!(
            groups.is_sorted_by(|a, b| a.revision < b.revision),
            "revisions of {space:?} were read from storage out of order"
        );
        self.feed_groups(stream, space, from, &groups, to);
    }

    /// Takes the news that a read after [`Step::Read`] gave nothing: who needed it is canceled.
    pub(crate) fn feed_nothing(
        &mut self,
        stream: StreamSlot,
        space: Space,
        from: i64,
        end: ReadEnd,
    ) {
        match end {
            ReadEnd::Compacted(revision) if revision > from => {
                self.cancel_lagging(stream, space, revision, &ReplyKind::Compacted(revision));
            }
            ReadEnd::Compacted(_) | ReadEnd::Failed => {
                let below = self.space(space).ring.from();
                self.cancel_lagging(stream, space, below, &ReplyKind::Failed(READ_FAILED));
            }
        }
    }

    fn feed_groups(
        &mut self,
        stream: StreamSlot,
        space: Space,
        from: i64,
        groups: &[Group],
        to: i64,
    ) {
        let mut reached = to;
        let mut matches = mem::take(&mut self.matches);
        'groups: for group in groups {
            let Some(lagging) = &self.stream(stream).lagging[space as usize] else {
                break;
            };
            matches = find_matches(matches, &lagging.index, &self.watchers, group, from);
            for run in matches.chunk_by(|a, b| a.0 == b.0) {
                if !self.offer(run[0].0, group, run) {
                    reached = group.revision;
                    break 'groups;
                }
                self.set_next(run[0].0, group.revision + 1);
            }
        }
        self.keep_for_reuse(matches);
        self.advance(stream, space, from, reached);
    }

    fn set_next(&mut self, slot: WatcherSlot, next_revision: i64) {
        let watcher = self
            .watchers
            .get_mut(slot.0)
            .expect("a lagging watcher exists");
        let stream = self
            .streams
            .get_mut(watcher.stream.0)
            .expect("a watcher's stream is open");
        let lagging = stream.lagging[watcher.space as usize].get_or_insert_default();
        lagging.order.remove(&(watcher.next_revision, slot));
        lagging.order.insert((next_revision, slot));
        watcher.next_revision = next_revision;
    }

    /// Notes that everything before `reached` was evaluated for lagging watchers that needed
    /// `from` or later; those that need nothing of what was published become synced.
    fn advance(&mut self, stream: StreamSlot, space: Space, from: i64, reached: i64) {
        let first = WatcherSlot(0);
        let current = self.space(space).current;
        let Some(lagging) = &self.stream(stream).lagging[space as usize] else {
            return;
        };
        let passed: Vec<_> = lagging
            .order
            .range((from, first)..(reached, first))
            .copied()
            .collect();
        for (_, slot) in passed {
            self.set_next(slot, reached);
        }
        let Some(lagging) = &self.stream(stream).lagging[space as usize] else {
            return;
        };
        let synced: Vec<_> = lagging
            .order
            .range((current + 1, first)..)
            .copied()
            .collect();
        for (_, slot) in synced {
            self.leave_lagging(slot);
            self.enter_synced(slot);
        }
    }

    /// Cancels lagging watchers that need a revision before `below`.
    fn cancel_lagging(&mut self, stream: StreamSlot, space: Space, below: i64, why: &ReplyKind) {
        let Some(lagging) = &self.stream(stream).lagging[space as usize] else {
            return;
        };
        let lost: Vec<_> = lagging
            .order
            .range(..(below, WatcherSlot(0)))
            .map(|&(_, slot)| slot)
            .collect();
        for slot in lost {
            let id = self.remove(slot).id;
            self.reply(stream, space, (id, why.clone()));
        }
    }
}
