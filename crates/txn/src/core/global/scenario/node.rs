//! The coordinator's side of a story: its client, its log, and its death.

use atoll_base::id::NodeId;
use bytes::Bytes;

use super::{
    Scenario,
    actors::{NAMES, words_of_phase},
    stage::{Event, HEAL_MS, ID, MESSAGE_MS, Stage, TAKE_OVER_MS},
};
use crate::core::global::{
    Coordinator, Settings,
    coordinator::{Answer, Effect, Input, Request, RequestId, Until},
    message::Order,
    record::Phase,
    types::{ABSENT, Branch, Version},
};

impl Stage {
    /// The client: begins, enlists all, and commits.
    pub(super) fn ask(&mut self, number: u64) {
        let at = number
            .checked_sub(1)
            .and_then(|it| usize::try_from(it).ok());
        let what = match (at, at.and_then(|at| NAMES.get(at))) {
            (None, _) => Request::Begin {
                kind: self.scenario.kind(),
                timeout_ms: 30_000,
            },
            (_, Some(name)) => Request::Enlist {
                name: (*name).to_owned(),
                payload: Bytes::from_static(b"work"),
                compensation: Bytes::new(),
            },
            _ => Request::Commit {
                until: Until::Decided,
            },
        };
        match at {
            None => self.line(&format!("client ─▶ {}: begin", self.name)),
            Some(at) if at < NAMES.len() => {
                self.line(&format!(
                    "client ─▶ {}: {} takes part",
                    self.name, NAMES[at]
                ));
            }
            Some(_) => self.line(&format!("client ─▶ {}: commit", self.name)),
        }
        let request = RequestId(number);
        self.step(Input::Asked {
            request,
            id: ID,
            what,
        });
    }

    pub(super) fn step(&mut self, input: Input) {
        let Some(coordinator) = &mut self.coordinator else {
            return;
        };
        coordinator.step(self.now_ms, input);
        for effect in coordinator.effects() {
            // It may die on the way.
            if self.coordinator.is_some() {
                self.perform(effect);
            }
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Write {
                ticket,
                expected,
                record,
                ..
            } => {
                let phase = record.as_ref().map(|it| it.phase);
                let dies = match self.scenario {
                    Scenario::SingleCoordinatorDies => phase == Some(Phase::Committing),
                    Scenario::ReplicatedCoordinatorDies => {
                        phase == Some(Phase::Committing) && self.name == "coordinator"
                    }
                    Scenario::DiesBeforePreCommit => phase == Some(Phase::PreCommitting),
                    _ => false,
                };
                if dies {
                    return self.die("before what follows from the votes is in its log");
                }
                let found = self.log.as_ref().map_or(ABSENT, |(version, _)| *version);
                if expected != Some(found) {
                    self.after(1, Event::Coordinator(Input::Conflict { ticket }));
                    return;
                }
                let version = Version(found.0 + 1);
                if let Some(phase) = phase {
                    self.line(&format!("{} writes: {}", self.name, words_of_phase(phase)));
                }
                self.log = record.map(|record| (version, record));
                self.after(1, Event::Coordinator(Input::Written { ticket, version }));
            }
            Effect::Load { id } => {
                let found = self.log.clone();
                self.after(1, Event::Coordinator(Input::Found { id, found }));
            }
            Effect::Send { branch, order, .. } => self.send(branch, order),
            Effect::Answer { answer, .. } => {
                if let Answer::Decided { outcome, .. } = answer {
                    self.line(&format!("{} ─▶ client: {outcome}", self.name));
                }
            }
            Effect::Note { .. } => {}
        }
    }

    fn send(&mut self, branch: Branch, order: Order) {
        let is_pre_commit = order == Order::PreCommit;
        let to = branch.place.index();
        self.after(MESSAGE_MS, Event::Ordered { to, branch, order });
        if !is_pre_commit {
            return;
        }
        self.pre_commits += 1;
        if self.pre_commits > 1 {
            return;
        }
        match self.scenario {
            Scenario::DiesDuringPreCommit => {
                self.die("when it has told the first participant only");
            }
            Scenario::CutDuringPreCommit(_) => {
                self.is_cut = true;
                let (first, others) = (NAMES[0], NAMES[1..].join(" and "));
                self.line(&format!(
                    "the network is cut: {} and {first} on one side, {others} on the other",
                    self.name
                ));
                let wait_ms = HEAL_MS - self.now_ms;
                self.after(wait_ms, Event::Heal);
            }
            _ => {}
        }
    }

    fn die(&mut self, when: &str) {
        self.coordinator = None;
        self.line(&format!("{} dies {when}", self.name));
        if self.scenario == Scenario::ReplicatedCoordinatorDies {
            self.after(TAKE_OVER_MS, Event::TakeOver);
        } else {
            self.log = None;
        }
    }

    pub(super) fn take_over(&mut self) {
        self.name = "second node";
        self.line("second node finds the record in the log, and takes over");
        self.coordinator = Some(Coordinator::new(NodeId(2), Settings::default(), 2));
        if let Some((version, record)) = self.log.clone() {
            self.step(Input::Adopt { version, record });
        }
        // Its connection is gone, so the client asks the next node.
        self.ask(NAMES.len() as u64 + 1);
    }
}
