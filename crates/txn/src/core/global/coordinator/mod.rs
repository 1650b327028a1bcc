//! The coordinator of one node: brings many transactions to their ends.
//!
//! [`Coordinator::step`] takes what happens, [`Coordinator::effects`] hands out what has to be
//! done, in order, and [`Coordinator::due_at_ms`] says when a [`Input::Tick`] is due. The driver
//! owns the log, the links to participants and the clock.
//!
//! The driver's part:
//! - It draws ids, each once, and has each write done once or never: what is written over
//!   nothing twice would bring back a transaction that has ended.
//! - It answers every [`Effect::Write`] with one of [`Input::Written`], [`Input::Conflict`],
//!   [`Input::Refused`] and [`Input::Unclear`], and every [`Effect::Load`] with [`Input::Found`], however long that
//!   takes. A load is linearizable: it shows what was written before it was asked for.
//! - It looks through the log's records now and then, and hands those whose owner is gone, whose
//!   deadline is over or which have ended long ago to one node ([`Input::Adopt`]). After a start
//!   a node adopts its own. That two nodes adopt the same does no harm.
//! - It lists what participants hold prepared for longer than a transaction takes
//!   ([`Input::Inquired`] for each): what nobody knows of is aborted.

mod by_hand;
mod held;
mod interface;
mod listing;
mod memory;
mod requests;
mod saga;
mod votes;

use std::collections::{BTreeMap, BTreeSet};

use atoll_base::id::NodeId;

use self::held::Held;
use super::{
    record::Record,
    settings::Settings,
    types::{Branch, TransactionId, Version},
};

pub use interface::{Answer, Effect, Input, Note, Refusal, Request, RequestId, Ticket, Until};
pub use listing::{InDoubt, Open};

/// What all transactions of a coordinator share.
#[derive(Clone, Debug)]
struct Desk {
    node: NodeId,
    settings: Settings,
    random: u64,
    tickets: u64,
    /// Writes under way.
    writes: BTreeMap<Ticket, TransactionId>,
    now_ms: u64,
    effects: Vec<Effect>,
}

impl Desk {
    fn answer(&mut self, request: RequestId, id: TransactionId, answer: Answer) {
        self.effects.push(Effect::Answer {
            request,
            id,
            answer,
        });
    }

    fn refuse(&mut self, request: RequestId, id: TransactionId, refusal: Refusal) {
        self.answer(request, id, Answer::Refused(refusal));
    }
}

/// The coordinator of one node.
#[derive(Clone, Debug)]
pub struct Coordinator {
    desk: Desk,
    transactions: BTreeMap<TransactionId, Held>,
    due: BTreeSet<(u64, TransactionId)>,
}

impl Coordinator {
    /// For one start of a node; it holds nothing. `seed` is for the pauses between attempts.
    pub fn new(node: NodeId, settings: Settings, seed: u64) -> Self {
        Coordinator {
            desk: Desk {
                node,
                settings,
                random: seed,
                tickets: 0,
                writes: BTreeMap::new(),
                now_ms: 0,
                effects: Vec::new(),
            },
            transactions: BTreeMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// Something happens. Time never runs backwards here, whatever the clock says.
    pub fn step(&mut self, now_ms: u64, input: Input) {
        self.desk.now_ms = self.desk.now_ms.max(now_ms);
        match input {
            Input::Asked { request, id, what } => self.asked(request, id, what),
            Input::Reported { branch, report } => {
                self.change(branch.transaction, |held, desk| {
                    held.reported(branch.place, report, desk);
                });
            }
            Input::Inquired { branch, name } => self.inquired(branch, name),
            Input::Left { request, id } => {
                self.change(id, |held, _| held.left(request));
            }
            Input::Written { ticket, version } => {
                self.change_by(ticket, |held, desk| held.written(version, desk));
            }
            Input::Conflict { ticket } => {
                self.change_by(ticket, |held, desk| held.not_written(Refusal::Exists, desk));
            }
            Input::Refused { ticket, place } => {
                self.change_by(ticket, |held, _| held.refused(place));
            }
            Input::Unclear { ticket } => {
                self.change_by(ticket, |held, desk| {
                    held.not_written(Refusal::Unclear, desk)
                });
            }
            Input::Found { id, found } => {
                self.change(id, |held, desk| held.found(found, desk));
            }
            Input::Adopt { version, record } => self.adopt(version, record),
            Input::Tick => self.tick(),
        }
    }

    /// What has to be done, in this order. Of writes, what was asked for later never makes an
    /// earlier one needless.
    pub fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.desk.effects)
    }

    /// When the next tick is due.
    pub fn due_at_ms(&self) -> Option<u64> {
        self.due.first().map(|(at_ms, _)| *at_ms)
    }

    /// How many transactions are in memory.
    pub fn held(&self) -> usize {
        self.transactions.len()
    }

    /// Whether this node is bringing a transaction to its end.
    pub fn drives(&self, id: TransactionId) -> bool {
        let held = self.transactions.get(&id);
        held.is_some_and(|held| held.drives(&self.desk))
    }

    fn asked(&mut self, request: RequestId, id: TransactionId, what: Request) {
        let max = self.desk.settings.transactions_max;
        let found = self.transactions.len() + 1;
        if found > max && !self.transactions.contains_key(&id) {
            let what = "transactions at once";
            self.desk
                .refuse(request, id, Refusal::Limit { what, found, max });
            return;
        }
        let begins = matches!(what, Request::Begin { .. });
        let held = self.transactions.entry(id);
        held.or_insert_with(|| Held::new(id, begins));
        self.change(id, |held, desk| held.asked(request, what, desk));
    }

    fn inquired(&mut self, branch: Branch, name: String) {
        let id = branch.transaction;
        // Whoever asks comes back: what there is no room for is not lost.
        if self.transactions.len() < self.desk.settings.transactions_max {
            let held = self.transactions.entry(id);
            held.or_insert_with(|| Held::new(id, false));
        }
        self.change(id, |held, desk| held.inquired(branch, name, desk));
    }

    fn adopt(&mut self, version: Version, record: Record) {
        let id = record.id;
        // More than clients may begin: what is in the log has to come to its end. What there is
        // no room for is found again by the next look through the log.
        if self.transactions.len() < self.desk.settings.transactions_max.saturating_mul(2) {
            let held = self.transactions.entry(id);
            held.or_insert_with(|| Held::new(id, false));
        }
        self.change(id, |held, desk| held.adopt(version, record, desk));
    }

    fn tick(&mut self) {
        while let Some((at_ms, id)) = self.due.first().copied() {
            if at_ms > self.desk.now_ms {
                return;
            }
            self.due.pop_first();
            self.change(id, |_, _| ());
        }
    }

    /// Changes what is held of a transaction, if anything is, and goes on with it.
    fn change(&mut self, id: TransactionId, change: impl FnOnce(&mut Held, &mut Desk)) {
        let Some(held) = self.transactions.get_mut(&id) else {
            return;
        };
        if let Some(at_ms) = held.due_at_ms.take() {
            self.due.remove(&(at_ms, id));
        }
        change(held, &mut self.desk);
        held.pursue(&mut self.desk);
        if held.is_needless(&self.desk) {
            self.transactions.remove(&id);
        } else if let Some(at_ms) = held.next_due_at_ms(&self.desk) {
            held.due_at_ms = Some(at_ms);
            self.due.insert((at_ms, id));
        }
    }

    fn change_by(&mut self, ticket: Ticket, change: impl FnOnce(&mut Held, &mut Desk)) {
        // What is not among them was answered before.
        if let Some(id) = self.desk.writes.remove(&ticket) {
            self.change(id, change);
        }
    }
}
