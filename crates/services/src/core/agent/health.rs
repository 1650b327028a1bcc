//! What the probes of a container mean for it: startup holds the others back, readiness is told,
//! liveness and startup that fail have it stopped, so that its policy restarts it.

use super::{
    container::{Container, Life, RestartPolicy, Role, Site},
    messages::{Effect, ProbeKind},
    probes::{Probe, Wants},
    turn::Turn,
};

impl Container {
    /// A probe of its attempt has an answer.
    pub(super) fn probed(
        &mut self,
        turn: &mut Turn<'_>,
        site: &Site<'_>,
        (kind, serial): (ProbeKind, u64),
        outcome: Result<(), String>,
    ) {
        let awaits = |probe: &Probe| probe.kind == kind && probe.awaits(serial);
        if let Some(at) = self.probes.iter().position(awaits) {
            self.take_answer(turn, site, at, outcome);
        }
    }

    /// Starts the probes that are due and fails those that hang.
    pub(super) fn drive_probes(&mut self, turn: &mut Turn<'_>, site: &Site<'_>) {
        for at in 0..self.probes.len() {
            self.drive_probe(turn, site, at);
        }
    }

    fn is_probed(&self, kind: ProbeKind, site: &Site<'_>) -> bool {
        let is_up = matches!(
            self.life,
            Life::Running {
                is_hooked: false,
                ..
            }
        );
        let is_left_alone = match kind {
            // Who is about to go may still say that it serves no more.
            ProbeKind::Readiness => self.stop.is_some() && !site.is_ending,
            ProbeKind::Startup | ProbeKind::Liveness => self.stop.is_some() || site.is_ending,
        };
        let is_its_time = self.is_started() != (kind == ProbeKind::Startup);
        is_up && is_its_time && !is_left_alone
    }

    fn drive_probe(&mut self, turn: &mut Turn<'_>, site: &Site<'_>, at: usize) {
        while self.is_probed(self.probes[at].kind, site) {
            let id = self.attempt(site.id);
            let probe = &mut self.probes[at];
            let (kind, timeout_ms) = (probe.kind, probe.timeout_ms);
            match probe.poll(turn.now_ms) {
                Wants::Wait { until_ms } => return turn.wait_until(until_ms),
                Wants::Run { serial } => match probe.action.clone() {
                    Ok(action) => turn.emit(Effect::Probe {
                        id,
                        kind,
                        serial,
                        action: action.at(site.ips),
                        timeout_ms,
                    }),
                    Err(why) => self.take_answer(turn, site, at, Err(why)),
                },
                Wants::TimedOut => {
                    let told = format!("no answer within {}s", timeout_ms / 1000);
                    self.take_answer(turn, site, at, Err(told));
                }
            }
        }
    }

    fn take_answer(
        &mut self,
        turn: &mut Turn<'_>,
        site: &Site<'_>,
        at: usize,
        outcome: Result<(), String>,
    ) {
        let (kind, grace_ms) = (self.probes[at].kind, self.probes[at].grace_ms);
        let is_probed = self.is_probed(kind, site);
        let verdict = self.probes[at].answer(outcome.is_ok());
        if !is_probed {
            return;
        }
        if let Err(why) = outcome {
            let title = match kind {
                ProbeKind::Startup => "Startup",
                ProbeKind::Liveness => "Liveness",
                ProbeKind::Readiness => "Readiness",
            };
            self.event(
                turn,
                site,
                true,
                "Unhealthy",
                format!("{title} probe failed: {why}"),
            );
        }
        if verdict == Some(false) && kind != ProbeKind::Readiness {
            let after = match (self.role, self.policy) {
                (Role::Main | Role::Init, RestartPolicy::Never) => "",
                _ => ", will be restarted",
            };
            let told = format!("Container {} failed {kind} probe{after}", self.name);
            let grace_ms = grace_ms.unwrap_or(site.grace_ms);
            let deadline_ms = turn.now_ms.saturating_add(grace_ms);
            self.begin_stop(turn, site, Some(&told), deadline_ms);
        }
    }
}
