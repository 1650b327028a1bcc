//! Each key, by itself, behaves as if calls took effect one after the other, each between its
//! call and its return (Herlihy and Wing 1990; keys can be taken one by one, section 3).
//!
//! The search is Wing and Gong's with Lowe's memory of configurations ("Testing for
//! Linearizability", 2016, section 3): walk the calls in order of time, take one that fits the
//! state, and go back when a return is met whose call was not taken. A call with unknown
//! outcome may be taken at any time after it began, or never; if its value was never committed,
//! it is never taken.

use std::collections::HashSet;

use super::timeline::Timeline;
use crate::history::{Answer, Call, History, Key, Op, Outcome, Value};

/// After so many steps the search for one key's order is given up.
const STEPS_MAX: usize = 400_000;

/// What the search found.
#[derive(Default)]
pub(super) struct Order {
    pub(super) violations: Vec<String>,
    pub(super) undecided: usize,
}

pub(super) fn check(history: &History, timeline: &Timeline) -> Order {
    let mut keys: Vec<Key> = history.calls.iter().filter_map(key).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut order = Order::default();
    for one in keys {
        let calls: Vec<&Call> = history
            .calls
            .iter()
            .filter(|call| key(call) == Some(one) && counts(call, timeline))
            .collect();
        match Search::new(&calls).run() {
            Found::Order => {}
            Found::GaveUp => order.undecided += 1,
            Found::None(stuck) => order.violations.push(format!(
                "key {one} has no order of its {} calls; none gets past {:?}",
                calls.len(),
                calls[stuck]
            )),
        }
    }
    order
}

fn key(call: &Call) -> Option<Key> {
    match call.op {
        Op::Put { key, .. }
        | Op::Delete { key }
        | Op::Swap { key, .. }
        | Op::Get {
            key,
            serializable: false,
        } => Some(key),
        Op::Get { .. } | Op::List { .. } | Op::Past { .. } | Op::Compact { .. } => None,
    }
}

/// Whether a call can have had an effect, or tells of one.
fn counts(call: &Call, timeline: &Timeline) -> bool {
    match (&call.outcome, &call.op) {
        (Outcome::Done { .. }, _) => true,
        (Outcome::Refused(_), _) => false,
        (Outcome::Unknown, Op::Put { value, .. } | Op::Swap { value, .. }) => timeline.has(*value),
        (Outcome::Unknown, op) => matches!(op, Op::Delete { .. }),
    }
}

/// The state after a call, if the call can happen in this one.
fn step(state: Option<Value>, call: &Call) -> Option<Option<Value>> {
    let answer = match &call.outcome {
        Outcome::Done { answer, .. } => Some(answer),
        _ => None,
    };
    let value = |found: &Option<crate::history::Found>| found.map(|found| found.value);
    let (fits, next) = match (&call.op, answer) {
        (Op::Put { value, .. }, None) => (true, Some(*value)),
        (Op::Put { value: new, .. }, Some(Answer::Put { before })) => {
            (value(before) == state, Some(*new))
        }
        (Op::Delete { .. }, None) => (state.is_some(), None),
        (Op::Delete { .. }, Some(Answer::Deleted { before })) => (value(before) == state, None),
        (Op::Swap { expect, value, .. }, None | Some(Answer::Swap { swapped: true, .. })) => {
            (*expect == state, Some(*value))
        }
        (Op::Swap { expect, .. }, Some(Answer::Swap { current, .. })) => {
            (*expect != state && value(current) == state, state)
        }
        (Op::Get { .. }, Some(Answer::Read(found))) => {
            (found.first().map(|found| found.value) == state, state)
        }
        _ => (false, state),
    };
    fits.then_some(next)
}

enum Found {
    Order,
    GaveUp,
    /// The call whose return was never got past.
    None(usize),
}

/// A call's beginning or its return.
#[derive(Clone, Copy)]
struct Moment {
    call: usize,
    /// Where the call's return is, for a beginning that has one.
    end: Option<usize>,
    begins: bool,
}

/// Moments in order, as a list from which calls can be taken and put back.
struct Search<'a> {
    calls: &'a [&'a Call],
    moments: Vec<Moment>,
    next: Vec<usize>,
    previous: Vec<usize>,
    taken: Vec<u64>,
    to_return: usize,
    deepest: (u64, usize),
}

impl<'a> Search<'a> {
    fn new(calls: &'a [&'a Call]) -> Self {
        let mut order: Vec<(u64, usize, bool)> = Vec::new();
        for (at, call) in calls.iter().enumerate() {
            order.push((call.invoked, at, true));
            order.extend(call.returned.map(|returned| (returned, at, false)));
        }
        order.sort_unstable();
        // Place 0 is the head of the list, and its end.
        let mut moments = vec![Moment {
            call: usize::MAX,
            end: None,
            begins: false,
        }];
        let mut begin = vec![0; calls.len()];
        for (_, call, begins) in order {
            if begins {
                begin[call] = moments.len();
            } else {
                moments[begin[call]].end = Some(moments.len());
            }
            moments.push(Moment {
                call,
                end: None,
                begins,
            });
        }
        let length = moments.len();
        Search {
            calls,
            moments,
            next: (0..length).map(|at| (at + 1) % length).collect(),
            previous: (0..length).map(|at| (at + length - 1) % length).collect(),
            taken: vec![0; calls.len().div_ceil(64)],
            to_return: calls.iter().filter(|call| call.returned.is_some()).count(),
            deepest: (0, 0),
        }
    }

    fn run(mut self) -> Found {
        let mut seen: HashSet<(Vec<u64>, Option<Value>)> = HashSet::new();
        let mut path: Vec<(usize, Option<Value>)> = Vec::new();
        let mut state = None;
        let mut at = self.next[0];
        for _ in 0..STEPS_MAX {
            if self.to_return == 0 {
                return Found::Order;
            }
            let moment = self.moments[at];
            if at != 0 && moment.begins {
                if let Some(after) = step(state, self.calls[moment.call]) {
                    self.taken[moment.call / 64] |= 1 << (moment.call % 64);
                    if seen.insert((self.taken.clone(), after)) {
                        path.push((at, state));
                        state = after;
                        self.take(at);
                        at = self.next[0];
                        continue;
                    }
                    self.taken[moment.call / 64] &= !(1 << (moment.call % 64));
                }
                at = self.next[at];
                continue;
            }
            if at != 0 {
                let call = self.calls[moment.call];
                self.deepest = self.deepest.max((call.invoked, moment.call));
            }
            let Some((last, before)) = path.pop() else {
                return Found::None(self.deepest.1);
            };
            state = before;
            let call = self.moments[last].call;
            self.taken[call / 64] &= !(1 << (call % 64));
            self.put_back(last);
            at = self.next[last];
        }
        Found::GaveUp
    }

    fn take(&mut self, at: usize) {
        self.unlink(at);
        if let Some(end) = self.moments[at].end {
            self.unlink(end);
            self.to_return -= 1;
        }
    }

    fn put_back(&mut self, at: usize) {
        if let Some(end) = self.moments[at].end {
            self.relink(end);
            self.to_return += 1;
        }
        self.relink(at);
    }

    fn unlink(&mut self, at: usize) {
        let (previous, next) = (self.previous[at], self.next[at]);
        self.next[previous] = next;
        self.previous[next] = previous;
    }

    fn relink(&mut self, at: usize) {
        let (previous, next) = (self.previous[at], self.next[at]);
        self.next[previous] = at;
        self.previous[next] = at;
    }
}
