//! A linearizable read without the owner: every replica is asked what it sees, and nobody takes
//! over.
//!
//! A replica tells its configuration, the reply that its state gives, the version of what the
//! read reads, and whether any entry of its log after the applied ones may change that. The
//! reply counts when a quorum of the newest configuration heard of tells that configuration and
//! one version with one reply, and none of them has such an entry ([`Votes::verdict`]).
//!
//! Why nothing acknowledged is missed: a write that was acknowledged before the read began is in
//! the synced logs of a quorum, and every quorum of a later configuration meets it, because a
//! joint one is left only after an entry behind the write was committed by both majorities. So
//! one of those who answer has the write in its log. It has applied it, then its version is the
//! write's or later, and all tell the same; or it has not, then it tells that something is
//! pending, whether or not that is committed. A restarted replica knows no commit beyond its
//! snapshot: to it everything in its log is pending.
//!
//! Why nothing is seen and then unseen: a state holds committed entries only. Later owners have
//! them in their logs and read no earlier than their own first entry; the present owner's commit
//! is never behind a follower's; and a later look meets a log that has them, by the same
//! argument.
//!
//! Why the newest configuration is heard of: before anything can be committed under a joint
//! configuration, a majority of the old members has promised a ballot of it, and recorded it with
//! the promise. A quorum of the old configuration holds one of them, so it does not count; and
//! who dropped the partition and was given it again tells the configuration that it was given it
//! under.
//!
//! Nothing is promised by answering, so a writer is not disturbed; where one is at work, there is
//! nearly always something pending, and the read goes the usual way.

use std::collections::BTreeMap;

use atoll_base::id::ReplicaId;
use bytes::Bytes;

use super::{Batch, PENDING_MAX, Partition, StateMachine};
use crate::core::{
    paxos::{Configuration, Payload},
    sessions::Origin,
};

/// A coordinator's: what do you see?
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Look {
    /// Names the read.
    pub origin: Origin,
    /// What is read, encoded.
    pub operation: Bytes,
}

/// What a replica sees.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seen<R> {
    /// Which look.
    pub origin: Origin,
    /// The newest configuration that the replica knows.
    pub configuration: Configuration,
    /// The version of what is read, and the reply; none, if something is pending or the read
    /// can't be answered without the log.
    pub view: Option<(u64, R)>,
}

impl<M: StateMachine> Partition<M> {
    /// Tells what a read sees here, whoever owns the ballot.
    pub fn look(&mut self, look: &Look) -> Seen<M::Reply> {
        let configuration = self.replica.configuration().clone();
        let is_pending =
            self.is_pending(&look.operation) && self.replica.settings().rules.heeds_pending;
        let view = (!is_pending).then(|| self.state.machine.observe(&look.operation));
        Seen {
            origin: look.origin,
            configuration,
            view: view.flatten(),
        }
    }

    /// Whether the log holds anything that is not applied and may change what is read.
    fn is_pending(&self, read: &Bytes) -> bool {
        let log = &self.replica.durable().log;
        let mut index = self.state.applied.index.next();
        if log.base() > self.state.applied {
            // A snapshot is about to take the place of this state.
            return true;
        }
        if log.last().index.0 >= index.0 + PENDING_MAX {
            return true;
        }
        while let Some(entry) = log.entry(index) {
            if let Payload::Batch(bytes) = &entry.payload {
                let machine = &self.state.machine;
                let touches = Batch::decode(bytes.clone()).map_or(true, |batch| {
                    let mut requests = batch.requests.iter();
                    requests.any(|(_, logged)| machine.touches(logged, read))
                });
                if touches {
                    return true;
                }
            }
            index = index.next();
        }
        false
    }
}

/// What came of a look so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict<R> {
    /// The answer.
    Reply(R),
    /// It has to go through the owner.
    No,
    /// Others may answer yet.
    Open,
}

/// Answers to one look.
#[derive(Clone, Debug)]
pub(super) struct Votes<R> {
    seen: BTreeMap<ReplicaId, Seen<R>>,
    asked: usize,
}

impl<R: Clone + PartialEq> Votes<R> {
    pub(super) fn new(asked: usize) -> Self {
        Votes {
            seen: BTreeMap::new(),
            asked,
        }
    }

    pub(super) fn add(&mut self, from: ReplicaId, seen: Seen<R>) {
        self.seen.insert(from, seen);
    }

    pub(super) fn verdict(&self) -> Verdict<R> {
        let configurations = self.seen.values().map(|seen| &seen.configuration);
        let Some(newest) = configurations.max_by_key(|it| it.number) else {
            return Verdict::Open;
        };
        let counts = |replica: &ReplicaId, seen: &Seen<R>| {
            seen.configuration.number == newest.number && newest.is_voter(*replica)
        };
        let mut counted = self
            .seen
            .iter()
            .filter(|(replica, seen)| counts(replica, seen));
        let Some((_, first)) = counted.next() else {
            return self.open();
        };
        let Some((_, reply)) = &first.view else {
            return Verdict::No;
        };
        if !counted.all(|(_, seen)| seen.view == first.view) {
            return Verdict::No;
        }
        let has = |replica| {
            let seen = self.seen.get(&replica);
            seen.is_some_and(|seen| counts(&replica, seen))
        };
        if newest.is_quorum(has) {
            Verdict::Reply(reply.clone())
        } else {
            self.open()
        }
    }

    fn open(&self) -> Verdict<R> {
        if self.seen.len() < self.asked {
            Verdict::Open
        } else {
            Verdict::No
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{paxos::Members, sessions::Session};

    fn seen(configuration: &Configuration, view: Option<u64>) -> Seen<u64> {
        Seen {
            origin: Origin {
                session: Session {
                    replica: ReplicaId(9),
                    boot: 1,
                },
                sequence: 1,
                answered_below: 1,
            },
            configuration: configuration.clone(),
            view: view.map(|version| (version, version * 10)),
        }
    }

    fn verdict(answers: &[(u64, &Configuration, Option<u64>)]) -> Verdict<u64> {
        let mut votes = Votes::new(4);
        for (from, configuration, view) in answers {
            votes.add(ReplicaId(*from), seen(configuration, *view));
        }
        votes.verdict()
    }

    fn members(ids: [u64; 3]) -> Members {
        Members::new(ids.map(ReplicaId).to_vec()).expect("some")
    }

    #[test]
    fn a_quorum_of_the_newest_configuration_has_to_agree() {
        let first = Configuration::first(members([1, 2, 3]));
        let joint = first.joint(members([1, 4, 5])).expect("it was stable");
        let f = |at, view| (at, &first, view);
        let j = |at, view| (at, &joint, view);
        assert_eq!(verdict(&[f(1, Some(7))]), Verdict::Open);
        assert_eq!(verdict(&[f(1, Some(7)), f(2, Some(7))]), Verdict::Reply(70));
        assert_eq!(verdict(&[f(1, Some(7)), f(2, Some(8))]), Verdict::No);
        assert_eq!(verdict(&[f(1, Some(7)), f(2, None)]), Verdict::No);
        // No vote, no voice.
        assert_eq!(verdict(&[f(1, Some(7)), f(4, Some(7))]), Verdict::Open);
        // One who knows of a step: the others' answers are too old, and both sides are needed.
        assert_eq!(verdict(&[f(1, Some(7)), j(2, Some(7))]), Verdict::Open);
        let old_side = [j(1, Some(7)), j(2, Some(7))];
        assert_eq!(verdict(&old_side), Verdict::Open);
        let both = [j(1, Some(7)), j(2, Some(7)), j(4, Some(7))];
        assert_eq!(verdict(&both), Verdict::Reply(70));
        let all = [f(1, Some(7)), f(2, Some(7)), f(3, Some(7)), j(4, Some(7))];
        assert_eq!(verdict(&all), Verdict::No);
    }
}
