//! Hinted hand-off: writes for members that could not be reached (DeCandia and others, "Dynamo",
//! 2007, section 4.6).
//!
//! Hints are kept by the replica that executed the write, in memory, and only for members: a
//! quorum is one of the partition's N replicas, never of others that stand in (Dynamo's sloppy
//! quorum), so a hint never counts as a copy. What is dropped because there is too much of it, or
//! because it is too old, or with the node, is found by the next exchange of trees; hints only
//! spare that its work and the members the wait.

use std::collections::{BTreeMap, VecDeque};

use atoll_base::id::ReplicaId;

use super::replica::Delta;
use crate::core::data::Milliseconds;

/// Limits of hints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HintLimits {
    /// Hints of a partition take at most so many bytes; the oldest of the member with the most
    /// make room.
    pub bytes_max: usize,
    /// Older ones are dropped, in milliseconds.
    pub age_ms_max: u64,
    /// About so many bytes are sent at once.
    pub batch_bytes: usize,
    /// Hints that were not acknowledged are sent again after so long, in milliseconds.
    pub retry_ms: u64,
}

impl Default for HintLimits {
    fn default() -> Self {
        HintLimits {
            bytes_max: 4 << 20,
            age_ms_max: 10 * 60_000,
            batch_bytes: 256 << 10,
            retry_ms: 2_000,
        }
    }
}

/// No message has this number, so nobody acknowledges it.
const NO_MESSAGE: u64 = 0;

#[derive(Clone, Debug)]
struct Hint {
    since_ms: Milliseconds,
    bytes: usize,
    delta: Delta,
}

#[derive(Clone, Debug, Default)]
struct Queue {
    hints: VecDeque<Hint>,
    bytes: usize,
    /// The number of what was sent last, how many hints that was, and when.
    sent: Option<(u64, usize, Milliseconds)>,
}

/// The queues, one for each member.
#[derive(Clone, Debug)]
pub struct Hints {
    limits: HintLimits,
    queues: BTreeMap<ReplicaId, Queue>,
    bytes: usize,
    dropped: u64,
}

impl Hints {
    /// Without hints.
    pub fn new(limits: HintLimits) -> Hints {
        Hints {
            limits,
            queues: BTreeMap::new(),
            bytes: 0,
            dropped: 0,
        }
    }

    /// What they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many were dropped because of a limit.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Keeps a write for a member.
    pub fn keep(&mut self, member: ReplicaId, delta: Delta, now_ms: Milliseconds) {
        let bytes = bytes_of(&delta);
        let queue = self.queues.entry(member).or_default();
        queue.hints.push_back(Hint {
            since_ms: now_ms,
            bytes,
            delta,
        });
        queue.bytes += bytes;
        self.bytes += bytes;
        self.shed(self.limits.bytes_max);
    }

    /// Drops hints until the others take at most so many bytes: the oldest of the member with the
    /// most first.
    pub fn shed(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let largest = self.queues.iter().max_by_key(|(_, queue)| queue.bytes);
            let Some(largest) = largest.map(|(member, _)| *member) else {
                unreachable!("bytes are those of queues");
            };
            self.drop_first(largest);
        }
    }

    fn drop_first(&mut self, member: ReplicaId) {
        let Some(queue) = self.queues.get_mut(&member) else {
            return;
        };
        if let Some(hint) = queue.hints.pop_front() {
            queue.bytes -= hint.bytes;
            self.bytes -= hint.bytes;
            self.dropped += 1;
            // What was sent began with it; what else was acknowledged with it is sent again, when
            // it would have been: nobody may be there.
            queue.sent = queue.sent.map(|(.., sent_ms)| (NO_MESSAGE, 0, sent_ms));
        }
        if queue.hints.is_empty() {
            self.queues.remove(&member);
        }
    }

    /// Drops what is too old.
    pub fn expire(&mut self, now_ms: Milliseconds) {
        let age_ms_max = self.limits.age_ms_max;
        let is_old = |queue: &Queue| {
            let first = queue.hints.front();
            first.is_some_and(|hint| now_ms.saturating_sub(hint.since_ms) > age_ms_max)
        };
        while let Some(member) = self
            .queues
            .iter()
            .find(|(_, queue)| is_old(queue))
            .map(|(member, _)| *member)
        {
            self.drop_first(member);
        }
    }

    /// Forgets all that is for others than these.
    pub fn retain(&mut self, is_member: impl Fn(ReplicaId) -> bool) {
        self.queues.retain(|member, _| is_member(*member));
        self.bytes = self.queues.values().map(|queue| queue.bytes).sum();
    }

    /// Members that something could be sent to now.
    pub fn waiting(&self, now_ms: Milliseconds) -> Vec<ReplicaId> {
        let is_due = |queue: &Queue| {
            let sent = queue.sent.map(|(_, _, sent_ms)| sent_ms);
            sent.is_none_or(|sent_ms| now_ms.saturating_sub(sent_ms) >= self.limits.retry_ms)
        };
        let due = self.queues.iter().filter(|(_, queue)| is_due(queue));
        due.map(|(member, _)| *member).collect()
    }

    /// What to send a member first, under this number.
    pub fn send(&mut self, member: ReplicaId, id: u64, now_ms: Milliseconds) -> Option<Delta> {
        let queue = self.queues.get_mut(&member)?;
        let mut delta = Delta::new();
        let (mut count, mut bytes) = (0, 0);
        for hint in &queue.hints {
            if count > 0 && bytes + hint.bytes > self.limits.batch_bytes {
                break;
            }
            count += 1;
            bytes += hint.bytes;
            delta.extend(hint.delta.iter().cloned());
        }
        queue.sent = Some((id, count, now_ms));
        Some(delta)
    }

    /// The member has what was sent under this number. Whether that was a hint, the last sent.
    pub fn acked(&mut self, member: ReplicaId, id: u64) -> bool {
        let Some(queue) = self.queues.get_mut(&member) else {
            return false;
        };
        let Some((_, count, _)) = queue.sent.filter(|(sent, ..)| *sent == id) else {
            return false;
        };
        queue.sent = None;
        for hint in queue.hints.drain(..count) {
            queue.bytes -= hint.bytes;
            self.bytes -= hint.bytes;
        }
        if queue.hints.is_empty() {
            self.queues.remove(&member);
        }
        true
    }
}

/// About what a delta takes, in bytes.
pub fn bytes_of(delta: &Delta) -> usize {
    let items = delta.iter();
    items.map(|(key, item)| key.len() + item.bytes()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{data::Key, eventual::item::Item};

    const LIMITS: HintLimits = HintLimits {
        bytes_max: 400,
        age_ms_max: 1_000,
        batch_bytes: 140,
        retry_ms: 100,
    };

    /// About 65 bytes.
    fn delta(name: &str) -> Delta {
        vec![(Key::from(name.as_bytes()), Item::default())]
    }

    fn names(delta: Option<Delta>) -> Vec<String> {
        let names = delta.into_iter().flatten();
        names
            .map(|(key, _)| String::from_utf8_lossy(&key).into_owned())
            .collect()
    }

    #[test]
    fn what_was_acknowledged_goes_and_the_rest_is_sent_again() {
        let member = ReplicaId(2);
        let mut hints = Hints::new(LIMITS);
        for name in ["a", "b", "c"] {
            hints.keep(member, delta(name), 0);
        }
        assert_eq!(hints.waiting(0), [member]);
        assert_eq!(names(hints.send(member, 7, 0)), ["a", "b"]);
        assert!(hints.waiting(99).is_empty());
        assert_eq!(hints.waiting(100), [member]);
        assert!(!hints.acked(member, 6));
        assert!(hints.acked(member, 7) && !hints.acked(member, 7));
        assert_eq!(names(hints.send(member, 8, 1)), ["c"]);
        assert!(hints.acked(member, 8));
        assert_eq!((hints.bytes(), hints.dropped()), (0, 0));
    }

    #[test]
    fn there_are_bounds() {
        let mut hints = Hints::new(LIMITS);
        hints.keep(ReplicaId(3), delta("x"), 0);
        for at in 0..20 {
            hints.keep(ReplicaId(2), delta(&at.to_string()), at);
            assert!(hints.bytes() <= LIMITS.bytes_max);
        }
        assert_eq!(
            names(hints.send(ReplicaId(3), 1, 0)),
            ["x"],
            "the one with the most makes room"
        );
        let dropped = hints.dropped();
        assert!(dropped > 10);
        // A number that stood for one that was dropped acknowledges nothing.
        hints.send(ReplicaId(2), 2, 20);
        hints.expire(1_000 + 19);
        assert!(!hints.acked(ReplicaId(2), 2));
        hints.expire(1_000 + 20);
        assert_eq!(hints.bytes(), 0);
        hints.keep(ReplicaId(2), delta("y"), 2_000);
        hints.retain(|member| member != ReplicaId(2));
        assert_eq!(hints.bytes(), 0);
    }
}
