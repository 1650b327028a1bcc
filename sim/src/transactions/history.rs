//! What clients did and saw, and whether there is an order of it.

use atoll_kv::core::reply::Reply;
use parking_lot::Mutex;

use super::Counts;
use crate::check::search::{Found, search};

/// How many keys there are.
pub(super) const KEYS: usize = 6;

/// What is in them; 0 where there is nothing.
pub(super) type State = [u64; KEYS];

/// What a step of a transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Get(usize),
    Set(usize, u64),
    /// Tells what was there, and removes it.
    Take(usize),
    /// Tells whether all are there.
    Exist(usize, usize),
    Rename(usize, usize),
    Copy(usize, usize),
    /// Sets both, if neither is there.
    SetNew(usize, usize, u64),
    /// By a script: two keys change places; tells what the first holds then.
    Swap(usize, usize),
}

/// What an operation tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Value(u64),
    Count(i64),
    Done,
    NoSuchKey,
}

impl Told {
    /// What a reply tells; none, if it tells nothing that any of these operations may.
    pub(super) fn of(reply: &Reply) -> Option<Told> {
        match reply {
            Reply::Null => Some(Told::Value(0)),
            Reply::Bulk(text) => {
                let text = std::str::from_utf8(text).ok()?;
                text.parse().ok().map(Told::Value)
            }
            Reply::Integer(count) => Some(Told::Count(*count)),
            Reply::Status("OK") => Some(Told::Done),
            Reply::Error(text) if &text[..] == b"ERR no such key" => Some(Told::NoSuchKey),
            _ => None,
        }
    }
}

impl Op {
    /// What it does and tells.
    fn on(self, state: &mut State) -> Told {
        match self {
            Op::Get(key) => Told::Value(state[key]),
            Op::Set(key, value) => {
                state[key] = value;
                Told::Done
            }
            Op::Take(key) => Told::Value(std::mem::take(&mut state[key])),
            Op::Exist(one, other) => {
                let count = [one, other].iter().filter(|key| state[**key] != 0).count();
                Told::Count(count.try_into().unwrap_or(i64::MAX))
            }
            Op::Rename(from, _) if state[from] == 0 => Told::NoSuchKey,
            Op::Rename(from, to) => {
                state[to] = std::mem::take(&mut state[from]);
                Told::Done
            }
            Op::Copy(from, _) if state[from] == 0 => Told::Count(0),
            Op::Copy(from, to) => {
                state[to] = state[from];
                Told::Count(1)
            }
            Op::SetNew(one, other, _) if state[one] != 0 || state[other] != 0 => Told::Count(0),
            Op::SetNew(one, other, value) => {
                (state[one], state[other]) = (value, value);
                Told::Count(1)
            }
            Op::Swap(one, other) => {
                state.swap(one, other);
                Told::Value(state[one])
            }
        }
    }
}

/// A transaction of a client.
#[derive(Clone, Debug)]
struct Call {
    #[allow(dead_code, reason = "told where it is shown")]
    client: usize,
    ops: Vec<Op>,
    began: u64,
    ended: End,
}

#[derive(Clone, Debug, PartialEq)]
enum End {
    /// It is under way, or nobody knows.
    Unknown,
    /// It did nothing.
    Refused,
    /// It told this.
    Told(u64, Vec<Told>),
    /// It was done, and told nobody what it came to.
    Silent(u64),
}

#[derive(Default)]
struct Inner {
    calls: Vec<Call>,
    /// Moments so far: each beginning and each end has one of its own.
    moments: u64,
    violations: Vec<String>,
}

impl Inner {
    fn next_moment(&mut self) -> u64 {
        self.moments += 1;
        self.moments
    }
}

/// All of it.
#[derive(Default)]
pub(super) struct History(Mutex<Inner>);

impl History {
    /// A transaction begins; its number.
    pub(super) fn begin(&self, client: usize, ops: Vec<Op>) -> usize {
        let mut inner = self.0.lock();
        let began = inner.next_moment();
        inner.calls.push(Call {
            client,
            ops,
            began,
            ended: End::Unknown,
        });
        inner.calls.len() - 1
    }

    /// It told this.
    pub(super) fn end(&self, call: usize, told: Vec<Told>) {
        let mut inner = self.0.lock();
        let at = inner.next_moment();
        inner.calls[call].ended = End::Told(at, told);
    }

    /// It was done.
    pub(super) fn end_silently(&self, call: usize) {
        let mut inner = self.0.lock();
        let at = inner.next_moment();
        inner.calls[call].ended = End::Silent(at);
    }

    /// It did nothing.
    pub(super) fn refuse(&self, call: usize) {
        self.0.lock().calls[call].ended = End::Refused;
    }

    pub(super) fn violate(&self, violation: String) {
        let violations = &mut self.0.lock().violations;
        // One line tells as much as a thousand.
        if violations.len() < 5 {
            violations.push(violation);
        }
    }

    /// What contradicts the properties, whether the search for an order was given up, and what
    /// became of all transactions.
    pub(super) fn check(&self) -> (Vec<String>, bool, Counts) {
        let mut inner = self.0.lock();
        let calls = std::mem::take(&mut inner.calls);
        let mut violations = std::mem::take(&mut inner.violations);
        let count =
            |wanted: fn(&End) -> bool| calls.iter().filter(|call| wanted(&call.ended)).count();
        let counts = Counts {
            begun: calls.len(),
            done: count(|end| matches!(end, End::Told(..) | End::Silent(_))),
            refused: count(|end| *end == End::Refused),
            unknown: count(|end| *end == End::Unknown),
        };
        let calls: Vec<Call> = calls
            .into_iter()
            .filter(|call| call.ended != End::Refused)
            .collect();
        let times: Vec<_> = calls
            .iter()
            .map(|call| match &call.ended {
                End::Told(at, _) | End::Silent(at) => (call.began, Some(*at)),
                _ => (call.began, None),
            })
            .collect();
        let step = |state: &State, at: usize| {
            let (call, mut after) = (&calls[at], *state);
            let told: Vec<Told> = call.ops.iter().map(|op| op.on(&mut after)).collect();
            match &call.ended {
                End::Told(_, seen) if *seen != told => None,
                // To do nothing is as good as not to have been done.
                End::Unknown if after == *state => None,
                _ => Some(after),
            }
        };
        let found = search(&times, [0; KEYS], step);
        if let Found::None(stuck) = found {
            violations.push(format!(
                "strictly serializable: there is no order of {} transactions; none gets past {:?}",
                calls.len(),
                calls[stuck]
            ));
        }
        (violations, found == Found::GaveUp, counts)
    }
}
