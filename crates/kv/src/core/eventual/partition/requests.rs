//! Clients' commands, and what the other replicas say to them.

use std::collections::BTreeSet;

use atoll_base::id::ReplicaId;
use bytes::Bytes;

use super::{Partition, Record, Refused};
use crate::core::{
    command::Flags,
    data::{Key, Milliseconds},
    eventual::{
        message::Message,
        quorum::{Asking, Effect, Level},
        replica::{Delta, check},
        sync::ITEMS_BYTES_MAX,
    },
    reply::Reply,
};

impl Partition {
    /// Does a client's command: it is answered in what [`ready`](Self::ready) hands out, under
    /// this number. `write` and `read` say how many replicas have to answer.
    ///
    /// # Errors
    /// It is not taken now.
    pub fn request(
        &mut self,
        request: u64,
        words: Vec<Bytes>,
        write: Level,
        read: Level,
        now_ms: Milliseconds,
    ) -> Result<(), Refused> {
        if !self.is_filled {
            return Err(Refused::Filling);
        }
        if self.is_behind() {
            return Err(Refused::Behind);
        }
        let others: BTreeSet<ReplicaId> = self.membership.others().collect();
        let command = match check(&words) {
            Ok(command) => command,
            Err(error) => {
                self.answer(request, Reply::Error(error.to_string().into()));
                return Ok(());
            }
        };
        let reads = command.flags.has(Flags::READONLY);
        if !reads && let Some(ahead_ms) = self.ahead_ms(now_ms) {
            return Err(Refused::Ahead { ahead_ms });
        }
        let asks = reads && read.of(others.len() + 1) > 1;
        if self.quorum.is_full() && (asks || !reads) {
            return Err(Refused::Busy);
        }
        if asks {
            let id = self.next_id();
            let places = command.keys.of(&words);
            let keys: BTreeSet<&Bytes> =
                places.into_iter().filter_map(|at| words.get(at)).collect();
            let keys: Vec<_> = keys
                .into_iter()
                .map(|key| (key.into(), self.replica.digest(key)))
                .collect();
            for member in &others {
                let keys = keys.clone();
                self.send(*member, Message::Look { id, keys });
            }
            let asking = Asking {
                id,
                request,
                others,
                level: read,
                now_ms,
            };
            let effects = self.quorum.read(asking, words);
            self.perform(effects, now_ms);
            return Ok(());
        }
        let done = match self.replica.execute(&words, now_ms) {
            Ok(done) => done,
            Err(error) => {
                self.answer(request, Reply::Error(error.to_string().into()));
                return Ok(());
            }
        };
        if done.delta.is_empty() {
            self.answer(request, done.reply);
            return Ok(());
        }
        let id = self.next_id();
        self.record(Record::Joined {
            delta: done.delta.clone(),
            is_whole: true,
        });
        for member in &others {
            let delta = done.delta.clone();
            self.send(*member, Message::Delta { id, delta });
        }
        let asking = Asking {
            id,
            request,
            others,
            level: write,
            now_ms,
        };
        let effects = self.quorum.write(asking, done.reply, done.delta);
        self.perform(effects, now_ms);
        Ok(())
    }

    /// Drops hints until the others take at most so many bytes.
    pub fn shed_hints(&mut self, bytes_max: usize) {
        self.hints.shed(bytes_max);
    }

    /// What requests take that wait for other replicas, in bytes.
    pub fn asked_bytes(&self) -> usize {
        self.quorum.bytes()
    }

    pub(super) fn answer(&mut self, request: u64, reply: Reply) {
        self.ready.answers.push((request, reply));
    }

    pub(super) fn perform(&mut self, effects: Vec<Effect>, now_ms: Milliseconds) {
        for effect in effects {
            match effect {
                Effect::Written(request, reply) => self.answer(request, reply),
                Effect::Read(request, words) => {
                    let reply = match self.replica.execute(&words, now_ms) {
                        Ok(done) => done.reply,
                        Err(error) => Reply::Error(error.to_string().into()),
                    };
                    self.answer(request, reply);
                }
                Effect::TooFew {
                    request,
                    is_write,
                    answered,
                    needed,
                } => {
                    let text = match is_write {
                        true => format!(
                            "NOREPLICAS {answered} of {needed} replicas have the write; it stands there and spreads"
                        ),
                        false => {
                            format!("NOREPLICAS {answered} of {needed} replicas answered the read")
                        }
                    };
                    self.answer(request, Reply::Error(text.into()));
                }
                Effect::Hint(member, delta) => {
                    if self.membership.has(member) {
                        self.hints.keep(member, delta, now_ms);
                    }
                }
                Effect::Repair(member, items) => self.repair(member, items),
            }
        }
    }

    /// Tells a member what it lacks of what was read.
    pub(super) fn repair(&mut self, member: ReplicaId, items: Delta) {
        for (key, theirs) in items {
            let own = self.replica.item(&key).cloned().unwrap_or_default();
            if own.digest() == theirs.digest() {
                continue;
            }
            for delta in self.replica.deltas_of(&key, ITEMS_BYTES_MAX) {
                let id = self.next_id();
                self.send(member, Message::Delta { id, delta });
            }
        }
    }

    /// Sends what is here of keys, where it is not what the asker has.
    pub(super) fn look(&mut self, from: ReplicaId, id: u64, keys: &[(Key, u64)]) {
        let differing = keys
            .iter()
            .filter(|(key, digest)| self.replica.digest(key) != *digest);
        let mut deltas: Vec<Delta> = differing
            .flat_map(|(key, _)| match self.replica.item(key) {
                Some(_) => self.replica.deltas_of(key, ITEMS_BYTES_MAX),
                // The asker has something, so it has to hear that here is nothing.
                None => vec![vec![(key.clone(), Default::default())]],
            })
            .collect();
        if deltas.is_empty() {
            deltas.push(Delta::new());
        }
        let parts = deltas.len() as u32;
        for (part, delta) in (0..).zip(deltas) {
            self.send(
                from,
                Message::Seen {
                    id,
                    part,
                    parts,
                    delta,
                },
            );
        }
    }
}
