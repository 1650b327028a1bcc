//! Requests on their way: how many replicas have answered, and what becomes of the others.
//!
//! N replicas keep the partition; a request says how many of them have to answer, W for a write
//! and R for a read (Gifford, "Weighted voting for replicated data", 1979). The replica that a
//! request came to counts as one. A write goes to all members at once; those that did not
//! acknowledge it when its time is over get a hint. A read asks only when R is more than one:
//! what differs is sent, joined here before the answer is made, and told to whoever asked turned
//! out to be behind (read repair). Quorums are strict: only the N members count.
//!
//! W + R > N makes a read see every write that was answered before it began, as long as no
//! replica is replaced in between; it makes no order among writes at the same time, which the
//! clock decides, and a write that was refused for lack of answers stands where it was taken and
//! spreads all the same.

use std::collections::{BTreeMap, BTreeSet};

use atoll_base::id::ReplicaId;
use bytes::Bytes;

use super::{hints::bytes_of, item::Item, replica::Delta};
use crate::core::{
    data::{Key, Milliseconds},
    reply::Reply,
};

/// How many replicas have to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// The one that the request came to.
    #[default]
    One,
    /// More than half.
    Quorum,
    /// All.
    All,
}

impl Level {
    /// Of so many replicas.
    pub fn of(self, replicas: usize) -> usize {
        match self {
            Level::One => 1,
            Level::Quorum => replicas / 2 + 1,
            Level::All => replicas,
        }
    }

    /// All of them, each at the place that stands for it in what is stored and sent.
    const LEVELS: [Level; 3] = [Level::One, Level::Quorum, Level::All];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Level::One => "ONE",
            Level::Quorum => "QUORUM",
            Level::All => "ALL",
        }
    }

    /// The level that a word names, in any case.
    pub fn parse(word: &[u8]) -> Option<Level> {
        let named = |level: &Level| word.eq_ignore_ascii_case(level.name().as_bytes());
        Level::LEVELS.into_iter().find(named)
    }

    /// What stands for it in what is stored and sent.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The level that this stands for.
    pub fn of_code(code: u8) -> Option<Level> {
        Level::LEVELS.get(usize::from(code)).copied()
    }
}

/// Limits of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuorumLimits {
    /// Requests of a partition that wait for answers; further ones are refused.
    pub requests_max: usize,
    /// What their writes take, and what was sent for reads, in bytes.
    pub bytes_max: usize,
    /// A request waits so long, in milliseconds.
    pub wait_ms: u64,
}

impl Default for QuorumLimits {
    fn default() -> Self {
        QuorumLimits {
            requests_max: 4_096,
            bytes_max: 16 << 20,
            wait_ms: 1_000,
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answer the request: enough replicas have the write.
    Written(u64, Reply),
    /// Execute the read and answer the request: what enough replicas have was joined.
    Read(u64, Vec<Bytes>),
    /// Answer the request: too few replicas did in time.
    TooFew {
        /// The request.
        request: u64,
        /// Whether it is a write.
        is_write: bool,
        /// How many answered.
        answered: usize,
        /// How many should have.
        needed: usize,
    },
    /// Keep a write for a member.
    Hint(ReplicaId, Delta),
    /// This is what a member has of keys that were read: if it is behind, tell it.
    Repair(ReplicaId, Vec<(Key, Item)>),
}

/// A request that is sent to the other members.
#[derive(Clone, Debug)]
pub struct Asking {
    /// The number that they are sent; higher than all before.
    pub id: u64,
    /// The caller's number.
    pub request: u64,
    /// The other members.
    pub others: BTreeSet<ReplicaId>,
    /// How many have to answer, with this one.
    pub level: Level,
    /// The time.
    pub now_ms: Milliseconds,
}

#[derive(Clone, Debug)]
enum Asked {
    Write {
        reply: Reply,
        delta: Delta,
    },
    Read {
        words: Vec<Bytes>,
        seen: BTreeMap<ReplicaId, Seen>,
    },
}

/// What a member has sent of what it has.
#[derive(Clone, Debug, Default)]
struct Seen {
    parts: BTreeSet<u32>,
    items: BTreeMap<Key, Item>,
}

#[derive(Clone, Debug)]
struct Request {
    /// The caller's number; none once it is answered.
    request: Option<u64>,
    asked: Asked,
    needed: usize,
    answered: usize,
    waiting: BTreeSet<ReplicaId>,
    until_ms: Milliseconds,
    bytes: usize,
}

/// The requests of one replica.
#[derive(Clone, Debug)]
pub struct Quorum {
    limits: QuorumLimits,
    /// By the number that the members were sent, which grows.
    requests: BTreeMap<u64, Request>,
    bytes: usize,
}

impl Quorum {
    /// Without requests.
    pub fn new(limits: QuorumLimits) -> Quorum {
        Quorum {
            limits,
            requests: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Whether no further request is taken.
    pub fn is_full(&self) -> bool {
        self.requests.len() >= self.limits.requests_max || self.bytes >= self.limits.bytes_max
    }

    /// What they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Requests that wait for answers, or for members to have what was answered already.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// A write was executed here and is sent to the others.
    pub fn write(&mut self, asking: Asking, reply: Reply, delta: Delta) -> Vec<Effect> {
        let bytes = bytes_of(&delta);
        self.add(asking, Asked::Write { reply, delta }, bytes)
    }

    /// A read is asked of the others.
    pub fn read(&mut self, asking: Asking, words: Vec<Bytes>) -> Vec<Effect> {
        let seen = BTreeMap::new();
        self.add(asking, Asked::Read { words, seen }, 0)
    }

    fn add(&mut self, asking: Asking, asked: Asked, bytes: usize) -> Vec<Effect> {
        let id = asking.id;
        let added = Request {
            request: Some(asking.request),
            asked,
            needed: asking.level.of(asking.others.len() + 1),
            answered: 1,
            waiting: asking.others,
            until_ms: asking.now_ms.saturating_add(self.limits.wait_ms),
            bytes,
        };
        self.bytes += bytes;
        self.requests.insert(id, added);
        self.conclude(id)
    }

    /// A member has joined a write. Whether that was waited for.
    pub fn acked(&mut self, member: ReplicaId, id: u64) -> Option<Vec<Effect>> {
        let request = self.requests.get_mut(&id)?;
        let is_write = matches!(request.asked, Asked::Write { .. });
        if !is_write || !request.waiting.remove(&member) {
            return None;
        }
        request.answered += 1;
        Some(self.conclude(id))
    }

    /// A member has sent a part of what it has of the keys of a read; it was joined.
    pub fn seen(
        &mut self,
        member: ReplicaId,
        id: u64,
        (part, parts): (u32, u32),
        delta: Delta,
    ) -> Vec<Effect> {
        let Some(request) = self.requests.get_mut(&id) else {
            return Vec::new();
        };
        let Asked::Read { seen, .. } = &mut request.asked else {
            return Vec::new();
        };
        if !request.waiting.contains(&member) || part >= parts {
            return Vec::new();
        }
        let of_member = seen.entry(member).or_default();
        if of_member.parts.insert(part) {
            let bytes = bytes_of(&delta);
            request.bytes += bytes;
            self.bytes += bytes;
            for (key, item) in delta {
                let held = of_member.items.entry(key).or_default();
                held.merge(&item, Default::default());
            }
        }
        if of_member.parts.len() < parts as usize {
            return Vec::new();
        }
        request.waiting.remove(&member);
        request.answered += 1;
        self.conclude(id)
    }

    /// Answers a request if it can be, and forgets it once nothing is waited for.
    fn conclude(&mut self, id: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(request) = self.requests.get_mut(&id) else {
            return effects;
        };
        if request.answered >= request.needed
            && let Some(number) = request.request.take()
        {
            match &mut request.asked {
                Asked::Write { reply, .. } => effects.push(Effect::Written(number, reply.clone())),
                Asked::Read { words, seen } => {
                    effects.push(Effect::Read(number, std::mem::take(words)));
                    // Those that come later are too late to be mended here.
                    request.waiting.clear();
                    for (member, seen) in std::mem::take(seen) {
                        effects.push(Effect::Repair(member, seen.items.into_iter().collect()));
                    }
                }
            }
        }
        if request.waiting.is_empty() {
            self.remove(id, &mut effects);
        }
        effects
    }

    /// Forgets a request; what is unanswered is told so, and who has not answered is hinted.
    fn remove(&mut self, id: u64, effects: &mut Vec<Effect>) {
        let Some(request) = self.requests.remove(&id) else {
            return;
        };
        self.bytes -= request.bytes;
        let is_write = matches!(request.asked, Asked::Write { .. });
        if let Some(number) = request.request {
            effects.push(Effect::TooFew {
                request: number,
                is_write,
                answered: request.answered,
                needed: request.needed,
            });
        }
        if let Asked::Write { delta, .. } = request.asked {
            let behind = request.waiting.into_iter();
            effects.extend(behind.map(|member| Effect::Hint(member, delta.clone())));
        }
    }

    /// Ends the requests whose time is over.
    pub fn tick(&mut self, now_ms: Milliseconds) -> Vec<Effect> {
        let mut effects = Vec::new();
        // They wait equally long, so the first ones are over first.
        while let Some((id, request)) = self.requests.first_key_value() {
            if request.until_ms > now_ms {
                break;
            }
            let id = *id;
            self.remove(id, &mut effects);
        }
        effects
    }

    /// No longer waits for those that are no members.
    pub fn retain(&mut self, is_member: impl Fn(ReplicaId) -> bool) -> Vec<Effect> {
        let mut effects = Vec::new();
        let ids: Vec<u64> = self.requests.keys().copied().collect();
        for id in ids {
            if let Some(request) = self.requests.get_mut(&id) {
                request.waiting.retain(|member| is_member(*member));
            }
            effects.extend(self.conclude(id));
        }
        effects
    }
}

#[cfg(test)]
mod tests;
