//! How a coordinator treats requests that wait at an owner.

use atoll_base::id::ReplicaId;
use bytes::Bytes;

use super::coordinator::{Coordinator, Given, Pending, Task};

/// Never, as a moment.
const NEVER_MS: u64 = u64::MAX / 2;
/// So often the first of those who wait at another node looks whether its owner is there: one
/// that was stopped, or cut off, does not say so.
const LOOK_AFTER_OWNER_MS: u64 = 100;
/// A request that waited while so many were made goes on under another number.
const RENEW_AFTER: u64 = 1_024;

/// How a request waits.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    /// Until when; for ever, if none.
    until_ms: Option<u64>,
    /// How long an owner is looked for.
    timeout_ms: u64,
    /// What it asks for while it waits, and when it waits no longer, once an owner said so.
    asks: Option<Asks>,
    /// Why it waits no longer.
    ended: Option<Ended>,
}

#[derive(Clone, Debug)]
struct Asks {
    again: Bytes,
    last: Bytes,
}

#[derive(Clone, Debug)]
enum Ended {
    /// Its time is over.
    Late,
    /// Nobody wants its answer any more; this, which does nothing, takes its number.
    Withdrawn(Bytes),
    /// It goes on under another number: all replies after its own are kept for its sake.
    Renewed,
}

impl Patience {
    pub(super) fn new(until_ms: Option<u64>, timeout_ms: u64) -> Self {
        Patience {
            until_ms,
            timeout_ms,
            asks: None,
            ended: None,
        }
    }

    /// Whether an owner said, of the number that it has now, that it waits.
    pub(super) fn has_waited(&self) -> bool {
        self.asks.is_some()
    }
}

impl<R: Clone + PartialEq> Coordinator<R> {
    /// Nobody wants a task's answer any more. What it waits for is not taken, unless that has
    /// happened already. `nothing` does nothing.
    pub fn withdraw(&mut self, task: Task, nothing: Bytes, now_ms: u64) {
        let is_named =
            |(sequence, pending): (u64, &Pending<R>)| (pending.task == task).then_some(sequence);
        let named = self.pending.iter().find_map(is_named);
        if let Some(sequence) = named {
            self.stop_waiting(sequence, Ended::Withdrawn(nothing), now_ms);
        }
    }

    /// An owner said that a request waits there.
    pub(super) fn park(
        &mut self,
        sequence: u64,
        from: ReplicaId,
        (again, last): (Bytes, Bytes),
        now_ms: u64,
    ) {
        let Some(pending) = self.pending.get_mut(sequence) else {
            return;
        };
        let Some(patience) = &mut pending.patience else {
            return;
        };
        if patience.asks.is_some() && patience.ended.is_some() {
            // An older answer: its end was asked for since.
            return;
        }
        pending.operation = again.clone();
        pending.asked = from;
        pending.first = None;
        pending.attempts = 0;
        patience.asks = Some(Asks { again, last });
        let until_ms = patience.until_ms.unwrap_or(NEVER_MS);
        let ended = patience.ended.take();
        self.owner = Some(from);
        match ended {
            Some(ended) => self.stop_waiting(sequence, ended, now_ms),
            None if until_ms <= now_ms => self.stop_waiting(sequence, Ended::Late, now_ms),
            None => {
                self.plan(sequence, NEVER_MS, until_ms);
                self.parked.insert(sequence);
            }
        }
    }

    /// A request will never do anything, an owner says.
    pub(super) fn found_nothing(&mut self, sequence: u64, from: ReplicaId, reply: R, now_ms: u64) {
        self.owner = Some(from);
        if let Some(next) = self.renewed(sequence) {
            self.unpark(next, now_ms);
            self.send(next, from, false);
        } else {
            self.end(sequence, Given::Reply(reply));
        }
    }

    /// Gives a request that was ended for that another number.
    fn renewed(&mut self, sequence: u64) -> Option<u64> {
        let patience = self.pending.get_mut(sequence)?.patience.as_mut()?;
        if !matches!(patience.ended, Some(Ended::Renewed)) {
            return None;
        }
        patience.ended = None;
        let asks = patience.asks.take()?;
        let mut pending = self.pending.remove(sequence)?;
        pending.operation = asks.again;
        pending.may_be_done = false;
        let next = self.next_sequence;
        self.next_sequence += 1;
        self.pending.insert(next, pending);
        Some(next)
    }

    /// Has the oldest request go on under another number, if it waits and many were made since:
    /// the replies to all of these are kept until its own is known.
    pub(super) fn renew_first(&mut self, now_ms: u64) {
        if let Some(first) = self.pending.first()
            && first + RENEW_AFTER <= self.next_sequence
            && self.parked.contains(&first)
        {
            self.stop_waiting(first, Ended::Renewed, now_ms);
        }
    }

    /// Has a request tried for the last time under its number; as soon as it is known how.
    fn stop_waiting(&mut self, sequence: u64, ended: Ended, now_ms: u64) {
        let Some(pending) = self.pending.get_mut(sequence) else {
            return;
        };
        let Some(patience) = &mut pending.patience else {
            return;
        };
        if let Some(asks) = &patience.asks {
            pending.operation = match &ended {
                Ended::Withdrawn(nothing) => nothing.clone(),
                Ended::Late | Ended::Renewed => asks.last.clone(),
            };
        }
        let is_known = patience.asks.is_some();
        patience.ended = Some(ended);
        if is_known {
            let asked = pending.asked;
            self.unpark(sequence, now_ms);
            self.send(sequence, asked, false);
        }
    }

    /// Takes the time, for a request that waits.
    pub(super) fn tick_parked(&mut self, sequence: u64, now_ms: u64) {
        let Some(pending) = self.pending.get(sequence) else {
            return;
        };
        if pending.deadline_ms <= now_ms {
            self.stop_waiting(sequence, Ended::Late, now_ms);
        } else {
            let asked = pending.asked;
            self.unpark(sequence, now_ms);
            self.send(sequence, asked, false);
        }
    }

    /// Sees to it that the first of those who wait at another node looks after its owner.
    pub(super) fn plan_look(&mut self, now_ms: u64) {
        if let Some(first) = self.parked.first().copied()
            && let Some(pending) = self.pending.get(first)
            && pending.asked != self.session.replica
            && pending.hedge_at_ms == NEVER_MS
        {
            let deadline_ms = pending.deadline_ms;
            self.plan(first, now_ms + LOOK_AFTER_OWNER_MS, deadline_ms);
        }
    }

    /// Has a request asked for again like any other.
    fn unpark(&mut self, sequence: u64, now_ms: u64) {
        self.parked.remove(&sequence);
        let patience = self.pending.get(sequence);
        let patience = patience.and_then(|pending| pending.patience.as_ref());
        if let Some(timeout_ms) = patience.map(|patience| patience.timeout_ms) {
            self.plan(sequence, now_ms + self.hedge_ms(), now_ms + timeout_ms);
        }
    }

    /// Those that wait at a replica that is not to be counted on, to be asked for elsewhere.
    pub(super) fn unpark_all(&mut self, replica: ReplicaId, now_ms: u64) -> Vec<u64> {
        let waits_there = |sequence: &&u64| {
            let pending = self.pending.get(**sequence);
            pending.is_some_and(|pending| pending.asked == replica)
        };
        let all: Vec<u64> = self.parked.iter().filter(waits_there).copied().collect();
        for sequence in &all {
            self.unpark(*sequence, now_ms);
        }
        all
    }

    fn plan(&mut self, sequence: u64, hedge_at_ms: u64, deadline_ms: u64) {
        if let Some(pending) = self.pending.get_mut(sequence) {
            pending.hedge_at_ms = hedge_at_ms;
            pending.deadline_ms = deadline_ms;
            self.due_at_ms = self.due_at_ms.min(pending.due_at_ms());
        }
    }
}
