//! Each key, by itself, behaves as if calls took effect one after the other, each between its
//! call and its return (Herlihy and Wing 1990; keys can be taken one by one, section 3).
//!
//! A call with unknown outcome may take effect at any time after it began, or never; if its value
//! was never committed, it never does.

use super::{
    search::{Found, search},
    timeline::Timeline,
};
use crate::history::{Answer, Call, History, Key, Op, Outcome, Value};

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
        let times: Vec<_> = calls
            .iter()
            .map(|call| (call.invoked, call.returned))
            .collect();
        match search(&times, None, |state, at| step(*state, calls[at])) {
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
