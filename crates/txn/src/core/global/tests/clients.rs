//! Clients: each begins a transaction, enlists participants one by one, and wants to commit, or
//! has changed its mind, or goes away without a word. Where no answer comes it asks again, at
//! any node.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    super::{
        Branch, Kind, Termination, TransactionId,
        coordinator::{Answer, Input, Refusal, Request, RequestId, Until},
        keys,
    },
    world::{Event, World},
};
use crate::core::chance;

/// A client asks less often than this.
const ASKS_MAX: u64 = 1_000_000;

#[derive(Clone, Debug)]
pub(super) struct Client {
    id: Option<TransactionId>,
    kind: Kind,
    /// Participants, in the order of enlisting.
    names: Vec<String>,
    /// What keys among them are to do, once the client knows.
    keys: BTreeMap<String, Bytes>,
    /// 0 begins, then one enlists after the other, then comes the end.
    step: usize,
    asks: u64,
    aborts: bool,
    leaves_at: Option<usize>,
    until: Until,
    pub(super) is_done: bool,
}

impl Client {
    pub(super) fn new(random: &mut u64, kind: Kind) -> Self {
        let mut names: Vec<String> = (0..4).map(|it| it.to_string()).collect();
        let rotation = usize::try_from(chance::below(random, 4)).expect("few");
        names.rotate_left(rotation);
        names.truncate(1 + usize::try_from(chance::below(random, 4)).expect("few"));
        let by_log = Kind::ThreePhase(Termination::ByLog);
        if kind == Kind::TwoPhase || kind == by_log {
            for name in [keys::NAME.to_owned(), format!("{}:more", keys::NAME)] {
                if chance::below(random, 4) == 0 {
                    let at = chance::below(random, names.len() as u64 + 1);
                    names.insert(usize::try_from(at).expect("few"), name);
                }
            }
            // Keys alone are a transaction, too.
            if chance::below(random, 8) == 0 && names.iter().any(|it| keys::is_keys(it)) {
                names.retain(|it| keys::is_keys(it));
            }
        }
        let leaves = chance::below(random, 10) == 0;
        let leaves_at = usize::try_from(chance::below(random, 5)).expect("few");
        Client {
            id: None,
            kind,
            names,
            keys: BTreeMap::new(),
            step: 0,
            asks: 0,
            aborts: chance::below(random, 10) == 0,
            leaves_at: leaves.then_some(leaves_at),
            until: if chance::below(random, 2) == 0 {
                Until::Decided
            } else {
                Until::Ended
            },
            is_done: false,
        }
    }

    fn request(&self) -> Request {
        let at = self.step.checked_sub(1);
        match at.and_then(|at| self.names.get(at)) {
            Some(name) => Request::Enlist {
                name: name.clone(),
                payload: match self.keys.get(name) {
                    Some(work) => work.clone(),
                    None => Bytes::from_static(b"work"),
                },
                compensation: if self.kind == Kind::Saga {
                    Bytes::from_static(b"undo")
                } else {
                    Bytes::new()
                },
            },
            _ if self.aborts => Request::Abort,
            _ => Request::Commit { until: self.until },
        }
    }
}

impl World {
    pub(super) fn name(&self, branch: Branch) -> String {
        let number = self.begun[&branch.transaction];
        self.clients[number].names[branch.place.index()].clone()
    }

    /// A client asks, and asks again unless it is answered.
    pub(super) fn client(&mut self, number: usize) {
        let to = self.any_node();
        self.look_at_keys(number);
        let client = &mut self.clients[number];
        if client.is_done {
            return;
        }
        client.is_done = client.leaves_at == Some(client.step);
        client.asks += 1;
        let request = RequestId(number as u64 * ASKS_MAX + client.asks);
        let event = match client.id {
            None => Event::Begin { to, request },
            Some(id) => {
                let what = client.request();
                let input = Input::Asked { request, id, what };
                Event::Node { to, input }
            }
        };
        self.message(event);
        self.after(350, Event::Client { number });
    }

    /// What keys are to do, the client decides once, by what it has read then.
    fn look_at_keys(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let at = client.step.checked_sub(1);
        if let Some(name) = at
            .and_then(|at| client.names.get(at))
            .filter(|it| keys::is_keys(it))
        {
            let work = || self.keyspace.work(&mut self.random, name);
            client.keys.entry(name.clone()).or_insert_with(work);
        }
    }

    pub(super) fn begin(&mut self, to: usize, request: RequestId) {
        let number = usize::try_from(request.0 / ASKS_MAX).expect("few");
        let high = u128::from(chance::next(&mut self.random)) << 64;
        let id = TransactionId(high | u128::from(chance::next(&mut self.random)));
        self.begun.insert(id, number);
        let what = Request::Begin {
            kind: self.clients[number].kind,
            timeout_ms: 3_000,
        };
        self.step(to, Input::Asked { request, id, what });
    }

    /// An answer comes to a client, or is lost.
    pub(super) fn answered(&mut self, request: RequestId, id: TransactionId, answer: Answer) {
        if let Answer::Decided { outcome, .. } = answer {
            self.checks.told(id, outcome);
        }
        if self.are_faults() && self.chance(10) {
            return;
        }
        let number = usize::try_from(request.0 / ASKS_MAX).expect("few");
        let client = &mut self.clients[number];
        // It waits for the answer to what it asked last.
        if client.asks != request.0 % ASKS_MAX || client.is_done {
            return;
        }
        match answer {
            Answer::Begun | Answer::Enlisted(_) => {
                client.id = Some(id);
                client.step += 1;
                // A second answer to the same is none.
                client.asks += 1;
                self.after(1, Event::Client { number });
            }
            Answer::Refused(Refusal::TooLate | Refusal::Unclear) => {}
            Answer::Decided { .. } | Answer::Resolved | Answer::Refused(_) => {
                client.is_done = true;
            }
        }
    }
}
