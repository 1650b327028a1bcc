//! What happens to an attempt: it runs, its hooks end, it did not come to be, it has ended.

use super::{
    container::{Container, End, Life, Refusal, Site},
    messages::{Effect, Exit, Hook, StartFailure, bounded},
    turn::Turn,
};
use crate::core::image::ImageReason;

/// After a run of this length, the delays start over.
const STABLE_AFTER_MS: u64 = 600_000;
/// How soon a start is tried again whose configuration was not there.
const CONFIG_RETRY_MS: u64 = 10_000;
/// The exit code of a program that could not be run.
const START_ERROR_CODE: i32 = 128;

impl Container {
    /// Its attempt runs.
    pub(super) fn started(
        &mut self,
        turn: &mut Turn<'_>,
        site: &Site<'_>,
        at_ms: u64,
        image_id: Option<String>,
    ) {
        if self.life != Life::Starting {
            return;
        }
        let since_ms = at_ms.min(turn.now_ms);
        self.restart_count = self.number;
        self.image_id = image_id;
        self.refusal = None;
        self.refusals.reset();
        for probe in &mut self.probes {
            probe.begin(since_ms, false);
        }
        self.life = Life::Running {
            since_ms,
            is_hooked: false,
        };
        if !self.image.is_empty() {
            let told = format!(
                "Container image {:?} already present on machine",
                self.image
            );
            self.event(turn, site, false, "Pulled", told);
        }
        let name = self.name.clone();
        self.event(
            turn,
            site,
            false,
            "Created",
            format!("Created container: {name}"),
        );
        self.event(
            turn,
            site,
            false,
            "Started",
            format!("Started container {name}"),
        );
        match self.post_start.clone() {
            Some(Ok(action)) if self.stop.is_none() => {
                self.life = Life::Running {
                    since_ms,
                    is_hooked: true,
                };
                turn.emit(Effect::RunHook {
                    id: self.attempt(site.id),
                    hook: Hook::PostStart,
                    action: action.at(site.ips),
                    timeout_ms: None,
                });
            }
            Some(Err(_)) => self.post_start_failed(turn, site),
            _ => {}
        }
    }

    fn post_start_failed(&mut self, turn: &mut Turn<'_>, site: &Site<'_>) {
        // What it said may hold secrets, so that people read it in the node's log only.
        self.event(
            turn,
            site,
            true,
            "FailedPostStartHook",
            "PostStartHook failed".to_owned(),
        );
        let deadline_ms = turn.now_ms.saturating_add(site.grace_ms);
        self.begin_stop(turn, site, Some("FailedPostStartHook"), deadline_ms);
    }

    /// A hook of its attempt has ended.
    pub(super) fn hook_done(
        &mut self,
        turn: &mut Turn<'_>,
        site: &Site<'_>,
        hook: Hook,
        outcome: Result<(), String>,
    ) {
        match (hook, self.life) {
            (
                Hook::PostStart,
                Life::Running {
                    since_ms,
                    is_hooked: true,
                },
            ) => {
                if outcome.is_ok() {
                    self.life = Life::Running {
                        since_ms,
                        is_hooked: false,
                    };
                } else if self.stop.is_none() {
                    self.post_start_failed(turn, site);
                }
            }
            (Hook::PreStop, Life::Running { .. }) => self.pre_stop_done(turn, site, &outcome),
            _ => {}
        }
    }

    /// Its attempt did not come to be.
    pub(super) fn start_failed(
        &mut self,
        turn: &mut Turn<'_>,
        site: &Site<'_>,
        failure: StartFailure,
        message: String,
    ) {
        if self.life != Life::Starting {
            return;
        }
        let is_unwanted = self.stop.take().is_some();
        if is_unwanted || failure == StartFailure::Create {
            // The runtime may have begun with it, and begins with nothing twice.
            self.number = self.number.saturating_add(1);
        }
        if is_unwanted {
            self.life = Life::Dead;
            return;
        }
        let message = bounded(message);
        let told = match failure {
            StartFailure::Image(ImageReason::ErrImagePull) => {
                let told = format!("Failed to pull image {:?}: {message}", self.image);
                self.event(turn, site, true, "Failed", told);
                "Error: ErrImagePull".to_owned()
            }
            StartFailure::Image(reason) => format!("Error: {}: {message}", reason.name()),
            _ => format!("Error: {message}"),
        };
        self.event(turn, site, true, "Failed", told);
        let at_ms = turn.now_ms;
        if failure == StartFailure::Start {
            return self.end_with(End {
                number: self.number,
                code: START_ERROR_CODE,
                reason: "StartError".to_owned(),
                message,
                started_ms: at_ms,
                finished_ms: at_ms,
                is_fenced: false,
            });
        }
        let delay_ms = match failure {
            StartFailure::Image(_) => self.refusals.next_ms(),
            _ => CONFIG_RETRY_MS,
        };
        self.retry_at_ms = at_ms.saturating_add(delay_ms);
        self.refusal = Some(Refusal {
            failure,
            message,
            at_ms,
        });
        self.life = Life::Dead;
    }

    /// Its attempt has ended.
    pub(super) fn exited(&mut self, turn: &Turn<'_>, exit: Exit) {
        if self.is_live() {
            let mut end = End::of(self.number, exit, turn.now_ms);
            end.is_fenced |= self.is_fenced;
            self.end_with(end);
        }
    }

    /// Its latest attempt has come to this end.
    pub(super) fn end_with(&mut self, end: End) {
        if end.finished_ms.saturating_sub(end.started_ms) >= STABLE_AFTER_MS {
            self.restarts.reset();
        }
        self.delay_ms = match self.restarts_after(&end) {
            true => self.restarts.next_ms(),
            false => 0,
        };
        self.retry_at_ms = end.finished_ms.saturating_add(self.delay_ms);
        self.is_delay_told = false;
        self.restart_count = self.restart_count.max(end.number);
        self.ended_before = self.ended.replace(end);
        self.refusal = None;
        self.life = Life::Dead;
        self.stop = None;
    }
}
