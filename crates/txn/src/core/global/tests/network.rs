//! What is on its way may be lost, doubled, late and out of order; participants take orders and
//! act, and may crash after each.

use super::{
    super::{
        Branch, Kind, Order, Report, Termination,
        coordinator::Input,
        participant::{Action, Happened, ThreePhase, Will},
    },
    world::{Core, Event, NODES, World},
};
use crate::core::chance;

impl World {
    /// Sends a message.
    pub(super) fn message(&mut self, event: Event) {
        let is_bad = self.are_faults() && !self.options.is_synchronous;
        if is_bad && (self.is_lost(&event) || self.chance(10)) {
            return;
        }
        let doubled = self.are_faults() && self.chance(10);
        for event in doubled.then(|| event.clone()).into_iter().chain([event]) {
            let mut delay_ms = 1 + chance::below(&mut self.random, 20);
            if is_bad && self.chance(10) {
                delay_ms += chance::below(&mut self.random, 2_500);
            }
            self.after(delay_ms, event);
        }
    }

    pub(super) fn is_by_peers(&self) -> bool {
        self.options.kind == Kind::ThreePhase(Termination::ByPeers)
    }

    /// Whether the cut is in the way.
    fn is_lost(&self, event: &Event) -> bool {
        let is_far = |at: usize| at >= 2;
        let number = |branch| self.name(branch).parse().expect("a participant's number");
        let is_apart = match event {
            Event::Participant { to, .. } => is_far(*to),
            Event::Peer {
                to, branch, from, ..
            } => is_far(*to) != is_far(number(ThreePhase::branch_at(*branch, *from))),
            Event::Node {
                input: Input::Reported { branch, .. } | Input::Inquired { branch, .. },
                ..
            } => is_far(number(*branch)),
            _ => false,
        };
        self.is_cut && is_apart
    }

    /// A participant may die; those whose peers end it for them more often.
    fn participant_dies(&mut self) -> bool {
        let percent = if self.is_by_peers() { 5 } else { 2 };
        self.are_faults() && self.chance(percent)
    }

    /// The log is a majority away, and now and then that takes long.
    pub(super) fn delay_of_log(&mut self) -> u64 {
        let slow = self.are_faults() && self.chance(5);
        1 + chance::below(&mut self.random, if slow { 1_200 } else { 10 })
    }

    pub(super) fn any_node(&mut self) -> usize {
        usize::try_from(chance::below(&mut self.random, NODES as u64)).expect("few")
    }

    /// Whether a participant can do what it is asked to. What is read-only stays so.
    fn will(&mut self, to: usize, branch: Branch) -> Will {
        let mut fate = u64::try_from(branch.transaction.0 >> 64).expect("half of it")
            ^ u64::from(branch.place.0).wrapping_mul(77);
        let fate = chance::below(&mut fate, 100);
        let is_database = matches!(self.participants[to].core, Core::Prepared(_));
        match fate {
            0..10 if self.options.kind != Kind::Saga => Will::ReadOnly,
            10..18 => Will::Cannot,
            _ if is_database && self.chance(5) => Will::Cannot,
            _ => Will::Can,
        }
    }

    pub(super) fn order(&mut self, to: usize, from: Option<usize>, branch: Branch, order: &Order) {
        if !self.participants[to].is_up {
            return;
        }
        let will = self.will(to, branch);
        let now_ms = self.now_ms;
        let report = match &mut self.participants[to].core {
            Core::Prepared(core) => core.step(branch, order, will),
            Core::Callback(core) => core.step(branch, order, will),
            Core::Steps(core) => core.step(branch, order, will),
            Core::ThreePhase(core) => {
                core.step(now_ms, branch, order, will);
                None
            }
        };
        if let Some(report) = report {
            self.checks.reported(branch, report);
        }
        let dies = self.participant_dies();
        if let Some(report) = report.filter(|_| !dies) {
            let to = from.unwrap_or(0);
            self.report(to, branch, report);
        }
        if dies {
            self.kill(to);
        } else {
            self.act(to);
        }
        self.watch(to);
    }

    fn report(&mut self, to: usize, branch: Branch, report: Report) {
        let input = Input::Reported { branch, report };
        self.message(Event::Node { to, input });
    }

    fn kill(&mut self, to: usize) {
        self.checks.crashes += 1;
        let forgets = self.options.forgets_votes;
        let kept = chance::below(&mut self.random, 4);
        let participant = &mut self.participants[to];
        participant.is_up = false;
        match &mut participant.core {
            Core::Prepared(core) if forgets => core.forget_votes(),
            Core::Callback(core) if forgets => core.forget_votes(),
            Core::ThreePhase(core) if forgets => core.forget_votes(),
            _ => {}
        }
        let mut actions = match &mut participant.core {
            Core::ThreePhase(core) => core.actions(),
            _ => Vec::new(),
        };
        actions.truncate(usize::try_from(kept).expect("few"));
        for action in actions {
            self.perform_action(action);
        }
        let away_ms = chance::below(&mut self.random, 2_000);
        self.after(away_ms, Event::ParticipantStart { to });
    }

    /// Does what a participant of three-phase commit wants done.
    pub(super) fn act(&mut self, to: usize) {
        let now_ms = self.now_ms;
        let Core::ThreePhase(core) = &mut self.participants[to].core else {
            return;
        };
        let due = core.due_at_ms();
        let dies = self.participant_dies();
        if dies {
            self.kill(to);
        } else {
            let Core::ThreePhase(core) = &mut self.participants[to].core else {
                return;
            };
            for action in core.actions() {
                self.perform_action(action);
            }
            if let Some(at_ms) = due {
                let wait_ms = at_ms.saturating_sub(now_ms);
                self.after(wait_ms, Event::ParticipantTick { to });
            }
        }
        self.watch(to);
    }

    fn perform_action(&mut self, action: Action) {
        match action {
            Action::Report { branch, report } => {
                self.checks.reported(branch, report);
                // Who has asked is not known here: all nodes hear it.
                for node in 0..NODES {
                    self.report(node, branch, report);
                }
            }
            Action::Inquire { branch } => {
                let name = self.name(branch);
                let to = self.any_node();
                let input = Input::Inquired { branch, name };
                self.message(Event::Node { to, input });
            }
            Action::Peer {
                from,
                to,
                name,
                message,
            } => {
                // Who never voted does not know whom he answers.
                let branch = ThreePhase::branch_at(from, to);
                let name = if name.is_empty() {
                    self.name(branch)
                } else {
                    name
                };
                self.message(Event::Peer {
                    to: name.parse().expect("a participant's number"),
                    branch,
                    from: from.place,
                    message,
                });
            }
        }
    }

    /// Checks what became visible at a participant.
    fn watch(&mut self, to: usize) {
        let happened: Vec<Happened> = match &mut self.participants[to].core {
            Core::Prepared(core) => core.happened(),
            Core::Callback(core) => core.happened(),
            Core::ThreePhase(core) => core.happened(),
            Core::Steps(core) => core.happened(),
        };
        for it in happened {
            self.checks.happened(it, self.options.kind);
        }
    }

    /// Whether all has ended, everywhere.
    pub(super) fn is_quiet(&self) -> bool {
        let in_doubt = |core: &Core| match core {
            Core::Prepared(core) => core.list().count(),
            Core::Callback(core) => core.in_doubt().count(),
            Core::ThreePhase(core) => core.in_doubt().count(),
            Core::Steps(_) => 0,
        };
        self.participants.iter().all(|it| in_doubt(&it.core) == 0)
            && self.log.is_empty()
            && self.clients.iter().all(|it| it.is_done)
    }

    pub(super) fn describe_open(&self) -> String {
        let records = self.log.values().map(|(version, bytes)| {
            format!(
                "{version:?} {:?}",
                super::super::Record::decode(bytes.clone())
            )
        });
        let mut lines: Vec<String> = records.collect();
        for (at, participant) in self.participants.iter().enumerate() {
            let branches: Vec<String> = match &participant.core {
                Core::Prepared(core) => core.list().map(|it| it.to_string()).collect(),
                Core::Callback(core) => core.in_doubt().map(|it| it.to_string()).collect(),
                Core::ThreePhase(core) => core
                    .in_doubt()
                    .map(|it| format!("{it} {:?}", core.state(it)))
                    .collect(),
                Core::Steps(_) => Vec::new(),
            };
            lines.push(format!("participant {at}: {branches:?}"));
        }
        let waits = self.clients.iter().filter(|it| !it.is_done);
        lines.extend(waits.map(|it| format!("client {it:?}")));
        lines.join("\n")
    }
}
