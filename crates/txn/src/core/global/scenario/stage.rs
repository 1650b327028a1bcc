//! A small world with one story in it: messages take 10 ms, and nothing happens but by the plan.

use std::{collections::BTreeMap, fmt::Write as _};

use atoll_base::id::NodeId;

use super::{
    End, Play, Scenario,
    actors::{Actor, NAMES, words_of_order, words_of_peer, words_of_report},
};
use crate::core::global::{
    Coordinator, Settings,
    coordinator::Input,
    message::{Order, Report},
    participant::{Action, PeerMessage, ThreePhase},
    record::Record,
    types::{Branch, Place, TransactionId, Version},
};

pub(super) const MESSAGE_MS: u64 = 10;
/// Whoever is in doubt looks around so often.
const LOOK_MS: u64 = 10_000;
/// Another node notices a coordinator's death after so long.
pub(super) const TAKE_OVER_MS: u64 = 1_000;
/// The network is whole again then.
pub(super) const HEAL_MS: u64 = 40_000;
const END_MS: u64 = 60_000;
pub(super) const ID: TransactionId = TransactionId(1);

pub(super) enum Event {
    Coordinator(Input),
    Reported {
        from: usize,
        branch: Branch,
        report: Report,
    },
    Ordered {
        to: usize,
        branch: Branch,
        order: Order,
    },
    Peer {
        from: usize,
        to: usize,
        branch: Branch,
        message: PeerMessage,
    },
    Ask(u64),
    TakeOver,
    Look,
    Heal,
}

/// The stage.
pub(super) struct Stage {
    pub(super) scenario: Scenario,
    pub(super) now_ms: u64,
    events: u64,
    queue: BTreeMap<(u64, u64), Event>,
    pub(super) coordinator: Option<Coordinator>,
    pub(super) name: &'static str,
    pub(super) log: Option<(Version, Record)>,
    actors: Vec<Actor>,
    ended: Vec<Option<crate::core::global::Outcome>>,
    pub(super) pre_commits: u32,
    pub(super) is_cut: bool,
    before_healing: Option<Vec<End>>,
    trace: String,
}

impl Stage {
    pub(super) fn new(scenario: Scenario) -> Self {
        let coordinator = Coordinator::new(NodeId(1), Settings::default(), 1);
        let mut stage = Stage {
            scenario,
            now_ms: 0,
            events: 0,
            queue: BTreeMap::new(),
            coordinator: Some(coordinator),
            name: "coordinator",
            log: None,
            actors: NAMES.iter().map(|_| Actor::new(scenario.kind())).collect(),
            ended: vec![None; NAMES.len()],
            pre_commits: 0,
            is_cut: false,
            before_healing: None,
            trace: format!("{}\n\n", scenario.title()),
        };
        for request in 0..=4 {
            stage.after(request * 5, Event::Ask(request));
        }
        stage.after(LOOK_MS, Event::Look);
        stage
    }

    pub(super) fn after(&mut self, delay_ms: u64, event: Event) {
        self.events += 1;
        self.queue
            .insert((self.now_ms + delay_ms, self.events), event);
    }

    pub(super) fn line(&mut self, line: &str) {
        let (seconds, thousandths) = (self.now_ms / 1_000, self.now_ms % 1_000);
        // Text takes all that is written to it.
        let _ = writeln!(self.trace, "{seconds:>3}.{thousandths:03} s  {line}");
    }

    pub(super) fn play(mut self) -> Play {
        while self.now_ms < END_MS {
            let dues = self.actors.iter().filter_map(Actor::due_at_ms);
            let due = dues.chain(self.coordinator.as_ref().and_then(Coordinator::due_at_ms));
            let due = due.min().unwrap_or(END_MS).max(self.now_ms);
            match self.queue.first_entry() {
                Some(entry) if entry.key().0 <= due => {
                    let ((at_ms, _), event) = entry.remove_entry();
                    self.now_ms = at_ms;
                    self.happen(event);
                }
                _ => {
                    self.now_ms = due;
                    self.tick();
                }
            }
        }
        let ends = self.ends();
        self.now_ms = END_MS;
        for (name, end) in NAMES.iter().zip(&ends) {
            self.line(&format!("{name} is {end}"));
        }
        Play {
            before_healing: self.before_healing.take().unwrap_or_else(|| ends.clone()),
            ends,
            is_mixed: self.log.as_ref().is_some_and(|(_, it)| it.is_mixed()),
            trace: self.trace,
        }
    }

    fn ends(&self) -> Vec<End> {
        let actors = (0..).map(Place).zip(&self.actors).zip(&self.ended);
        let end = |((place, actor), ended): ((Place, &Actor), &Option<_>)| {
            let transaction = ID;
            actor.end(Branch { transaction, place }, *ended)
        };
        actors.map(end).collect()
    }

    fn tick(&mut self) {
        let now_ms = self.now_ms;
        for at in 0..self.actors.len() {
            if let Actor::ThreePhase(core) = &mut self.actors[at] {
                core.tick(now_ms);
                self.act(at);
            }
        }
        self.step(Input::Tick);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Coordinator(input) => self.step(input),
            Event::Reported {
                from,
                branch,
                report,
            } => {
                let words = words_of_report(report);
                let is_lost = self.coordinator.is_none() || self.is_apart(from);
                if self.reaches(NAMES[from], self.name, is_lost, words) {
                    self.step(Input::Reported { branch, report });
                }
            }
            Event::Ordered { to, branch, order } => {
                let words = words_of_order(&order);
                if self.reaches(self.name, NAMES[to], self.is_apart(to), words) {
                    let now_ms = self.now_ms;
                    let report = self.actors[to].step(now_ms, branch, &order);
                    if let Some(report) = report {
                        let from = to;
                        self.after(
                            MESSAGE_MS,
                            Event::Reported {
                                from,
                                branch,
                                report,
                            },
                        );
                    }
                    self.act(to);
                }
            }
            Event::Peer {
                from,
                to,
                branch,
                message,
            } => {
                let apart = self.is_apart(from) != self.is_apart(to);
                if self.reaches(NAMES[from], NAMES[to], apart, words_of_peer(message)) {
                    let now_ms = self.now_ms;
                    let place = (0..).map(Place).nth(from).unwrap_or_default();
                    if let Actor::ThreePhase(core) = &mut self.actors[to] {
                        core.hear(now_ms, branch, place, message);
                    }
                    self.act(to);
                }
            }
            Event::Ask(number) => self.ask(number),
            Event::TakeOver => self.take_over(),
            Event::Look => self.look(),
            Event::Heal => {
                self.before_healing = Some(self.ends());
                self.is_cut = false;
                self.line("the network is whole again");
            }
        }
    }

    /// Whether the cut lies between the coordinator, with the first participant, and this one.
    fn is_apart(&self, at: usize) -> bool {
        self.is_cut && at > 0
    }

    fn reaches(&mut self, from: &str, to: &str, is_lost: bool, words: &str) -> bool {
        if is_lost {
            self.line(&format!("{from} ─✗ {to}: {words}"));
        } else {
            self.line(&format!("{from} ─▶ {to}: {words}"));
        }
        !is_lost
    }

    /// Whoever is in doubt without a protocol of its own looks for a coordinator.
    fn look(&mut self) {
        for (at, name) in NAMES.iter().enumerate() {
            let is_database = matches!(self.actors[at], Actor::Database(_));
            if is_database && self.actors[at].is_in_doubt() {
                self.line(&format!(
                    "{name} holds it prepared, with its locks: nobody can tell it what was decided"
                ));
            }
        }
        self.after(LOOK_MS, Event::Look);
    }

    fn act(&mut self, at: usize) {
        if let Some(outcome) = self.actors[at].ended() {
            self.ended[at] = Some(outcome);
            self.line(&format!("{} has {outcome}", NAMES[at]));
        }
        for action in self.actors[at].actions() {
            match action {
                Action::Report { branch, report } => {
                    let from = at;
                    self.after(
                        MESSAGE_MS,
                        Event::Reported {
                            from,
                            branch,
                            report,
                        },
                    );
                }
                Action::Inquire { branch } => self.inquire(at, branch),
                Action::Peer {
                    from, to, message, ..
                } => {
                    let event = Event::Peer {
                        from: at,
                        to: to.index(),
                        branch: ThreePhase::branch_at(from, to),
                        message,
                    };
                    self.after(MESSAGE_MS, event);
                }
            }
        }
    }

    fn inquire(&mut self, at: usize, branch: Branch) {
        let name = NAMES[at].to_owned();
        let is_silent = self.coordinator.is_none() || self.is_apart(at);
        let what = if is_silent {
            ", and nobody answers"
        } else {
            ""
        };
        self.line(&format!("{name} asks what was decided{what}"));
        if !is_silent {
            self.after(
                MESSAGE_MS,
                Event::Coordinator(Input::Inquired { branch, name }),
            );
        }
    }
}
