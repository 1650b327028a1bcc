//! What every replica does for the others: promise, accept, confirm, catch up.

use atoll_base::id::ReplicaId;

use super::{
    configuration::Configuration,
    durable::{Record, Snapshot},
    message::Message,
    replica::{Replica, Role},
    types::{Ballot, Entry, LogIndex, Position},
};

impl Replica {
    pub(super) fn on_prepare(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        configuration: Configuration,
        last: Position,
        commit: LogIndex,
    ) {
        let promised = self.durable.promised;
        // A doubled Prepare is answered again, unless its ballot is in use already.
        if ballot < promised || (ballot == promised && self.follows) {
            if ballot < promised {
                self.nack(from, ballot);
            }
            return;
        }
        self.adopt(configuration);
        if ballot > promised {
            self.promise(ballot);
        }
        self.prepared_at_ms = Some(self.now_ms);
        self.send_promise(from, ballot, last, commit);
    }

    /// Promises a higher ballot: whatever the replica was under a lower one, it is no more.
    pub(super) fn promise(&mut self, ballot: Ballot) {
        self.follow();
        self.forget_unsaid();
        self.asked_by.clear();
        self.persist(Record::Promise(ballot));
        self.round = self.round.max(ballot.round);
        self.follows = false;
        // Committed entries are in the log of every later owner.
        self.verified = self.commit;
    }

    pub(super) fn send_promise(
        &mut self,
        to: ReplicaId,
        ballot: Ballot,
        last: Position,
        commit: LogIndex,
    ) {
        let log = &self.durable.log;
        let tail = if log.last() > last && commit >= log.start().index {
            log.tail(commit.next(), self.settings.accept_bytes_max)
        } else {
            Vec::new()
        };
        let message = Message::Promise {
            ballot,
            last: log.last(),
            commit: self.commit,
            tail,
        };
        self.send_synced(to, message);
    }

    /// Whether a message of an owner counts; makes the replica follow it if so.
    fn heed(&mut self, from: ReplicaId, ballot: Ballot, configuration: Configuration) -> bool {
        // Links make sure who a sender is; a ballot has one owner.
        if from != ballot.replica {
            return false;
        }
        let promised = self.durable.promised;
        if ballot < promised && self.settings.rules.compares_promise {
            self.nack(from, ballot);
            return false;
        }
        self.adopt(configuration);
        if ballot > promised {
            self.promise(ballot);
        }
        if !self.follows {
            self.follow();
            self.follows = true;
        }
        self.heard_owner();
        true
    }

    pub(super) fn on_accept(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        configuration: Configuration,
        previous: Position,
        entries: Vec<Entry>,
        commit: LogIndex,
    ) {
        if !self.heed(from, ballot, configuration) {
            return;
        }
        let end = LogIndex(previous.index.0 + entries.len() as u64);
        match self.merge(previous, entries) {
            Ok(()) => {
                self.verified = self.verified.max(end);
                self.commit_up_to(commit);
                self.send_synced(
                    from,
                    Message::Ack {
                        ballot,
                        matched: end,
                    },
                );
            }
            Err(needed) => self.send(
                from,
                Message::Need {
                    ballot,
                    from: needed,
                },
            ),
        }
    }

    /// Makes the log hold these entries after `previous`; or says from where on they have to be
    /// sent. Cuts the log only where an entry differs: a doubled message cuts nothing.
    pub(super) fn merge(
        &mut self,
        previous: Position,
        mut entries: Vec<Entry>,
    ) -> Result<(), LogIndex> {
        let log = &self.durable.log;
        if previous.index > log.last().index {
            return Err(log.last().index.next());
        }
        // What is before the start is committed, so it is the same everywhere.
        if previous.index >= log.start().index && log.position(previous.index) != Some(previous) {
            return Err(self.commit.next());
        }
        let known = entries
            .iter()
            .take_while(|entry| {
                entry.index() <= log.start().index
                    || log.position(entry.index()) == Some(entry.position)
            })
            .count();
        entries.drain(..known);
        if let Some(first) = entries.first() {
            let after = first.index().previous();
            assert!(
                after >= self.commit || !self.settings.rules.is_sound(),
                "entry {} is committed, and replaced",
                after.next()
            );
            self.persist(Record::Append { after, entries });
        }
        Ok(())
    }

    /// Commits what the owner says is committed, as far as the log is known to be the owner's.
    fn commit_up_to(&mut self, commit: LogIndex) {
        self.commit = self.commit.max(commit.min(self.verified));
    }

    pub(super) fn on_commit(&mut self, from: ReplicaId, ballot: Ballot, commit: LogIndex) {
        let promised = self.durable.promised;
        if ballot < promised {
            self.nack(from, ballot);
            return;
        }
        let needed = if ballot == promised && self.follows {
            self.commit_up_to(commit);
            if self.commit >= commit {
                return;
            }
            self.verified.next()
        } else {
            self.commit.next()
        };
        self.send(
            from,
            Message::Need {
                ballot,
                from: needed,
            },
        );
    }

    pub(super) fn on_confirm(&mut self, from: ReplicaId, ballot: Ballot, round: u64) {
        if ballot < self.durable.promised {
            self.nack(from, ballot);
        } else {
            self.send(from, Message::Confirmed { ballot, round });
        }
    }

    pub(super) fn on_fetch(&mut self, from: ReplicaId, ballot: Ballot, after: LogIndex) {
        if ballot != self.durable.promised {
            self.nack(from, ballot);
            return;
        }
        let log = &self.durable.log;
        match log.position(after) {
            Some(previous) => {
                let entries = log.tail(after.next(), self.settings.accept_bytes_max);
                self.send_synced(
                    from,
                    Message::Tail {
                        ballot,
                        previous,
                        entries,
                    },
                );
            }
            // What the candidate lacks is in the state only.
            None => {
                self.snapshots_asked.insert(from, ballot);
            }
        }
    }

    pub(super) fn on_snapshot(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        configuration: Configuration,
        snapshot: Snapshot,
    ) {
        if let Role::Candidate(candidate) = &self.role
            && candidate.ballot == ballot
        {
            self.install(snapshot);
            self.fetch_more(from);
            return;
        }
        if !self.heed(from, ballot, configuration) {
            return;
        }
        let matched = snapshot.base.index;
        self.install(snapshot);
        self.verified = self.verified.max(matched);
        self.send_synced(from, Message::Ack { ballot, matched });
    }

    /// Takes over a state that is further than what is committed here.
    fn install(&mut self, snapshot: Snapshot) {
        let base = snapshot.base;
        if base.index <= self.commit {
            return;
        }
        self.persist(Record::Install(snapshot));
        self.commit = base.index;
        self.verified = self.verified.max(base.index);
        self.handed_out = base.index;
    }
}
