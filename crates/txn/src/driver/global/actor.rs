//! The task that has the coordinator.
//!
//! It never waits for anything but events and time. What is under way elsewhere is bounded: one
//! write or load for each transaction in memory, one call for each of their participants, and of
//! calls so many at a time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use atoll_base::id::NodeId;
use atoll_world::{clock, random, task};
use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
};

use super::{
    Setup,
    care::Care,
    cluster::{Cluster, Unclear, Written},
    index::Index,
    outside::{Call, Outside},
    stats::{self, Stats},
};
use crate::core::global::{
    Branch, Order, Outcome, Place, Record, Report, TransactionId, Version,
    coordinator::{Answer, Coordinator, Effect, Input, Note, Request, RequestId, Ticket},
    record::Phase,
};

/// How long a read of the log rests before it is tried again.
const READ_REST: Duration = Duration::from_millis(200);

/// What happens to the task.
pub(super) enum Event {
    /// A client asks.
    Asked {
        id: TransactionId,
        what: Request,
        answer: oneshot::Sender<Answer>,
    },
    /// A participant asks.
    Inquired { branch: Branch, name: String },
    /// The log took a write, or did not, or did not answer.
    Wrote {
        ticket: Ticket,
        written: Result<Written, Unclear>,
    },
    /// The log was read for the coordinator.
    Read {
        id: TransactionId,
        found: Option<(Version, Record)>,
    },
    /// A participant has answered, or has not.
    Told {
        number: u64,
        branch: Branch,
        report: Option<Report>,
    },
    /// The log was read for what nobody brings to its end.
    Found {
        id: TransactionId,
        found: Option<(Version, Record)>,
        /// Whether its time is over, whatever it says.
        is_over: bool,
    },
    /// An owner was asked whether it is there.
    Probed { node: NodeId, is_alive: bool },
    /// Participants have told what they hold prepared.
    Held(Vec<(Branch, String)>),
}

/// A call under way.
struct Calling {
    number: u64,
    order: std::mem::Discriminant<Order>,
    /// Whether it does a saga's step.
    does: bool,
    handle: AbortHandle,
}

pub(super) struct Actor<C> {
    pub(super) node: NodeId,
    pub(super) cluster: C,
    pub(super) outside: Arc<dyn Outside>,
    pub(super) index: Arc<Index>,
    pub(super) stats: Arc<Stats>,
    pub(super) bounds: super::Bounds,
    pub(super) keep_ms: u64,
    pub(super) listed_max: usize,
    pub(super) coordinator: Coordinator,
    pub(super) care: Care,
    events: mpsc::WeakSender<Event>,
    requests: u64,
    waiting: BTreeMap<RequestId, (TransactionId, oneshot::Sender<Answer>)>,
    /// What ends a transaction, once it is written, and how.
    endings: BTreeMap<Ticket, (Outcome, bool)>,
    calls: u64,
    calling: BTreeMap<Branch, Calling>,
}

impl<C: Cluster> Actor<C> {
    pub(super) fn new(
        setup: Setup<C>,
        index: Arc<Index>,
        stats: Arc<Stats>,
        events: mpsc::WeakSender<Event>,
    ) -> Self {
        let settings = setup.settings;
        Actor {
            node: setup.node,
            cluster: setup.cluster,
            outside: setup.outside,
            index,
            stats,
            bounds: setup.bounds,
            keep_ms: settings.keep_ms,
            listed_max: settings.listed_max,
            coordinator: Coordinator::new(setup.node, settings, random::u64()),
            care: Care::default(),
            events,
            requests: 0,
            waiting: BTreeMap::new(),
            endings: BTreeMap::new(),
            calls: 0,
            calling: BTreeMap::new(),
        }
    }

    /// Works until nobody can ask any more.
    pub(super) async fn run(mut self, mut incoming: mpsc::Receiver<Event>) {
        let look = Duration::from_millis(self.bounds.look_ms.max(1));
        let mut look_at = clock::now() + look;
        loop {
            let wall_ms = clock::wall_ms();
            let due = self.coordinator.due_at_ms();
            let due = due.map(|at_ms| Duration::from_millis(at_ms.saturating_sub(wall_ms)));
            let next = due.map_or(look_at, |due| look_at.min(clock::now() + due));
            tokio::select! {
                biased;
                () = clock::sleep_until(next) => {}
                event = incoming.recv() => match event {
                    Some(event) => self.happen(event),
                    None => break,
                },
            }
            if self
                .coordinator
                .due_at_ms()
                .is_some_and(|at_ms| at_ms <= clock::wall_ms())
            {
                self.step(Input::Tick);
            }
            if clock::now() >= look_at {
                self.forget_who_left();
                self.look();
                self.measure();
                look_at = clock::now() + look;
            }
        }
        for calling in self.calling.values() {
            calling.handle.abort();
        }
    }

    /// A transaction has room for so many who wait: those who went away take none.
    fn forget_who_left(&mut self) {
        let left = self.waiting.iter().filter(|(_, (_, it))| it.is_closed());
        let left: Vec<_> = left.map(|(request, (id, _))| (*request, *id)).collect();
        for (request, id) in left {
            self.waiting.remove(&request);
            self.step(Input::Left { request, id });
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Asked { id, what, answer } => {
                self.requests += 1;
                let request = RequestId(self.requests);
                self.waiting.insert(request, (id, answer));
                self.step(Input::Asked { request, id, what });
            }
            Event::Inquired { branch, name } => self.step(Input::Inquired { branch, name }),
            Event::Wrote { ticket, written } => self.wrote(ticket, written),
            Event::Read { id, found } => self.step(Input::Found { id, found }),
            Event::Told {
                number,
                branch,
                report,
            } => {
                let is_last = |it: &Calling| it.number == number;
                if self.calling.get(&branch).is_some_and(is_last) {
                    self.calling.remove(&branch);
                }
                if let Some(report) = report {
                    self.step(Input::Reported { branch, report });
                }
            }
            Event::Found { id, found, is_over } => self.found(id, found, is_over),
            Event::Probed { node, is_alive } => self.care.answered(node, is_alive),
            Event::Held(held) => {
                self.care.has_listed();
                for (branch, name) in held.into_iter().take(self.listed_max) {
                    self.step(Input::Inquired { branch, name });
                }
            }
        }
    }

    fn wrote(&mut self, ticket: Ticket, written: Result<Written, Unclear>) {
        let ending = self.endings.remove(&ticket);
        match written {
            Ok(Written::At(version)) => {
                if let Some((outcome, is_mixed)) = ending {
                    stats::add(match outcome {
                        Outcome::Committed => &self.stats.committed,
                        Outcome::Aborted => &self.stats.aborted,
                    });
                    if is_mixed {
                        stats::add(&self.stats.mixed);
                    }
                }
                self.step(Input::Written { ticket, version });
            }
            Ok(Written::Changed) => self.step(Input::Conflict { ticket }),
            Ok(Written::Refused(place)) => self.step(Input::Refused { ticket, place }),
            Err(error) => {
                tracing::debug!(%error, "it is not known whether a decision is in the log");
                self.step(Input::Unclear { ticket });
            }
        }
    }

    pub(super) fn step(&mut self, input: Input) {
        self.coordinator.step(clock::wall_ms(), input);
        for effect in self.coordinator.effects() {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Write {
                ticket,
                id,
                expected,
                record,
                parts,
            } => self.write(ticket, id, expected, record, parts),
            Effect::Load { id } => {
                let cluster = self.cluster.clone();
                self.spawn(async move {
                    let found = read(&cluster, id).await;
                    Event::Read { id, found }
                });
            }
            Effect::Send {
                branch,
                name,
                attempt,
                order,
            } => self.tell(Call {
                branch,
                name,
                attempt,
                order,
            }),
            Effect::Answer {
                request, answer, ..
            } => {
                if answer == Answer::Begun {
                    stats::add(&self.stats.begun);
                }
                if let Some((_, waiting)) = self.waiting.remove(&request) {
                    // Who has given up waiting does not hear.
                    let _ = waiting.send(answer);
                }
            }
            Effect::Note { id, note } => say(id, &note),
        }
    }

    fn write(
        &mut self,
        ticket: Ticket,
        id: TransactionId,
        expected: Option<Version>,
        record: Option<Record>,
        parts: Vec<(Place, Bytes)>,
    ) {
        let Some(expected) = expected else {
            // Only where a rule is broken on purpose, which no node does.
            return self.step(Input::Conflict { ticket });
        };
        if let Some((Phase::Ended { outcome, .. }, is_mixed)) =
            record.as_ref().map(|it| (it.phase, it.is_mixed()))
        {
            self.endings.insert(ticket, (outcome, is_mixed));
        }
        let cluster = self.cluster.clone();
        self.spawn(async move {
            let written = cluster.write(id, expected, record.as_ref(), &parts).await;
            Event::Wrote { ticket, written }
        });
    }

    /// Tells a participant, unless it is just being told the same. What is told now takes the
    /// place of what was told before.
    fn tell(&mut self, call: Call) {
        let order = std::mem::discriminant(&call.order);
        match self.calling.get(&call.branch) {
            Some(calling) if calling.order == order => return,
            // A step may take its time. What came of it is asked about when no answer came.
            Some(calling) if calling.does && call.order == Order::Ask => return,
            Some(calling) => calling.handle.abort(),
            None if self.calling.len() >= self.bounds.calls_max => {
                // As if it had been lost: it is sent again.
                return stats::add(&self.stats.postponed);
            }
            None => {}
        }
        if call.attempt > 1 {
            stats::add(&self.stats.retries);
        }
        self.calls += 1;
        let (number, branch) = (self.calls, call.branch);
        let does = matches!(call.order, Order::Do { .. });
        let told = self.outside.tell(call);
        let handle = self.spawn(async move {
            let report = told.await;
            Event::Told {
                number,
                branch,
                report,
            }
        });
        let calling = Calling {
            number,
            order,
            does,
            handle,
        };
        self.calling.insert(branch, calling);
    }

    /// Does something in a task of its own, and hears of it.
    pub(super) fn spawn(&self, work: impl Future<Output = Event> + Send + 'static) -> AbortHandle {
        let events = self.events.clone();
        let task = task::spawn(async move {
            let event = work.await;
            if let Some(events) = events.upgrade() {
                // Only a node that stops does not take it.
                let _ = events.send(event).await;
            }
        });
        task.abort_handle()
    }

    fn measure(&self) {
        let in_doubt = self.coordinator.in_doubt(usize::MAX);
        let now_ms = clock::wall_ms();
        let ages = in_doubt.iter().map(|it| now_ms.saturating_sub(it.since_ms));
        stats::set(&self.stats.in_doubt_ms_max, ages.max().unwrap_or(0));
        stats::set(&self.stats.in_doubt, in_doubt.len() as u64);
        stats::set(&self.stats.held, self.coordinator.held() as u64);
        stats::set(&self.stats.records, self.index.len() as u64);
    }
}

/// Reads until there is an answer.
pub(super) async fn read<C: Cluster>(cluster: &C, id: TransactionId) -> Option<(Version, Record)> {
    loop {
        match cluster.read(id).await {
            Ok(found) => return found,
            Err(error) => tracing::debug!(%id, %error, "a transaction can't be read"),
        }
        clock::sleep(READ_REST).await;
    }
}

/// A line in the log. What everybody may look at again and again is no news.
fn say(id: TransactionId, note: &Note) {
    match note {
        Note::Decided { outcome, reason } => {
            tracing::debug!(%id, %outcome, ?reason, "a transaction is decided");
        }
        Note::Ended {
            outcome,
            is_mixed: false,
        } => tracing::debug!(%id, %outcome, "a transaction has ended"),
        Note::Ended { outcome, .. } => {
            tracing::error!(%id, %outcome, "a transaction has ended, but not all participants ended it so: see `atoll txn show`");
        }
        Note::Contrary { place, outcome } => {
            tracing::error!(%id, %place, %outcome, "a participant has ended otherwise than was decided; it has to be put right by hand");
        }
        Note::LostVote { place } => {
            tracing::error!(%id, %place, "a participant has voted yes and knows nothing of it now; say how it ended with `atoll txn resolve`");
        }
        Note::ByHand { place, outcome, by } => {
            tracing::warn!(%id, %place, %outcome, by, "a person has said how a participant ended");
        }
    }
}
