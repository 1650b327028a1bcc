//! When leases end: the leader's own clockwork over the replicated leases.
//!
//! Only the leader runs it. A new leader gives every lease its full time again (or what was
//! left at the last checkpoint), plus `extend`, since it does not know when the old leader
//! renewed it last: a lease may end late, never early. Times are durations since any epoch
//! that the caller keeps to. Nothing here is replicated.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::core::lease::Leases;

/// An expired lease that is still there after this long is offered for revocation again.
pub const EXPIRED_RETRY: Duration = Duration::from_secs(3);
/// Leases with more than this left are checkpointed this often.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(300);

/// Deadlines of leases; empty unless this node leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lessor {
    /// In which term this node leads.
    term: Option<u64>,
    timers: BTreeMap<i64, Timer>,
    /// When each lease is offered for revocation next.
    alarms: BTreeSet<(Duration, i64)>,
    /// When each long lease is checkpointed next.
    checkpoints: BTreeSet<(Duration, i64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Timer {
    ttl: Duration,
    remaining: Option<Duration>,
    deadline: Duration,
    alarm: Duration,
    checkpoint: Option<Duration>,
}

/// A lease was renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// Its full time to live, in seconds.
    pub ttl_s: i64,
    /// An older checkpoint says less: commit a checkpoint of 0 before answering the client,
    /// or a new leader would end the lease early.
    pub clear_checkpoint: bool,
}

impl Lessor {
    /// This node leads in a term, from `now` on.
    pub fn promote(&mut self, term: u64, now: Duration, extend: Duration, leases: &Leases) {
        self.demote();
        self.term = Some(term);
        for (id, lease) in leases.iter() {
            let timer = Timer {
                remaining: (lease.remaining_s > 0).then(|| seconds(lease.remaining_s)),
                ..Timer::new(lease.ttl_s)
            };
            let left = timer.remaining.unwrap_or(timer.ttl);
            self.schedule(id, timer, left + extend, now);
        }
    }

    /// This node leads no longer.
    pub fn demote(&mut self) {
        *self = Lessor::default();
    }

    /// The term in which this node leads, if it does.
    pub fn term(&self) -> Option<u64> {
        self.term
    }

    /// A lease was granted.
    pub fn grant(&mut self, id: i64, ttl_s: i64, now: Duration) {
        if self.term.is_some() {
            let timer = Timer::new(ttl_s);
            self.schedule(id, timer, timer.ttl, now);
        }
    }

    /// Gives a lease its full time again. None if there is no such lease, or if its time is
    /// over already and it is being revoked.
    pub fn renew(&mut self, id: i64, now: Duration) -> Option<Renewed> {
        let timer = *self.timers.get(&id)?;
        if timer.deadline <= now {
            return None;
        }
        // It says so until the checkpoint of 0 is committed.
        let clear_checkpoint = timer.remaining.is_some();
        let checkpoint = timer.checkpoint;
        self.schedule(id, timer, timer.ttl, now);
        if !clear_checkpoint {
            self.move_checkpoint(id, checkpoint);
        }
        Some(Renewed {
            ttl_s: timer.ttl.as_secs() as i64,
            clear_checkpoint,
        })
    }

    /// A lease was revoked.
    pub fn revoke(&mut self, id: i64) {
        if let Some(timer) = self.timers.remove(&id) {
            self.alarms.remove(&(timer.alarm, id));
            if let Some(at) = timer.checkpoint {
                self.checkpoints.remove(&(at, id));
            }
        }
    }

    /// A checkpoint was committed.
    pub fn checkpointed(&mut self, id: i64, remaining_s: i64, now: Duration) {
        let Some(timer) = self.timers.get_mut(&id) else {
            return;
        };
        timer.remaining = (remaining_s > 0).then(|| seconds(remaining_s));
        let left = timer.deadline.saturating_sub(now);
        let next = (left > CHECKPOINT_INTERVAL).then(|| now + CHECKPOINT_INTERVAL);
        self.move_checkpoint(id, next);
    }

    /// Up to `max` leases whose time is over, soonest first. Each is offered again after
    /// [`EXPIRED_RETRY`] if it is still there.
    pub fn expired(&mut self, now: Duration, max: usize) -> Vec<i64> {
        let due: Vec<(Duration, i64)> = self
            .alarms
            .iter()
            .copied()
            .take_while(|(at, _)| *at <= now)
            .take(max)
            .collect();
        for &(at, id) in &due {
            self.alarms.remove(&(at, id));
            let timer = self.timers.get_mut(&id).expect("every alarm has its timer");
            timer.alarm = now + EXPIRED_RETRY;
            self.alarms.insert((timer.alarm, id));
        }
        due.into_iter().map(|(_, id)| id).collect()
    }

    /// Up to `max` checkpoints to propose now: lease and what is left of it, in seconds.
    pub fn due_checkpoints(&mut self, now: Duration, max: usize) -> Vec<(i64, i64)> {
        let due: Vec<i64> = self
            .checkpoints
            .iter()
            .take_while(|(at, _)| *at <= now)
            .take(max)
            .map(|(_, id)| *id)
            .collect();
        let mut proposals = Vec::new();
        for id in due {
            // If the proposal gets lost, the next one follows an interval later.
            self.move_checkpoint(id, Some(now + CHECKPOINT_INTERVAL));
            let timer = &self.timers[&id];
            let left = timer.deadline.saturating_sub(now);
            if !left.is_zero() && left < timer.ttl {
                proposals.push((id, seconds_up(left)));
            }
        }
        proposals
    }

    /// When [`Lessor::expired`] or [`Lessor::due_checkpoints`] has something next.
    pub fn next_deadline(&self) -> Option<Duration> {
        let first = |set: &BTreeSet<(Duration, i64)>| set.first().map(|(at, _)| *at);
        [first(&self.alarms), first(&self.checkpoints)]
            .into_iter()
            .flatten()
            .min()
    }

    /// What is left of a lease; none if there is no such lease.
    pub fn left(&self, id: i64, now: Duration) -> Option<Duration> {
        self.timers
            .get(&id)
            .map(|timer| timer.deadline.saturating_sub(now))
    }

    fn schedule(&mut self, id: i64, timer: Timer, left: Duration, now: Duration) {
        self.revoke(id);
        let deadline = now + left;
        let long = left > CHECKPOINT_INTERVAL;
        let timer = Timer {
            deadline,
            alarm: deadline,
            checkpoint: long.then(|| now + CHECKPOINT_INTERVAL),
            ..timer
        };
        self.alarms.insert((timer.alarm, id));
        self.checkpoints.extend(timer.checkpoint.map(|at| (at, id)));
        self.timers.insert(id, timer);
    }

    fn move_checkpoint(&mut self, id: i64, to: Option<Duration>) {
        let timer = self
            .timers
            .get_mut(&id)
            .expect("only leases with a timer have checkpoints");
        if let Some(at) = timer.checkpoint {
            self.checkpoints.remove(&(at, id));
        }
        timer.checkpoint = to;
        self.checkpoints.extend(to.map(|at| (at, id)));
    }
}

impl Timer {
    fn new(ttl_s: i64) -> Timer {
        Timer {
            ttl: seconds(ttl_s),
            remaining: None,
            deadline: Duration::ZERO,
            alarm: Duration::ZERO,
            checkpoint: None,
        }
    }
}

fn seconds(s: i64) -> Duration {
    Duration::from_secs(u64::try_from(s).unwrap_or(0))
}

fn seconds_up(left: Duration) -> i64 {
    let up = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    i64::try_from(up).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn leading() -> Lessor {
        let mut lessor = Lessor::default();
        lessor.promote(1, at(0), Duration::ZERO, &Leases::default());
        lessor
    }

    #[test]
    fn a_lease_that_is_not_renewed_expires_and_is_offered_until_it_is_revoked() {
        let mut lessor = leading();
        lessor.grant(1, 5, at(10));
        lessor.grant(2, 6, at(10));
        assert_eq!(lessor.next_deadline(), Some(at(15)));
        assert_eq!(lessor.left(1, at(12)), Some(at(3)));
        assert_eq!(
            lessor.renew(1, at(14)),
            Some(Renewed {
                ttl_s: 5,
                clear_checkpoint: false
            })
        );
        assert_eq!(lessor.expired(at(16), 10), [2]);
        assert_eq!(lessor.expired(at(16), 10), [] as [i64; 0]);
        assert_eq!(lessor.renew(2, at(17)), None, "it is being revoked");
        assert_eq!(lessor.expired(at(19), 10), [1, 2]);
        lessor.revoke(1);
        lessor.revoke(2);
        assert_eq!(lessor.next_deadline(), None);
    }

    #[test]
    fn at_most_so_many_expire_at_once() {
        let mut lessor = leading();
        (1..=5).for_each(|id| lessor.grant(id, id, at(0)));
        assert_eq!(lessor.expired(at(9), 2), [1, 2]);
        assert_eq!(lessor.expired(at(9), 9), [3, 4, 5]);
    }

    #[test]
    fn a_new_leader_gives_what_the_checkpoint_left() {
        let (mut leases, mut effects) = (Leases::default(), Default::default());
        leases.grant(1, 1000, &mut effects).unwrap();
        leases.grant(2, 1000, &mut effects).unwrap();
        leases.checkpoint(2, 400, &mut effects);
        let mut lessor = Lessor::default();
        lessor.promote(1, at(0), at(1), &leases);
        assert_eq!(lessor.left(1, at(0)), Some(at(1001)));
        assert_eq!(lessor.left(2, at(0)), Some(at(401)));
        assert_eq!(lessor.due_checkpoints(at(300), 10), [(1, 701), (2, 101)]);
        lessor.checkpointed(1, 701, at(300));
        let renewed = |clear_checkpoint| {
            let ttl_s = 1000;
            Some(Renewed {
                ttl_s,
                clear_checkpoint,
            })
        };
        assert_eq!(lessor.renew(1, at(301)), renewed(true));
        assert_eq!(lessor.left(1, at(301)), Some(at(1000)));
        assert_eq!(
            lessor.renew(1, at(302)),
            renewed(true),
            "it says less still"
        );
        lessor.checkpointed(1, 0, at(302));
        assert_eq!(lessor.renew(1, at(302)), renewed(false));
        lessor.demote();
        assert_eq!(lessor.renew(1, at(302)), None);
        assert_eq!(lessor.next_deadline(), None);
    }

    #[test]
    fn the_longest_lease_does_not_overflow() {
        let mut lessor = leading();
        lessor.grant(1, crate::core::lease::LEASE_TTL_MAX_S, at(1 << 40));
        assert!(lessor.left(1, at(1 << 40)).is_some());
    }
}
