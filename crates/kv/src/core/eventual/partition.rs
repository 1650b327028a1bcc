//! One replica's side of one partition: commands, messages and time go in; what is to be written
//! to disk, sent and answered comes out.
//!
//! Like the other cores it names no clock and no socket. The caller asks
//! [`ready`](Partition::ready) after each call, writes and syncs the records, and only then sends
//! the messages and gives the answers of that same or an earlier one: a message speaks for what
//! is on disk. After a restart the last snapshot and the records after it make the partition anew
//! ([`Partition::restore`]).

mod exchange;
mod members;
mod record;
mod requests;

use std::collections::{BTreeMap, BTreeSet};

use atoll_base::id::{ConfigurationNumber, ReplicaId};

pub use record::Record;

use super::{
    ahead::Complaints,
    author::{Author, Life},
    clock::{Ahead, DRIFT_MS_MAX, Stamp},
    hints::{HintLimits, Hints},
    membership::{Members, Membership},
    message::{Message, Packet},
    quorum::{Quorum, QuorumLimits},
    replica::{Delta, Replica},
    sync::Session,
};
use crate::core::{data::Milliseconds, reply::Reply};

/// The clock's place on disk is so far ahead, in milliseconds, that it is seldom written. After a
/// restart the clock goes on from there, so it is far below what others accept.
const RESERVE_MS: u64 = 1_000;
/// Keys that are ended, or collected, at one tick.
const KEYS_MAX: usize = 256;

/// Limits and times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Of requests.
    pub quorum: QuorumLimits,
    /// Of hints.
    pub hints: HintLimits,
    /// Of exchanges.
    pub sync: SyncTimes,
}

/// When exchanges begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncTimes {
    /// So long after the last one ended, in milliseconds.
    pub every_ms: u64,
}

impl Default for SyncTimes {
    fn default() -> Self {
        SyncTimes { every_ms: 1_000 }
    }
}

/// Why a request is not taken. Nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The replica is new and has yet to hear from one that is not.
    #[error("LOADING this replica is being filled by the others")]
    Filling,
    /// Others know a newer configuration, in which the replica may have no part.
    #[error("CLUSTERDOWN this replica has yet to hear who keeps the partition now")]
    Behind,
    /// Nobody would take what it writes.
    #[error(
        "CLOCK this node's clock is, or was, {ahead_ms} ms ahead of the others', who take at most {DRIFT_MS_MAX} ms: it takes no writes in eventual keyspaces, its log says what to do, and other nodes take them"
    )]
    Ahead {
        /// By so much, in milliseconds.
        ahead_ms: u64,
    },
    /// As many requests wait as may.
    #[error("BUSY too many requests wait for other replicas")]
    Busy,
}

/// What is asked is numbered from here on.
fn first_id(run: u32, life: Life) -> u64 {
    // Both come around after more starts than any node has, and after more copies than a
    // partition has in one start.
    const RUN_END: u32 = 1 << 24;
    const LIFE_END: u32 = 1 << 8;
    u64::from(run % RUN_END) << 40 | u64::from(life.number() % LIFE_END) << 32
}

/// What is to be done, in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ready {
    /// To be written and synced.
    pub records: Vec<Record>,
    /// To be sent once that is done.
    pub messages: Vec<(ReplicaId, Packet)>,
    /// To be answered once that is done: requests by their numbers.
    pub answers: Vec<(u64, Reply)>,
}

/// The partition.
#[derive(Clone, Debug)]
pub struct Partition {
    settings: Settings,
    replica: Replica,
    membership: Membership,
    /// Whether it has what the members had when it came. Until then it takes no commands.
    is_filled: bool,
    /// Other members that said the same of themselves, in this configuration.
    filled: BTreeSet<ReplicaId>,
    /// Members that may have come after this replica had heard of the partition, and the number
    /// of the configuration that they were seen in: what is of an earlier one is of another life,
    /// or is told again.
    since: BTreeMap<ReplicaId, ConfigurationNumber>,
    /// The newest configuration that others know, as far as was heard from them.
    heard: ConfigurationNumber,
    /// What others said of this replica's clock.
    complaints: Complaints,
    /// The clock may go up to here, in milliseconds, and start from here.
    reserved_ms: Milliseconds,
    quorum: Quorum,
    hints: Hints,
    session: Option<Session>,
    /// When the next exchange begins, and after whom in the order of ids.
    next_sync_ms: Milliseconds,
    last_peer: ReplicaId,
    /// The last number given to something that is answered. Numbers of different runs, and of
    /// different copies in one run, differ.
    last_id: u64,
    ready: Ready,
}

impl Partition {
    /// A replica that holds nothing. `is_filled` where nobody holds anything: among the first
    /// members of a new partition. `run` is higher at each start.
    pub fn new(
        author: Author,
        members: Members,
        is_filled: bool,
        run: u32,
        settings: Settings,
    ) -> Partition {
        let records = vec![Record::Members(members.clone()), Record::Filled(is_filled)];
        let replica = Replica::new(author, Stamp::ZERO);
        let mut partition = Partition::of(replica, members, is_filled, run, settings);
        partition.ready.records = records;
        partition
    }

    fn of(
        replica: Replica,
        members: Members,
        is_filled: bool,
        run: u32,
        settings: Settings,
    ) -> Partition {
        let replica_life = replica.author().life();
        Partition {
            membership: Membership::new(replica.id(), members),
            replica,
            is_filled,
            filled: BTreeSet::new(),
            since: BTreeMap::new(),
            heard: ConfigurationNumber(0),
            complaints: Complaints::default(),
            reserved_ms: 0,
            quorum: Quorum::new(settings.quorum),
            hints: Hints::new(settings.hints),
            session: None,
            next_sync_ms: 0,
            last_peer: ReplicaId(0),
            last_id: first_id(run, replica_life),
            ready: Ready::default(),
            settings,
        }
    }

    /// What it holds.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Who keeps the partition, and how far each is.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Hints for members that were not reached.
    pub fn hints(&self) -> &Hints {
        &self.hints
    }

    /// Whether it takes commands.
    pub fn is_filled(&self) -> bool {
        self.is_filled
    }

    /// What is to be done since the last call.
    pub fn ready(&mut self) -> Ready {
        let last_ms = self.replica.last().ms();
        if last_ms >= self.reserved_ms {
            self.reserved_ms = last_ms + RESERVE_MS;
            self.record(Record::Reserved(self.reserved_ms));
        }
        std::mem::take(&mut self.ready)
    }

    fn record(&mut self, record: Record) {
        self.ready.records.push(record);
    }

    fn send(&mut self, to: ReplicaId, message: Message) {
        let packet = Packet {
            number: self.membership.number(),
            stable: self.replica.stable(),
            message,
        };
        self.ready.messages.push((to, packet));
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Takes a message. Those of replicas that are no members are not listened to.
    ///
    /// # Errors
    /// A stamp in it is too far ahead: the sender's clock, or this one's, is wrong. Nothing was
    /// done.
    pub fn step(
        &mut self,
        from: ReplicaId,
        packet: Packet,
        now_ms: Milliseconds,
    ) -> Result<(), Ahead> {
        self.heard = self.heard.max(packet.number);
        if !self.membership.has(from) {
            // It may have been away when its time was over. Only the one that knows more says so.
            if packet.number < self.membership.number() {
                self.send(from, Message::Over);
            }
            return Ok(());
        }
        match packet.message {
            _ if from == self.replica.id() => return Ok(()),
            Message::Over => return Ok(()),
            Message::Ahead { ahead_ms } => {
                self.complaints.say(from, ahead_ms, now_ms);
                return Ok(());
            }
            _ => {}
        }
        if self
            .since
            .get(&from)
            .is_some_and(|since| packet.number < *since)
        {
            return Ok(());
        }
        let taken = self.take(from, packet, now_ms);
        if let Err(Ahead { ahead_ms, .. }) = taken {
            self.send(from, Message::Ahead { ahead_ms });
        }
        taken
    }

    /// Takes a message of another member, of its present life.
    fn take(&mut self, from: ReplicaId, packet: Packet, now_ms: Milliseconds) -> Result<(), Ahead> {
        // No stamp that is stable is later than any member's clock.
        self.replica.see(packet.stable, now_ms)?;
        self.settle(packet.stable);
        let is_level = packet.number == self.membership.number();
        // A state that was collected less far may hold what was collected here.
        let is_collected = packet.stable >= self.replica.stable();
        match packet.message {
            Message::Delta { id, delta } => {
                self.join(delta, false, now_ms)?;
                self.send(from, Message::Ack { id });
            }
            Message::Ack { id } => {
                self.complaints.unsay(from);
                if let Some(effects) = self.quorum.acked(from, id) {
                    self.perform(effects, now_ms);
                } else if self.hints.acked(from, id) {
                    self.hand_off(from, now_ms);
                }
            }
            // Who is being filled would count for a read, and lacks what was written before.
            Message::Look { id, keys } if self.is_filled => self.look(from, id, &keys),
            Message::Look { .. } => {}
            Message::Seen {
                id,
                part,
                parts,
                delta,
            } => {
                self.join(delta.clone(), false, now_ms)?;
                let effects = self.quorum.seen(from, id, (part, parts), delta);
                self.perform(effects, now_ms);
            }
            message if !is_level => drop(message),
            Message::Finished {
                mark,
                row,
                is_filled,
            } => {
                self.replica.see(mark, now_ms)?;
                self.membership.told(from, packet.number, &row);
                if is_filled {
                    self.filled.insert(from);
                }
                self.synced(from, mark, is_filled);
            }
            message => self.exchange(from, message, is_collected, now_ms)?,
        }
        Ok(())
    }

    fn join(&mut self, delta: Delta, is_whole: bool, now_ms: Milliseconds) -> Result<(), Ahead> {
        if delta.is_empty() {
            return Ok(());
        }
        // What was here already is in earlier records: answers wait for those.
        if self.replica.merge(&delta, is_whole, now_ms)? {
            self.record(Record::Joined { delta, is_whole });
        }
        Ok(())
    }

    fn settle(&mut self, stable: Stamp) {
        if stable > self.replica.stable() {
            self.replica.settle(stable);
            self.record(Record::Settled(stable));
        }
    }

    fn hand_off(&mut self, member: ReplicaId, now_ms: Milliseconds) {
        let id = self.next_id();
        if let Some(delta) = self.hints.send(member, id, now_ms) {
            self.send(member, Message::Delta { id, delta });
        }
    }

    /// Takes the time while nothing more is to be said or written down: who waits for too long is
    /// told, and old hints go.
    pub fn tick_quietly(&mut self, now_ms: Milliseconds) {
        let effects = self.quorum.tick(now_ms);
        self.perform(effects, now_ms);
        self.hints.expire(now_ms);
    }

    /// Takes the time.
    pub fn tick(&mut self, now_ms: Milliseconds) {
        self.tick_quietly(now_ms);
        for member in self.hints.waiting(now_ms) {
            self.hand_off(member, now_ms);
        }
        if self.is_filled && self.ahead_ms(now_ms).is_none() {
            let delta = self.replica.end(KEYS_MAX, now_ms);
            if !delta.is_empty() {
                for member in self.membership.others().collect::<Vec<_>>() {
                    let (id, delta) = (self.next_id(), delta.clone());
                    self.send(member, Message::Delta { id, delta });
                }
                self.record(Record::Joined {
                    delta,
                    is_whole: true,
                });
            }
        }
        if self.membership.others().next().is_none() {
            let stable = self.membership.stable(self.replica.last());
            self.settle(stable);
        }
        self.replica.collect(KEYS_MAX);
        match &mut self.session {
            Some(session) => {
                let progress = session.tick(now_ms);
                self.progress(progress, now_ms);
            }
            None if now_ms >= self.next_sync_ms => self.begin_session(now_ms),
            None => {}
        }
    }
}

#[cfg(test)]
impl Partition {
    /// A mistake: tombstones go as if every member had them.
    pub(super) fn collects_early(&mut self) {
        let last = self.replica.last();
        self.replica.settle(last);
        self.replica.collect(usize::MAX);
    }
}
