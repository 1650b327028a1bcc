//! One container of a pod and its attempts, one after the other: never two at once. An attempt
//! lives from the effect that starts it to the input that says that it has ended or never came
//! to be. Ends are counted against the restart policy and its back-off (Kubernetes' "Pod
//! Lifecycle"; KEP-753 for sidecars).

use std::sync::Arc;

use serde_json::Value;

use super::{
    action::Action,
    backoff::Backoff,
    messages::{AttemptId, Effect, Exit, PodId, ProbeKind, StartFailure, bounded},
    probes::Probe,
    stop::Stop,
    turn::Turn,
};

/// The first delay before a container that failed is run again, after one free try.
const RESTART_DELAY_MS: u64 = 10_000;
/// The longest delay before something is tried again.
const RETRY_DELAY_MS_MAX: u64 = 300_000;

/// When a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Before the main ones, to its end.
    Init,
    /// From before the main ones until after them.
    Sidecar,
    /// When all is ready for it.
    Main,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

impl RestartPolicy {
    pub(super) fn read(policy: &Value) -> Option<RestartPolicy> {
        match policy.as_str()? {
            "Always" => Some(RestartPolicy::Always),
            "OnFailure" => Some(RestartPolicy::OnFailure),
            "Never" => Some(RestartPolicy::Never),
            _ => None,
        }
    }
}

/// Whether an attempt lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Dead,
    Starting,
    Running {
        since_ms: u64,
        /// Whether its postStart hook has not ended yet.
        is_hooked: bool,
    },
}

/// An attempt that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) number: u32,
    pub(super) code: i32,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) started_ms: u64,
    pub(super) finished_ms: u64,
    /// Whether it was ended since the node's lease had ended.
    pub(super) is_fenced: bool,
}

/// Why the latest start did not come to be.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) failure: StartFailure,
    pub(super) message: String,
    pub(super) at_ms: u64,
}

/// What a container has to know of its pod.
pub(super) struct Site<'a> {
    pub(super) id: &'a PodId,
    pub(super) object: &'a Arc<Value>,
    pub(super) ips: &'a [String],
    /// How long a stop may take, if nothing else is said.
    pub(super) grace_ms: u64,
    /// Whether the pod as a whole is being stopped.
    pub(super) is_ending: bool,
}

/// A container.
pub(super) struct Container {
    pub(super) name: String,
    pub(super) image: String,
    /// The image of the attempt that was the last to come to be, at its digest.
    pub(super) image_id: Option<String>,
    pub(super) role: Role,
    pub(super) policy: RestartPolicy,
    pub(super) post_start: Option<Result<Action, String>>,
    pub(super) pre_stop: Option<Result<Action, String>>,
    /// Empty: what its image says.
    pub(super) stop_signal: String,
    /// Of the attempt that lives; else of the latest, or of the next if that never came to be.
    pub(super) number: u32,
    /// The number of the attempt that was the last to come to be.
    pub(super) restart_count: u32,
    pub(super) life: Life,
    /// The attempt that ended last.
    pub(super) ended: Option<End>,
    /// The one that ended before it.
    pub(super) ended_before: Option<End>,
    pub(super) refusal: Option<Refusal>,
    /// No start before.
    pub(super) retry_at_ms: u64,
    /// How long that was from the end of the latest attempt.
    pub(super) delay_ms: u64,
    pub(super) is_delay_told: bool,
    pub(super) restarts: Backoff,
    pub(super) refusals: Backoff,
    pub(super) probes: Vec<Probe>,
    pub(super) stop: Option<Stop>,
    /// Whether the attempt that lives is being killed since the node's lease has ended.
    pub(super) is_fenced: bool,
}

impl Container {
    /// Reads a container that has never run.
    pub(super) fn read(container: &Value, is_init: bool, pod_policy: RestartPolicy) -> Container {
        let own_policy = RestartPolicy::read(&container["restartPolicy"]);
        let role = match own_policy {
            Some(RestartPolicy::Always) if is_init => Role::Sidecar,
            _ if is_init => Role::Init,
            _ => Role::Main,
        };
        let text = |field: &str| container[field].as_str().unwrap_or_default().to_owned();
        let lifecycle = &container["lifecycle"];
        let hook = |name: &str| {
            let handler = lifecycle.get(name)?;
            Some(Action::read(handler, container))
        };
        let kinds = [
            ProbeKind::Startup,
            ProbeKind::Liveness,
            ProbeKind::Readiness,
        ];
        let stop_signal = lifecycle["stopSignal"].as_str().unwrap_or_default();
        Container {
            name: text("name"),
            image: text("image"),
            image_id: None,
            role,
            policy: own_policy.unwrap_or(pod_policy),
            post_start: hook("postStart"),
            pre_stop: hook("preStop"),
            stop_signal: stop_signal.to_owned(),
            number: 0,
            restart_count: 0,
            life: Life::Dead,
            ended: None,
            ended_before: None,
            refusal: None,
            retry_at_ms: 0,
            delay_ms: 0,
            is_delay_told: false,
            restarts: Backoff::new(RESTART_DELAY_MS, RETRY_DELAY_MS_MAX).free_first(),
            refusals: Backoff::new(RESTART_DELAY_MS, RETRY_DELAY_MS_MAX),
            probes: kinds
                .into_iter()
                .filter_map(|kind| Probe::read(kind, container))
                .collect(),
            stop: None,
            is_fenced: false,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.life != Life::Dead
    }

    /// Whether it runs and has come up: its hook and its startup probe have passed.
    pub(super) fn is_started(&self) -> bool {
        let is_up = matches!(
            self.life,
            Life::Running {
                is_hooked: false,
                ..
            }
        );
        is_up && self.has_passed(ProbeKind::Startup)
    }

    /// Whether it can serve; of an init container: whether it is done.
    pub(super) fn is_ready(&self) -> bool {
        match self.role {
            Role::Init => self.has_succeeded(),
            Role::Sidecar | Role::Main => {
                self.is_started() && self.has_passed(ProbeKind::Readiness)
            }
        }
    }

    /// Whether it has that probe not, or its last verdict was good.
    fn has_passed(&self, kind: ProbeKind) -> bool {
        let mut probes = self.probes.iter();
        probes
            .find(|probe| probe.kind == kind)
            .is_none_or(Probe::has_passed)
    }

    /// How its latest attempt ended, if no other lives or is wanted.
    fn end(&self) -> Option<&End> {
        self.ended
            .as_ref()
            .filter(|_| !self.is_live() && self.refusal.is_none())
    }

    /// Whether its latest attempt ended well.
    pub(super) fn has_succeeded(&self) -> bool {
        self.end().is_some_and(|end| end.code == 0)
    }

    /// Whether it is run again after such an end.
    pub(super) fn restarts_after(&self, end: &End) -> bool {
        match (self.role, self.policy) {
            (Role::Sidecar, _) | (Role::Main, RestartPolicy::Always) => true,
            (_, RestartPolicy::Never) => false,
            _ => end.code != 0,
        }
    }

    /// Whether it has ended for good.
    pub(super) fn is_done(&self) -> bool {
        self.end().is_some_and(|end| !self.restarts_after(end))
    }

    /// Whether the pod has failed with it.
    pub(super) fn has_failed_init(&self) -> bool {
        self.role == Role::Init && self.is_done() && !self.has_succeeded()
    }

    /// The attempt that lives.
    pub(super) fn attempt(&self, pod: &PodId) -> AttemptId {
        AttemptId {
            uid: pod.uid.clone(),
            container: self.name.clone(),
            number: self.number,
        }
    }

    fn path(&self) -> String {
        let list = match self.role {
            Role::Main => "containers",
            Role::Init | Role::Sidecar => "initContainers",
        };
        format!("spec.{list}{{{}}}", self.name)
    }

    /// Tells people something about it.
    pub(super) fn event(
        &self,
        turn: &mut Turn<'_>,
        site: &Site<'_>,
        is_warning: bool,
        reason: &'static str,
        message: String,
    ) {
        turn.event(site.id, &self.path(), is_warning, reason, message);
    }

    /// Starts it if it does not live and is to run now.
    pub(super) fn ensure_started(&mut self, turn: &mut Turn<'_>, site: &Site<'_>) {
        if self.is_live() || self.is_done() {
            return;
        }
        if turn.now_ms >= self.retry_at_ms {
            return self.start(turn, site);
        }
        turn.wait_until(self.retry_at_ms);
        if self.refusal.is_none() && !self.is_delay_told {
            self.is_delay_told = true;
            let (name, pod) = (&self.name, site.id);
            let told = format!("Back-off restarting failed container {name} in pod {pod}");
            self.event(turn, site, true, "BackOff", told);
        }
    }

    fn start(&mut self, turn: &mut Turn<'_>, site: &Site<'_>) {
        if let Some(end) = &self.ended {
            self.number = self.number.max(end.number.saturating_add(1));
        }
        self.life = Life::Starting;
        self.is_fenced = false;
        turn.emit(Effect::Start {
            id: self.attempt(site.id),
            pod: Arc::clone(site.object),
            ips: site.ips.to_vec(),
        });
    }
}

impl End {
    /// How an attempt ended, as its runtime tells it: of times that can't be, what can be.
    pub(super) fn of(number: u32, exit: Exit, now_ms: u64) -> End {
        let finished_ms = exit.finished_ms.min(now_ms);
        let code = exit
            .signal
            .map_or(exit.code, |signal| 128 + i32::from(signal));
        let reason = match code {
            _ if exit.is_oom => "OOMKilled",
            0 => "Completed",
            _ => "Error",
        };
        End {
            number,
            code,
            reason: reason.to_owned(),
            message: bounded(exit.message),
            started_ms: exit.started_ms.min(finished_ms),
            finished_ms,
            is_fenced: exit.is_fenced,
        }
    }
}
