//! How one attempt is brought to its end: its preStop hook, its signal, and when the grace period
//! is over, the kill (Kubernetes' "Termination of Pods"). The grace period covers hook and signal
//! together, but between the signal and the kill there are always two seconds.

use super::{
    container::{Container, Life, Site},
    messages::{Effect, Hook},
    turn::Turn,
};

/// Least time between the signal and the kill.
const SIGNAL_GRACE_MS_MIN: u64 = 2_000;
/// A kill that has shown no effect is repeated after that.
const KILL_AGAIN_MS: u64 = 10_000;

/// A stop under way.
pub(super) struct Stop {
    deadline_ms: u64,
    step: Step,
}

#[derive(Clone, Copy)]
enum Step {
    /// Nothing is done yet.
    Due,
    /// The preStop hook runs.
    Hook,
    Signalled {
        at_ms: u64,
    },
    Killed {
        again_at_ms: u64,
    },
}

impl Container {
    /// Has what lives of it stopped by then; an earlier end that is set already stays.
    pub(super) fn begin_stop(
        &mut self,
        turn: &mut Turn<'_>,
        site: &Site<'_>,
        why: Option<&str>,
        deadline_ms: u64,
    ) {
        if !self.is_live() {
            return;
        }
        match &mut self.stop {
            Some(stop) => stop.deadline_ms = stop.deadline_ms.min(deadline_ms),
            None => {
                self.stop = Some(Stop {
                    deadline_ms,
                    step: Step::Due,
                });
                let usual = || format!("Stopping container {}", self.name);
                let why = why.map_or_else(usual, str::to_owned);
                self.event(turn, site, false, "Killing", why);
            }
        }
    }

    /// Takes the next step of its stop, if it is being stopped and it is time for one.
    pub(super) fn drive_stop(&mut self, turn: &mut Turn<'_>, site: &Site<'_>) {
        let Some(&Stop { deadline_ms, step }) = self.stop.as_ref() else {
            return;
        };
        let is_starting = self.life == Life::Starting;
        match step {
            Step::Killed { .. } => self.kill(turn, site),
            // A signal would not reach it yet.
            _ if is_starting && turn.now_ms < deadline_ms => turn.wait_until(deadline_ms),
            _ if is_starting => self.kill(turn, site),
            Step::Due => self.begin_hook(turn, site),
            Step::Hook if turn.now_ms < deadline_ms => turn.wait_until(deadline_ms),
            Step::Hook => self.signal(turn, site),
            Step::Signalled { at_ms } => {
                let kill_at_ms = deadline_ms.max(at_ms.saturating_add(SIGNAL_GRACE_MS_MIN));
                match turn.now_ms < kill_at_ms {
                    true => turn.wait_until(kill_at_ms),
                    false => self.kill(turn, site),
                }
            }
        }
    }

    fn begin_hook(&mut self, turn: &mut Turn<'_>, site: &Site<'_>) {
        let Some(stop) = &mut self.stop else { return };
        let left_ms = stop.deadline_ms.saturating_sub(turn.now_ms);
        match self.pre_stop.clone() {
            Some(Ok(action)) if left_ms > 0 => {
                stop.step = Step::Hook;
                turn.wait_until(stop.deadline_ms);
                turn.emit(Effect::RunHook {
                    id: self.attempt(site.id),
                    hook: Hook::PreStop,
                    action: action.at(site.ips),
                    timeout_ms: Some(left_ms),
                });
            }
            Some(Err(_)) => {
                self.tell_of_hook(turn, site);
                self.signal(turn, site);
            }
            _ => self.signal(turn, site),
        }
    }

    /// The preStop hook has ended.
    pub(super) fn pre_stop_done(
        &mut self,
        turn: &mut Turn<'_>,
        site: &Site<'_>,
        outcome: &Result<(), String>,
    ) {
        if let Some(Stop {
            step: Step::Hook, ..
        }) = self.stop
        {
            if outcome.is_err() {
                self.tell_of_hook(turn, site);
            }
            self.signal(turn, site);
        }
    }

    fn tell_of_hook(&self, turn: &mut Turn<'_>, site: &Site<'_>) {
        self.event(
            turn,
            site,
            true,
            "FailedPreStopHook",
            "PreStopHook failed".to_owned(),
        );
    }

    fn signal(&mut self, turn: &mut Turn<'_>, site: &Site<'_>) {
        let id = self.attempt(site.id);
        if let Some(stop) = &mut self.stop {
            stop.step = Step::Signalled { at_ms: turn.now_ms };
            let kill_at_ms = turn.now_ms.saturating_add(SIGNAL_GRACE_MS_MIN);
            turn.wait_until(stop.deadline_ms.max(kill_at_ms));
            turn.emit(Effect::Stop {
                id,
                signal: self.stop_signal.clone(),
            });
        }
    }

    /// Ends what lives of it now, and again as long as it lives.
    pub(super) fn kill(&mut self, turn: &mut Turn<'_>, site: &Site<'_>) {
        if !self.is_live() {
            return;
        }
        if let Some(Stop {
            step: Step::Killed { again_at_ms },
            ..
        }) = self.stop
            && turn.now_ms < again_at_ms
        {
            return turn.wait_until(again_at_ms);
        }
        let again_at_ms = turn.now_ms.saturating_add(KILL_AGAIN_MS);
        let step = Step::Killed { again_at_ms };
        self.stop = Some(Stop {
            deadline_ms: turn.now_ms,
            step,
        });
        turn.wait_until(again_at_ms);
        turn.emit(Effect::Kill {
            id: self.attempt(site.id),
        });
    }
}
