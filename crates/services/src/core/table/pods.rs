//! Pods. `kubectl get pods` tells one word about many containers; which word, is decided here:
//! the pod's phase, unless an init container has not ended, unless a container waits or has
//! failed, unless the pod is being deleted.

use serde_json::{Value, json};

use super::{
    AGE, Column, NAME, Printer,
    age::{age, between, time_of},
    cells::{NONE, condition, is_condition, items, number, text, text_or},
};
use crate::core::object::{is_being_deleted, name};

pub(super) static PODS: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Ready", "How many of its containers are ready."),
        Column::text("Status", "What its containers do, taken together."),
        Column::text(
            "Restarts",
            "How often its containers were restarted, and when last.",
        ),
        AGE,
        Column::text("IP", "Its address.").wide(),
        Column::text("Node", "The node it runs on.").wide(),
        Column::text(
            "Nominated Node",
            "The node where room is being made for it.",
        )
        .wide(),
        Column::text(
            "Readiness Gates",
            "How many of its readiness gates are open.",
        )
        .wide(),
    ],
    cells,
};

/// That a row's pod has ended.
pub(super) fn row_condition(pod: &Value) -> Option<Value> {
    let message = match text(&pod["status"]["phase"]) {
        "Succeeded" => "The pod has completed successfully.",
        "Failed" => "The pod failed.",
        _ => return None,
    };
    let reason = &pod["status"]["phase"];
    Some(json!({ "type": "Completed", "status": "True", "reason": reason, "message": message }))
}

fn cells(pod: &Value, now_ms: u64) -> Vec<Value> {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let summary = summary(pod);
    let count = items(&spec["containers"]).len() + sidecars(pod).count();
    vec![
        name(pod).into(),
        format!("{}/{count}", summary.ready).into(),
        summary.reason.into(),
        summary.restarts.told(now_ms).into(),
        age(pod, now_ms),
        text_or(&status["podIPs"][0]["ip"], text_or(&status["podIP"], NONE)).into(),
        text_or(&spec["nodeName"], NONE).into(),
        text_or(&status["nominatedNodeName"], NONE).into(),
        readiness_gates(pod).into(),
    ]
}

/// Restarts of some containers.
#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last_ms: Option<u64>,
}

impl Restarts {
    fn add(&mut self, container: &Value) {
        self.count = self
            .count
            .saturating_add(number(&container["restartCount"]));
        let ended_ms = time_of(&container["lastState"]["terminated"]["finishedAt"]);
        self.last_ms = self.last_ms.max(ended_ms);
    }

    fn told(self, now_ms: u64) -> String {
        match self.last_ms {
            Some(last_ms) if self.count != 0 => {
                format!("{} ({} ago)", self.count, between(last_ms, now_ms))
            }
            _ => self.count.to_string(),
        }
    }
}

struct Summary {
    reason: String,
    ready: usize,
    restarts: Restarts,
}

fn summary(pod: &Value) -> Summary {
    let status = &pod["status"];
    let mut reason = text_or(&status["reason"], text(&status["phase"])).to_owned();
    let gated = condition(pod, "PodScheduled");
    if gated.is_some_and(|one| one["reason"] == "SchedulingGated") {
        reason = "SchedulingGated".to_owned();
    }

    let start = initialization(pod);
    let mut summary = Summary {
        reason,
        ready: start.ready,
        restarts: start.restarts,
    };
    let is_initialized = start.unfinished.is_none() || is_condition(pod, "Initialized");
    if let Some(unfinished) = start.unfinished {
        summary.reason = unfinished;
    }
    if is_initialized {
        // What init containers restarted before is past; sidecars still run.
        summary.restarts = start.sidecar_restarts;
        run(pod, &mut summary);
    }

    let is_over = matches!(text(&status["phase"]), "Succeeded" | "Failed");
    if is_being_deleted(pod) && status["reason"] == "NodeLost" {
        summary.reason = "Unknown".to_owned();
    } else if is_being_deleted(pod) && !is_over {
        summary.reason = "Terminating".to_owned();
    }
    summary
}

/// The init containers that go on beside the others.
fn sidecars(pod: &Value) -> impl Iterator<Item = &Value> {
    let init = items(&pod["spec"]["initContainers"]).iter();
    init.filter(|container| container["restartPolicy"] == "Always")
}

/// How far the init containers are.
#[derive(Default)]
struct Initialization {
    /// What the first one that has not ended does.
    unfinished: Option<String>,
    /// Sidecars that are ready.
    ready: usize,
    restarts: Restarts,
    sidecar_restarts: Restarts,
}

fn initialization(pod: &Value) -> Initialization {
    let mut start = Initialization::default();
    let count = items(&pod["spec"]["initContainers"]).len();
    for (index, container) in items(&pod["status"]["initContainerStatuses"])
        .iter()
        .enumerate()
    {
        let is_sidecar = sidecars(pod).any(|one| one["name"] == container["name"]);
        start.restarts.add(container);
        if is_sidecar {
            start.sidecar_restarts.add(container);
        }
        let (terminated, waiting) = (
            &container["state"]["terminated"],
            &container["state"]["waiting"],
        );
        if terminated.is_object() && number(&terminated["exitCode"]) == 0 {
            continue;
        }
        if is_sidecar && container["started"] == true {
            start.ready += usize::from(container["ready"] == true);
            continue;
        }
        let why = match text(&waiting["reason"]) {
            _ if terminated.is_object() => ended(terminated),
            "" | "PodInitializing" => format!("{index}/{count}"),
            reason => reason.to_owned(),
        };
        start.unfinished = Some(format!("Init:{why}"));
        break;
    }
    start
}

/// Why a container ended.
fn ended(terminated: &Value) -> String {
    match (text(&terminated["reason"]), number(&terminated["signal"])) {
        ("", 0) => format!("ExitCode:{}", number(&terminated["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

/// What the containers do; the first one with a reason to tell wins.
fn run(pod: &Value, summary: &mut Summary) {
    let (mut is_any_running, mut failure) = (false, None);
    for container in items(&pod["status"]["containerStatuses"]).iter().rev() {
        summary.restarts.add(container);
        let state = &container["state"];
        let waiting = text(&state["waiting"]["reason"]);
        if !waiting.is_empty() {
            summary.reason = waiting.to_owned();
        } else if state["terminated"].is_object() {
            summary.reason = ended(&state["terminated"]);
            if number(&state["terminated"]["exitCode"]) != 0 {
                failure = Some(summary.reason.clone());
            }
        } else if container["ready"] == true && state["running"].is_object() {
            is_any_running = true;
            summary.ready += 1;
        }
    }
    // One that has ended says nothing about a pod whose others go on.
    if summary.reason == "Completed" {
        if is_any_running && is_condition(pod, "Ready") {
            summary.reason = "Running".to_owned();
        } else if let Some(failure) = failure {
            summary.reason = failure;
        } else if is_any_running {
            summary.reason = "NotReady".to_owned();
        }
    }
}

fn readiness_gates(pod: &Value) -> String {
    let gates = items(&pod["spec"]["readinessGates"]);
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let is_open = |gate: &&Value| is_condition(pod, text(&gate["conditionType"]));
    format!("{}/{}", gates.iter().filter(is_open).count(), gates.len())
}
