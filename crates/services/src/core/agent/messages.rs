//! What goes into the agent's core and what comes out of it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde_json::Value;

use super::action::Action;
use crate::core::{image::ImageReason, quantity::Quantity};

/// Longest text of a driver that is kept (as Kubernetes' termination messages).
pub const MESSAGE_BYTES_MAX: usize = 4096;

/// The machine that the pods run on.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its addresses, the main one first.
    pub ips: Vec<String>,
    /// What pods can have of it, as `cpu`, `memory`, `ephemeral-storage`.
    pub allocatable: BTreeMap<String, Quantity>,
}

/// What names a pod; reads as Kubernetes' messages have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodId {
    /// Its uid.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for PodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}({})", self.name, self.namespace, self.uid)
    }
}

/// One run of a container. Reads `uid/container/number`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttemptId {
    /// The pod's uid.
    pub uid: String,
    /// The container's name.
    pub container: String,
    /// From 0; the container's restart count.
    pub number: u32,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.uid, self.container, self.number)
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// What the process returned.
    pub code: i32,
    /// The signal that ended it; its exit code is then 128 and the signal.
    pub signal: Option<u8>,
    /// Whether it was ended for want of memory.
    pub is_oom: bool,
    /// Whether it was ended since the node's lease had ended.
    pub is_fenced: bool,
    /// What it left behind as its termination message.
    pub message: String,
    /// When it had started.
    pub started_ms: u64,
    /// When it ended.
    pub finished_ms: u64,
}

/// Why an attempt did not come to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFailure {
    /// The driver can't have the image: why.
    Image(ImageReason),
    /// Its environment or command can't be told, as [`super::environment::run`] says.
    Config,
    /// The driver could not make what it runs in; it is tried again.
    Create,
    /// Its program could not be run: counts as a run that failed, with exit code 128.
    Start,
}

/// What a runtime has of an attempt when an agent starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which attempt.
    pub id: AttemptId,
    /// How it ended; none if it is alive, since then.
    pub state: Result<u64, Exit>,
}

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Whether it has come up.
    Startup,
    /// Whether it has to be restarted.
    Liveness,
    /// Whether it can serve.
    Readiness,
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProbeKind::Startup => "startup",
            ProbeKind::Liveness => "liveness",
            ProbeKind::Readiness => "readiness",
        })
    }
}

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Right after the start.
    PostStart,
    /// Before the stop.
    PreStop,
}

/// What has happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// All the pods that are bound to this node. Nothing is started before the first one, nor
    /// before the first one after [`Input::Unfence`].
    Snapshot(Vec<Arc<Value>>),
    /// A pod that is bound to this node is new or has changed.
    Changed(Arc<Value>),
    /// A pod is gone from the API.
    Removed {
        /// Which.
        uid: String,
    },
    /// Its volumes are there, and its network.
    Prepared {
        /// Which pod.
        uid: String,
        /// Its addresses; none: the node's.
        ips: Vec<String>,
    },
    /// They could not be made.
    PrepareFailed {
        /// Which pod.
        uid: String,
        /// As `FailedMount`.
        reason: String,
        /// In words.
        message: String,
    },
    /// An attempt runs.
    Started {
        /// Which.
        id: AttemptId,
        /// Since when.
        at_ms: u64,
        /// Its image at its digest; none if it has none.
        image_id: Option<String>,
    },
    /// An attempt did not come to be.
    StartFailed {
        /// Which.
        id: AttemptId,
        /// Why.
        failure: StartFailure,
        /// In words.
        message: String,
    },
    /// An attempt has ended, all its processes with it.
    Exited {
        /// Which.
        id: AttemptId,
        /// How.
        exit: Exit,
    },
    /// A probe has an answer.
    Probed {
        /// Of which attempt.
        id: AttemptId,
        /// Which probe.
        kind: ProbeKind,
        /// As in [`Effect::Probe`].
        serial: u64,
        /// What was wrong, if something was.
        outcome: Result<(), String>,
    },
    /// A hook has ended.
    HookDone {
        /// Of which attempt.
        id: AttemptId,
        /// Which hook.
        hook: Hook,
        /// What was wrong, if something was.
        outcome: Result<(), String>,
    },
    /// The node's lease has ended: others may run its pods from now on.
    Fence,
    /// The node has a lease again; a [`Input::Snapshot`] has to follow.
    Unfence,
    /// Time has passed.
    Tick,
}

/// What is to be done. Effects about one pod are carried out in their order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Make its volumes and its network, if they are not there yet; answer
    /// [`Input::Prepared`] or [`Input::PrepareFailed`].
    Prepare {
        /// Which pod.
        uid: String,
        /// The pod.
        pod: Arc<Value>,
    },
    /// Run a container, as [`super::environment::run`] tells; answer [`Input::Started`] or
    /// [`Input::StartFailed`], and one day [`Input::Exited`].
    Start {
        /// Which attempt.
        id: AttemptId,
        /// The pod.
        pod: Arc<Value>,
        /// Its addresses.
        ips: Vec<String>,
    },
    /// Run a hook; answer [`Input::HookDone`].
    RunHook {
        /// Of which attempt.
        id: AttemptId,
        /// Which hook.
        hook: Hook,
        /// What it does.
        action: Action,
        /// It is given up after that.
        timeout_ms: Option<u64>,
    },
    /// Run a probe; answer [`Input::Probed`].
    Probe {
        /// Of which attempt.
        id: AttemptId,
        /// Which probe.
        kind: ProbeKind,
        /// Tells this run from earlier ones.
        serial: u64,
        /// What it does.
        action: Action,
        /// It has failed after that, and is to be given up.
        timeout_ms: u64,
    },
    /// Ask an attempt to end.
    Stop {
        /// Which.
        id: AttemptId,
        /// As `SIGTERM`; empty: what its image says.
        signal: String,
    },
    /// End an attempt with all its processes. If it is about to start, it must not, or must be
    /// ended at once; its answer is [`Input::StartFailed`] or [`Input::Exited`]. Comes again
    /// until then.
    Kill {
        /// Which.
        id: AttemptId,
    },
    /// Write what is known into the pod's status, by [`super::merged_status`], until it is
    /// written or a later status has come.
    WriteStatus {
        /// Which pod.
        pod: PodId,
        /// The agent's part of the status.
        status: Value,
    },
    /// Delete the pod from the API, if it has this uid, with a grace period of 0. Comes again
    /// until the pod is gone.
    Delete {
        /// Which pod.
        pod: PodId,
    },
    /// Tell people.
    Event(PodEvent),
    /// Nothing of that pod runs and the API has it no more: its volumes, logs and records can go.
    Cleanup {
        /// Which pod.
        uid: String,
    },
}

/// A `v1` Event about a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEvent {
    /// Which pod.
    pub pod: PodId,
    /// About which part, as `spec.containers{app}`; may be empty.
    pub field_path: String,
    /// Whether its type is `Warning`; `Normal` otherwise.
    pub is_warning: bool,
    /// As `BackOff`.
    pub reason: String,
    /// In words.
    pub message: String,
}

/// A text no longer than [`MESSAGE_BYTES_MAX`].
pub(super) fn bounded(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MESSAGE_BYTES_MAX));
    text
}
