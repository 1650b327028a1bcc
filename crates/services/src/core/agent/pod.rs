//! One pod of the node, from the moment that it is bound here until it is gone from the API.
//!
//! After every input and every wakeup the pod is looked at as a whole ([`Pod::sync`]): from what
//! is wanted (the object) and what is (its containers) follows what is to be done now. Looking
//! twice does nothing twice. A pod's end, once begun, is never taken back.

use std::sync::Arc;

use serde_json::Value;

use super::{
    backoff::Backoff,
    conditions::Told,
    container::{Container, RestartPolicy, Role, Site},
    ending::{Ending, Why, grace_ms},
    messages::{AttemptId, Effect, Found, Input, Node, PodId},
    restore, status,
    turn::Turn,
};
use crate::core::{object, time::parse_rfc3339};

/// Longest span of time that a field can set.
pub(super) const SECONDS_MAX: u64 = 1_000_000_000;
const PREPARE_DELAY_MS: u64 = 1_000;
const PREPARE_DELAY_MS_MAX: u64 = 120_000;
const DELETE_DELAY_MS: u64 = 10_000;
const DELETE_DELAY_MS_MAX: u64 = 300_000;

/// What may be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// All is killed, nothing is told.
    Fenced,
    /// It is not known yet what is wanted.
    Waiting,
    /// As the object says. `is_held`: something of this pod that it does not know still runs.
    Active { is_held: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prepare {
    Due { at_ms: u64 },
    UnderWay,
    Done,
}

/// A pod.
pub(super) struct Pod {
    pub(super) id: PodId,
    pub(super) object: Arc<Value>,
    /// Init containers in their order, then the others.
    pub(super) containers: Vec<Container>,
    pub(super) ips: Vec<String>,
    pub(super) start_ms: u64,
    prepare: Prepare,
    prepares: Backoff,
    /// Whether the init containers have let the main ones start.
    pub(super) is_initialized: bool,
    /// Whether its volumes and network are there, as far as is known.
    pub(super) has_network: bool,
    pub(super) ending: Option<Ending>,
    /// Whether it has ended and nothing of it runs.
    pub(super) is_over: bool,
    /// Whether it was over before this agent knew it: its status stays as it is.
    is_settled: bool,
    pub(super) told: Told,
    pub(super) deletes: Backoff,
    pub(super) delete_at_ms: u64,
    wake_ms: Option<u64>,
}

impl Pod {
    /// A pod that is new to this agent, which may not be new to this node: takes over what was
    /// found of it. What can't be taken over is given back: it has to be killed.
    pub(super) fn new(
        object: Arc<Value>,
        found: Vec<Found>,
        turn: &Turn<'_>,
    ) -> (Pod, Vec<AttemptId>) {
        let id = PodId {
            uid: object::uid(&object).to_owned(),
            namespace: object::namespace(&object).to_owned(),
            name: object::name(&object).to_owned(),
        };
        let status = &object["status"];
        let is_over = matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"));
        let policy = RestartPolicy::read(&object["spec"]["restartPolicy"]);
        let policy = policy.unwrap_or(RestartPolicy::Always);
        let spec = &object["spec"];
        let init =
            object::items(&spec["initContainers"]).map(|one| Container::read(one, true, policy));
        let main =
            object::items(&spec["containers"]).map(|one| Container::read(one, false, policy));
        let mut containers: Vec<Container> = init.chain(main).collect();
        let strays = match is_over {
            true => restore::live(&found),
            false => restore::take_over(&mut containers, status, found, turn.now_ms),
        };
        let has_run =
            |one: &Container| one.role == Role::Main && (one.is_live() || one.ended.is_some());
        let started = status["startTime"].as_str().and_then(parse_rfc3339);
        let ips = object::items(&status["podIPs"]).filter_map(|one| one["ip"].as_str());
        let told = Told::read(status);
        let ending = Ending {
            why: Why::Completed,
            deadline_ms: turn.now_ms,
        };
        let pod = Pod {
            is_initialized: containers.iter().any(has_run),
            ips: ips.map(str::to_owned).collect(),
            start_ms: started.unwrap_or(turn.now_ms),
            prepare: Prepare::Due { at_ms: 0 },
            prepares: Backoff::new(PREPARE_DELAY_MS, PREPARE_DELAY_MS_MAX),
            ending: is_over.then_some(ending),
            is_over,
            is_settled: is_over,
            has_network: told.has_network(),
            told,
            deletes: Backoff::new(DELETE_DELAY_MS, DELETE_DELAY_MS_MAX),
            delete_at_ms: 0,
            wake_ms: None,
            id,
            object,
            containers,
        };
        (pod, strays)
    }

    pub(super) fn wake_ms(&self) -> Option<u64> {
        self.wake_ms
    }

    /// The attempts that live.
    pub(super) fn live(&self) -> impl Iterator<Item = AttemptId> {
        let live = self.containers.iter().filter(|one| one.is_live());
        live.map(|one| one.attempt(&self.id))
    }

    pub(super) fn has_live(&self) -> bool {
        self.containers.iter().any(Container::is_live)
    }

    /// Takes note of what has happened to it.
    pub(super) fn take(&mut self, turn: &mut Turn<'_>, input: Input) {
        match input {
            Input::Prepared { ips, .. } => self.prepared(ips, turn.node),
            Input::PrepareFailed {
                reason, message, ..
            } => {
                self.prepare_failed(turn, &reason, message);
            }
            Input::Started {
                id,
                at_ms,
                image_id,
            } => {
                self.with(&id, |one, site| one.started(turn, site, at_ms, image_id));
            }
            Input::StartFailed {
                id,
                failure,
                message,
            } => {
                self.with(&id, |one, site| {
                    one.start_failed(turn, site, failure, message)
                });
            }
            Input::Exited { id, exit } => self.with(&id, |one, _| one.exited(turn, exit)),
            Input::Probed {
                id,
                kind,
                serial,
                outcome,
            } => {
                self.with(&id, |one, site| {
                    one.probed(turn, site, (kind, serial), outcome)
                });
            }
            Input::HookDone { id, hook, outcome } => {
                self.with(&id, |one, site| one.hook_done(turn, site, hook, outcome));
            }
            _ => {}
        }
    }

    /// Does something to the container whose latest attempt this is; what is about an earlier one
    /// comes too late.
    fn with(&mut self, id: &AttemptId, act: impl FnOnce(&mut Container, &Site<'_>)) {
        let (site, containers) = self.split();
        let is_it = |one: &&mut Container| one.name == id.container && one.number == id.number;
        if let Some(one) = containers.iter_mut().find(is_it) {
            act(one, &site);
        }
    }

    pub(super) fn split(&mut self) -> (Site<'_>, &mut [Container]) {
        let site = Site {
            id: &self.id,
            object: &self.object,
            ips: &self.ips,
            grace_ms: grace_ms(&self.object),
            is_ending: self.ending.is_some(),
        };
        (site, &mut self.containers)
    }

    fn prepared(&mut self, ips: Vec<String>, node: &Node) {
        if self.prepare == Prepare::UnderWay && !self.is_over {
            self.prepare = Prepare::Done;
            self.has_network = true;
            self.ips = if ips.is_empty() {
                node.ips.clone()
            } else {
                ips
            };
        }
    }

    fn prepare_failed(&mut self, turn: &mut Turn<'_>, reason: &str, message: String) {
        if self.prepare == Prepare::UnderWay && !self.is_over {
            let at_ms = turn.now_ms.saturating_add(self.prepares.next_ms());
            self.prepare = Prepare::Due { at_ms };
            self.has_network = false;
            turn.event(&self.id, "", true, reason, message);
        }
    }

    /// Does what is to be done now.
    pub(super) fn sync(&mut self, turn: &mut Turn<'_>, mode: Mode) {
        turn.take_wake();
        match mode {
            Mode::Fenced => self.fence(turn),
            Mode::Waiting => {}
            Mode::Active { is_held } => self.advance(turn, is_held),
        }
        self.wake_ms = turn.take_wake();
    }

    fn fence(&mut self, turn: &mut Turn<'_>) {
        // Nobody knows what of it was written.
        self.told.status = None;
        self.kill_all(turn);
        for one in self.containers.iter_mut().filter(|one| one.is_live()) {
            one.is_fenced = true;
        }
    }

    pub(super) fn kill_all(&mut self, turn: &mut Turn<'_>) {
        let (site, containers) = self.split();
        for one in containers {
            one.kill(turn, &site);
        }
    }

    fn advance(&mut self, turn: &mut Turn<'_>, is_held: bool) {
        if !self.is_over {
            self.begin_ending(turn);
            match self.ending {
                Some(ending) => self.drive_ending(turn, ending),
                None if is_held => {}
                None => self.drive_run(turn),
            }
            let (site, containers) = self.split();
            for one in containers {
                one.drive_probes(turn, &site);
                one.drive_stop(turn, &site);
            }
            self.is_over = self.ending.is_some() && !self.has_live() && !is_held;
        }
        if !self.is_settled {
            self.write_status(turn);
        }
        if self.is_over && !is_held {
            self.drive_deletion(turn);
        }
    }

    fn write_status(&mut self, turn: &mut Turn<'_>) {
        let status = status::compute(self, turn);
        if self.told.status.as_ref() != Some(&status) {
            self.told.status = Some(status.clone());
            turn.emit(Effect::WriteStatus {
                pod: self.id.clone(),
                status,
            });
        }
    }

    /// Prepares, then starts what may run now.
    fn drive_run(&mut self, turn: &mut Turn<'_>) {
        match self.prepare {
            Prepare::Due { at_ms } if turn.now_ms < at_ms => return turn.wait_until(at_ms),
            Prepare::Due { .. } => {
                self.prepare = Prepare::UnderWay;
                let (uid, pod) = (self.id.uid.clone(), Arc::clone(&self.object));
                return turn.emit(Effect::Prepare { uid, pod });
            }
            Prepare::UnderWay => return,
            Prepare::Done => {}
        }
        if !self.is_initialized && !self.drive_init(turn) {
            return;
        }
        self.is_initialized = true;
        let (site, containers) = self.split();
        for one in containers.iter_mut().filter(|one| one.role != Role::Init) {
            one.ensure_started(turn, &site);
        }
    }

    /// Runs the init containers one by one; tells whether they are through.
    fn drive_init(&mut self, turn: &mut Turn<'_>) -> bool {
        let (site, containers) = self.split();
        for one in containers.iter_mut().filter(|one| one.role != Role::Main) {
            one.ensure_started(turn, &site);
            let is_through = match one.role {
                Role::Sidecar => one.is_started(),
                Role::Init | Role::Main => one.has_succeeded(),
            };
            if !is_through {
                return false;
            }
        }
        true
    }
}

/// A field's seconds in milliseconds.
pub(super) fn seconds_ms(seconds: &Value, or_s: u64) -> u64 {
    let seconds = match seconds.as_i64() {
        Some(seconds) => u64::try_from(seconds).unwrap_or(0),
        None => or_s,
    };
    seconds.min(SECONDS_MAX) * 1000
}
