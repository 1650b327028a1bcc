//! The state of a simulated partition: a few numbers.

use atoll_kv::core::{
    data::Milliseconds,
    partition::{Moment, Read, StateMachine},
};
use bytes::Bytes;

/// How many there are.
pub(super) const KEYS: usize = 3;

/// What a client does to one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Op {
    Get,
    Set(u64),
    /// Adds and answers the sum: whatever is done twice shows.
    Add(u64),
    /// Sets if it is what is expected; answers what it was.
    Swap(u64, u64),
}

impl Op {
    pub(super) fn reads(self) -> bool {
        self == Op::Get
    }

    pub(super) fn encode(self, key: usize) -> Bytes {
        let (mark, first, second) = match self {
            Op::Get => (0, 0, 0),
            Op::Set(value) => (1, value, 0),
            Op::Add(value) => (2, value, 0),
            Op::Swap(expected, value) => (3, expected, value),
        };
        let mut bytes = vec![mark, u8::try_from(key).expect("few keys")];
        bytes.extend(u64::to_be_bytes(first));
        bytes.extend(u64::to_be_bytes(second));
        Bytes::from(bytes)
    }

    fn decode(bytes: &[u8]) -> (Op, usize) {
        let number = |at: usize| {
            let bytes = bytes[at..at + 8].try_into().expect("eight bytes");
            u64::from_be_bytes(bytes)
        };
        let op = match bytes[0] {
            0 => Op::Get,
            1 => Op::Set(number(2)),
            2 => Op::Add(number(2)),
            _ => Op::Swap(number(2), number(10)),
        };
        (op, usize::from(bytes[1]))
    }

    /// The value after it, and its answer.
    pub(super) fn on(self, value: u64) -> (u64, u64) {
        match self {
            Op::Get => (value, value),
            Op::Set(new) => (new, new),
            Op::Add(more) => (value.wrapping_add(more), value.wrapping_add(more)),
            Op::Swap(expected, new) if value == expected => (new, value),
            Op::Swap(..) => (value, value),
        }
    }
}

/// The numbers, and the time, which has to be the same everywhere too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Registers {
    pub(super) values: [u64; KEYS],
    /// Where in the log each was changed last.
    changed_at: [u64; KEYS],
    seeds: u64,
    now_ms: u64,
}

impl StateMachine for Registers {
    type Reply = u64;

    fn apply(&mut self, at: Moment, operation: &Bytes) -> u64 {
        assert!(at.now_ms >= self.now_ms, "the partition's time went back");
        self.now_ms = at.now_ms;
        self.seeds = self.seeds.rotate_left(7) ^ at.seed;
        let (op, key) = Op::decode(operation);
        let (value, answer) = op.on(self.values[key]);
        if self.values[key] != value {
            self.changed_at[key] = at.index.0;
        }
        self.values[key] = value;
        answer
    }

    fn read(&mut self, _: Milliseconds, _: u64, operation: &Bytes) -> Read<u64> {
        let (op, key) = Op::decode(operation);
        Read::Reply(op.on(self.values[key]).1)
    }

    fn observe(&mut self, operation: &Bytes) -> Option<(u64, u64)> {
        let (op, key) = Op::decode(operation);
        Some((self.changed_at[key], op.on(self.values[key]).1))
    }

    fn touches(&self, logged: &Bytes, read: &Bytes) -> bool {
        Op::decode(logged).1 == Op::decode(read).1
    }
}
