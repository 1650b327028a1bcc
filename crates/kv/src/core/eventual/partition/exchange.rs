//! Exchanges of trees with the other replicas, and what follows from them.

use atoll_base::id::ReplicaId;

use super::{Partition, Record};
use crate::core::{
    data::Milliseconds,
    eventual::{
        clock::{Ahead, Stamp},
        message::Message,
        sync::{self, Progress, Session},
    },
};

impl Partition {
    /// A message of an exchange between replicas of the same configuration.
    pub(super) fn exchange(
        &mut self,
        from: ReplicaId,
        message: Message,
        is_collected: bool,
        now_ms: Milliseconds,
    ) -> Result<(), Ahead> {
        if let Message::Compare { row, .. } | Message::Compared { row, .. } = &message {
            self.membership.told(from, self.membership.number(), row);
        }
        let is_whole = !self.is_filled;
        if let Some(items) = sync::items(&message) {
            // While it is being filled, what would be ignored makes it a state with holes: the
            // other one is to try again once it has heard how far is collected.
            if is_whole && !is_collected {
                return Ok(());
            }
            self.join(items.clone(), is_whole, now_ms)?;
        }
        if let Message::Compared {
            mark, is_filled, ..
        } = &message
        {
            self.replica.see(*mark, now_ms)?;
            if *is_filled {
                self.filled.insert(from);
            }
        }
        let told = (self.membership.row(), self.is_filled);
        if let Some(answer) = sync::answer(&mut self.replica, &message, told, now_ms) {
            self.send(from, answer);
        } else if let Some(session) = &mut self.session
            && session.peer() == from
            && session.step(&message, &self.replica)
        {
            self.go_on(now_ms);
        }
        Ok(())
    }

    /// Asks the next question of the exchange, or ends it.
    pub(super) fn go_on(&mut self, now_ms: Milliseconds) {
        let row = self.membership.row();
        if let Some(session) = &mut self.session {
            let progress = session.ask(&self.replica, row, now_ms);
            self.progress(progress, now_ms);
        }
    }

    pub(super) fn progress(&mut self, progress: Progress, now_ms: Milliseconds) {
        let Some(peer) = self.session.as_ref().map(Session::peer) else {
            return;
        };
        match progress {
            Progress::Ask(question) => self.send(peer, question),
            Progress::Waits => {}
            Progress::GaveUp => self.end_session(now_ms),
            Progress::Finished {
                own_mark,
                own_filled,
                peer_mark,
                peer_filled,
            } => {
                self.synced(peer, peer_mark, peer_filled);
                let (mark, row, is_filled) = (own_mark, self.membership.row(), own_filled);
                self.send(
                    peer,
                    Message::Finished {
                        mark,
                        row,
                        is_filled,
                    },
                );
                self.end_session(now_ms);
            }
        }
    }

    pub(super) fn end_session(&mut self, now_ms: Milliseconds) {
        self.session = None;
        self.next_sync_ms = now_ms.saturating_add(self.settings.sync.every_ms);
    }

    /// This replica has all that a peer had when it gave the mark; and if that peer was filled
    /// then, so is this one.
    pub(super) fn synced(&mut self, peer: ReplicaId, mark: Stamp, is_filled: bool) {
        self.membership.synced(peer, mark);
        if is_filled && !self.is_filled {
            self.is_filled = true;
            self.record(Record::Filled(true));
        }
        let stable = self.membership.stable(self.replica.last());
        self.settle(stable);
    }

    /// Begins an exchange with the next of the others, in the order of their ids.
    pub(super) fn begin_session(&mut self, now_ms: Milliseconds) {
        let last = self.last_peer;
        let others = || self.membership.others();
        let Some(peer) = others()
            .find(|peer| *peer > last)
            .or_else(|| others().next())
        else {
            return;
        };
        self.last_peer = peer;
        let id = self.next_id();
        let own_mark = self.replica.mark(now_ms);
        self.session = Some(Session::new(peer, id, own_mark, self.is_filled));
        self.go_on(now_ms);
    }
}
