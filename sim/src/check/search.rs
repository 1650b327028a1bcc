//! The search for an order of calls: Wing and Gong's, with Lowe's memory of configurations
//! ("Testing for Linearizability", 2016, section 3). Walk the calls in order of time, take one
//! that fits the state, and go back when a return is met whose call was not taken. A call
//! without a return may be taken at any time after it began, or never.

use std::{collections::HashSet, hash::Hash};

/// After so many steps the search for one key's order is given up.
const STEPS_MAX: usize = 400_000;

/// What a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// There is an order.
    Order,
    /// It was given up.
    GaveUp,
    /// There is none: the call whose return was never got past.
    None(usize),
}

/// Looks for an order of calls, given when each began and returned; `step` is the state after a
/// call, if the call can happen in a state.
pub(crate) fn search<S: Clone + Eq + Hash>(
    times: &[(u64, Option<u64>)],
    initial: S,
    step: impl Fn(&S, usize) -> Option<S>,
) -> Found {
    Search::new(times).run(initial, step)
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
    times: &'a [(u64, Option<u64>)],
    moments: Vec<Moment>,
    next: Vec<usize>,
    previous: Vec<usize>,
    taken: Vec<u64>,
    to_return: usize,
    deepest: (u64, usize),
}

impl<'a> Search<'a> {
    fn new(times: &'a [(u64, Option<u64>)]) -> Self {
        let mut order: Vec<(u64, usize, bool)> = Vec::new();
        for (at, (invoked, returned)) in times.iter().enumerate() {
            order.push((*invoked, at, true));
            order.extend(returned.map(|returned| (returned, at, false)));
        }
        order.sort_unstable();
        // Place 0 is the head of the list, and its end.
        let mut moments = vec![Moment {
            call: usize::MAX,
            end: None,
            begins: false,
        }];
        let mut begin = vec![0; times.len()];
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
            times,
            moments,
            next: (0..length).map(|at| (at + 1) % length).collect(),
            previous: (0..length).map(|at| (at + length - 1) % length).collect(),
            taken: vec![0; times.len().div_ceil(64)],
            to_return: times.iter().filter(|(_, end)| end.is_some()).count(),
            deepest: (0, 0),
        }
    }

    fn run<S: Clone + Eq + Hash>(
        mut self,
        initial: S,
        step: impl Fn(&S, usize) -> Option<S>,
    ) -> Found {
        let mut seen: HashSet<(Vec<u64>, S)> = HashSet::new();
        let mut path: Vec<(usize, S)> = Vec::new();
        let mut state = initial;
        let mut at = self.next[0];
        for _ in 0..STEPS_MAX {
            if self.to_return == 0 {
                return Found::Order;
            }
            let moment = self.moments[at];
            if at != 0 && moment.begins {
                if let Some(after) = step(&state, moment.call) {
                    self.taken[moment.call / 64] |= 1 << (moment.call % 64);
                    if seen.insert((self.taken.clone(), after.clone())) {
                        path.push((at, std::mem::replace(&mut state, after)));
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
                let (invoked, _) = self.times[moment.call];
                self.deepest = self.deepest.max((invoked, moment.call));
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
