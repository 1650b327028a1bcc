//! Nodes: what their drivers do around coordinators, and the log.

use atoll_base::id::NodeId;

use super::{
    super::{
        Branch, Coordinator, Order, Version,
        coordinator::{Effect, Input},
    },
    world::{Core, Event, FAULTS_MS, NODES, World, decode},
};
use crate::core::chance;

impl World {
    pub(super) fn start(&mut self, node: usize) {
        if self.is_dark && self.are_faults() {
            return self.after(FAULTS_MS - self.now_ms, Event::Start { node });
        }
        let seed = chance::next(&mut self.random);
        let id = NodeId(node as u64);
        self.nodes[node].coordinator = Some(Coordinator::new(id, self.settings, seed));
        self.scan_once(node);
    }

    pub(super) fn darken(&mut self) {
        self.is_dark = true;
        for node in 0..NODES {
            if self.nodes[node].coordinator.is_some() {
                self.kill_node(node);
            }
        }
    }

    fn kill_node(&mut self, node: usize) {
        self.checks.crashes += 1;
        self.nodes[node].coordinator = None;
        self.nodes[node].start += 1;
        self.nodes[node].open.clear();
        let away_ms = chance::below(&mut self.random, 1_500);
        self.after(away_ms, Event::Start { node });
    }

    /// The driver looks through the log for what nobody brings to its end.
    pub(super) fn scan(&mut self, node: usize) {
        let pause_ms = 300 + chance::below(&mut self.random, 400);
        self.after(pause_ms, Event::Scan { node });
        if self.nodes[node].coordinator.is_some() {
            self.scan_once(node);
        }
    }

    fn scan_once(&mut self, node: usize) {
        let records = self.log.values().cloned();
        let records = records.map(|(version, bytes)| (version, decode(bytes)));
        for (version, record) in records.collect::<Vec<_>>() {
            let owner = usize::try_from(record.owner.0).expect("few");
            let is_orphan = self.nodes[owner].coordinator.is_none() || owner == node;
            let is_late = record.deadline_ms + 1_000 < self.now_ms;
            if is_orphan || is_late || record.has_ended() {
                self.step(node, Input::Adopt { version, record });
            }
        }
    }

    /// Who looks at what participants hold prepared asks about it, at any node.
    pub(super) fn list(&mut self, participant: usize) {
        self.after(900, Event::List { participant });
        let it = &self.participants[participant];
        let branches: Vec<Branch> = match &it.core {
            _ if !it.is_up => Vec::new(),
            Core::Prepared(core) => core.list().collect(),
            Core::Callback(core) => core.in_doubt().collect(),
            // It asks by itself.
            Core::ThreePhase(_) | Core::Steps(_) => Vec::new(),
        };
        for branch in branches {
            let to = usize::try_from(chance::below(&mut self.random, NODES as u64)).expect("few");
            let name = participant.to_string();
            let input = Input::Inquired { branch, name };
            self.message(Event::Node { to, input });
        }
    }

    /// A coordinator takes a step, and may die in the middle of what follows from it.
    pub(super) fn step(&mut self, node: usize, input: Input) {
        let now_ms = self.now_ms;
        let Some(coordinator) = &mut self.nodes[node].coordinator else {
            return;
        };
        coordinator.step(now_ms, input);
        let mut effects = coordinator.effects();
        let due = coordinator.due_at_ms();
        // What three-phase commit among peers is about is a death at this point, or a cut.
        let tells =
            |it: &Effect| matches!(it, Effect::Send { order, .. } if *order == Order::PreCommit);
        let is_point = self.are_faults() && self.is_by_peers() && effects.iter().any(tells);
        let dies = self.are_faults() && self.chance(if is_point { 25 } else { 2 });
        self.is_cut |= is_point && !self.options.is_synchronous && self.chance(25);
        if is_point && dies {
            self.after(0, Event::Dark);
        }
        if dies {
            let kept = chance::below(&mut self.random, effects.len() as u64 + 1);
            effects.truncate(usize::try_from(kept).expect("few"));
        } else if let Some(at_ms) = due {
            self.after(at_ms.saturating_sub(now_ms), Event::Tick { to: node });
        }
        for effect in effects {
            self.perform(node, effect);
        }
        if dies {
            self.kill_node(node);
        }
    }

    fn perform(&mut self, from: usize, effect: Effect) {
        let start = self.nodes[from].start;
        match effect {
            Effect::Write { ticket, .. } => {
                self.nodes[from].open.insert(ticket);
                let delay_ms = self.delay_of_log();
                self.after(
                    delay_ms,
                    Event::Write {
                        from,
                        start,
                        effect,
                    },
                );
                self.after(
                    300,
                    Event::Unclear {
                        to: from,
                        start,
                        ticket,
                    },
                );
            }
            Effect::Load { id } => {
                let delay_ms = self.delay_of_log();
                self.after(delay_ms, Event::Load { from, start, id });
            }
            Effect::Send {
                branch,
                name,
                order,
                ..
            } => {
                let to = name.parse().expect("a participant's number");
                let from = Some(from);
                self.message(Event::Participant {
                    to,
                    from,
                    branch,
                    order,
                });
            }
            Effect::Answer {
                request,
                id,
                answer,
            } => self.answered(request, id, answer),
            Effect::Note { .. } => {}
        }
    }

    /// The log takes a write, whenever it comes there.
    pub(super) fn write(&mut self, from: usize, start: u64, effect: Effect) {
        let Effect::Write {
            ticket,
            id,
            expected,
            record,
            parts,
        } = effect
        else {
            return;
        };
        let found = self
            .log
            .get(&id)
            .map_or(Version(0), |(version, _)| *version);
        let is_expected = expected.is_none_or(|it| it == found);
        let refuses = self.keyspace.refuses(&parts);
        let input = if let Some(place) = refuses.filter(|_| is_expected && self.minds_keys()) {
            self.checks.refusals += 1;
            Input::Refused { ticket, place }
        } else if is_expected {
            if refuses.is_none() {
                self.write_keys(id, &parts);
            }
            self.revision += 1;
            let version = Version(self.revision);
            match record {
                Some(record) => {
                    self.checks.written(&record);
                    self.log.insert(id, (version, record.encode()));
                }
                None => {
                    self.log.remove(&id);
                }
            }
            Input::Written { ticket, version }
        } else {
            if self.options.writes_keys_unguarded && refuses.is_none() {
                self.write_keys(id, &parts);
            }
            self.checks.conflicts += 1;
            Input::Conflict { ticket }
        };
        if !(self.are_faults() && self.chance(5)) {
            let delay_ms = self.delay_of_log();
            self.after(
                delay_ms,
                Event::Log {
                    to: from,
                    start,
                    input,
                },
            );
        }
    }
}
