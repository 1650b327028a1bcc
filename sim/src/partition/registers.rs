//! The state of a simulated partition: a few numbers.

use atoll_kv::core::{
    data::Milliseconds,
    partition::{Changed, Found, Moment, Read, StateMachine, Wish},
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
    /// Waits until there is something, and takes all of it; answers what that was, and nothing
    /// when its time is over. Who waits longest comes first.
    Take {
        since_ms: u64,
        is_last: bool,
    },
}

impl Op {
    pub(super) fn encode(self, key: usize) -> Bytes {
        let (mark, first, second) = match self {
            Op::Get => (0, 0, 0),
            Op::Set(value) => (1, value, 0),
            Op::Add(value) => (2, value, 0),
            Op::Swap(expected, value) => (3, expected, value),
            Op::Take { since_ms, is_last } => (4, since_ms, u64::from(is_last)),
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
            3 => Op::Swap(number(2), number(10)),
            _ => Op::Take {
                since_ms: number(2),
                is_last: number(10) == 1,
            },
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
            Op::Take { .. } => (0, value),
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
    /// What was changed since the partition asked.
    changed: Vec<usize>,
}

impl StateMachine for Registers {
    type Reply = u64;
    type Key = usize;

    fn apply(&mut self, at: Moment, operation: &Bytes) -> u64 {
        assert!(at.now_ms >= self.now_ms, "the partition's time went back");
        self.now_ms = at.now_ms;
        self.seeds = self.seeds.rotate_left(7) ^ at.seed;
        let (op, key) = Op::decode(operation);
        let (value, answer) = op.on(self.values[key]);
        if self.values[key] != value {
            self.changed_at[key] = at.index.0;
            self.changed.push(key);
        }
        self.values[key] = value;
        answer
    }

    fn take_changed(&mut self) -> Changed<usize> {
        Changed::Keys(std::mem::take(&mut self.changed))
    }

    fn found(&self, operation: &Bytes, reply: &u64) -> Found<usize> {
        match Op::decode(operation) {
            (Op::Take { since_ms, is_last }, key) if *reply == 0 => {
                if is_last {
                    return Found::Nothing;
                }
                let take = |is_last| Op::Take { since_ms, is_last };
                Found::NothingYet(Wish {
                    since_ms,
                    keys: vec![key],
                    again: operation.clone(),
                    last: take(true).encode(key),
                })
            }
            _ => Found::Something,
        }
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
