//! What the agent tells of a pod: phase, conditions, one status for each container, addresses
//! (Kubernetes' "Pod Lifecycle"; reasons and messages are the kubelet's, which people and
//! programs know). A pod's phase is `Succeeded` or `Failed` only when nothing of it runs.

use serde_json::{Map, Value, json};

use super::{
    backoff::told,
    conditions::{self, find},
    container::{Container, End, Life, Refusal, Role},
    ending::Why,
    messages::{PodId, StartFailure},
    pod::Pod,
    qos,
    turn::Turn,
};
use crate::core::{image::ImageReason, object, time::format_rfc3339};

/// The reason of a pod that ran for too long, and what is said about it.
pub(super) const DEADLINE_REASON: &str = "DeadlineExceeded";
pub(super) const DEADLINE_MESSAGE: &str =
    "Pod was active on the node longer than the specified deadline";

/// After that, a failure to have an image reads as a wait for the next try.
const IMAGE_ERROR_MS: u64 = 1_000;

/// A pod's whole status: the agent's part, and what others have written into the object's.
pub fn merged(object: &Value, own: &Value) -> Value {
    let mut status = object["status"].as_object().cloned().unwrap_or_default();
    for field in ["reason", "message"] {
        status.remove(field);
    }
    let is_others = |one: &&Value| {
        let kind = one["type"].as_str().unwrap_or_default();
        find(own, kind).is_none()
    };
    let others = object::items(&object["status"]["conditions"]).filter(is_others);
    let conditions: Value = object::items(&own["conditions"])
        .chain(others)
        .cloned()
        .collect();
    status.extend(own.as_object().cloned().unwrap_or_default());
    status.insert("conditions".to_owned(), conditions);
    Value::Object(status)
}

/// The agent's part of a pod's status, as it is now.
pub(super) fn compute(pod: &mut Pod, turn: &mut Turn<'_>) -> Value {
    let phase = phase(pod, turn.now_ms);
    let mut status = Map::new();
    let mut set = |field: &str, value: Value| status.insert(field.to_owned(), value);
    set("phase", json!(phase));
    if phase == "Failed" && pod.ending.is_some_and(|ending| ending.why == Why::Deadline) {
        set("reason", json!(DEADLINE_REASON));
        set("message", json!(DEADLINE_MESSAGE));
    }
    let generation = pod.object["metadata"]["generation"].clone();
    if !generation.is_null() {
        set("observedGeneration", generation);
    }
    let list = |ips: &[String]| -> Value { ips.iter().map(|ip| json!({"ip": ip})).collect() };
    if let Some(ip) = turn.node.ips.first() {
        set("hostIP", json!(ip));
        set("hostIPs", list(&turn.node.ips));
    }
    if let Some(ip) = pod.ips.first() {
        set("podIP", json!(ip));
        set("podIPs", list(&pod.ips));
    }
    set("startTime", json!(format_rfc3339(pod.start_ms)));
    set("qosClass", qos::class(&pod.object));
    let has_init = pod.containers.iter().any(|one| one.role != Role::Main);
    let of = |is_init: bool, turn: &mut Turn<'_>| -> Value {
        let containers = pod.containers.iter();
        let containers = containers.filter(|one| (one.role != Role::Main) == is_init);
        containers
            .map(|one| container(one, pod, has_init, turn))
            .collect()
    };
    if has_init {
        set("initContainerStatuses", of(true, turn));
    }
    set("containerStatuses", of(false, turn));
    set("conditions", conditions::compute(pod, phase, turn.now_ms));
    Value::Object(status)
}

fn phase(pod: &Pod, now_ms: u64) -> &'static str {
    let mut main = pod.containers.iter().filter(|one| one.role == Role::Main);
    if pod.is_over {
        let is_deadline = pod.ending.is_some_and(|ending| ending.why == Why::Deadline);
        let has_succeeded = !is_deadline && main.all(Container::has_succeeded);
        return if has_succeeded { "Succeeded" } else { "Failed" };
    }
    let is_new = |one: &Container| {
        one.ended.is_none() && !matches!(shown(one, pod, now_ms), Shown::Running { .. })
    };
    if main.any(is_new) {
        "Pending"
    } else {
        "Running"
    }
}

/// What is shown of a container.
enum Shown<'a> {
    /// In its place; none: for its turn.
    Waiting(Option<(&'static str, String)>),
    Running {
        since_ms: u64,
    },
    Ended(&'a End),
}

fn shown<'a>(one: &'a Container, pod: &Pod, now_ms: u64) -> Shown<'a> {
    if let Life::Running {
        since_ms,
        is_hooked,
    } = one.life
    {
        return match is_hooked {
            true => Shown::Waiting(None),
            false => Shown::Running { since_ms },
        };
    }
    if let Some(refusal) = &one.refusal {
        let is_fresh = now_ms < refusal.at_ms.saturating_add(IMAGE_ERROR_MS);
        let message = refusal.message.clone();
        return Shown::Waiting(Some(match refusal.failure {
            StartFailure::Image(ImageReason::ErrImagePull) if !is_fresh => {
                let told = format!("Back-off pulling image {:?}", one.image);
                ("ImagePullBackOff", told)
            }
            StartFailure::Image(reason) => (reason.name(), message),
            StartFailure::Config => ("CreateContainerConfigError", message),
            StartFailure::Create => ("CreateContainerError", message),
            StartFailure::Start => ("RunContainerError", message),
        }));
    }
    match &one.ended {
        None => Shown::Waiting(None),
        Some(end) if one.delay_ms == 0 || pod.ending.is_some() => Shown::Ended(end),
        Some(_) => Shown::Waiting(Some(("CrashLoopBackOff", crash_loop(one, &pod.id)))),
    }
}

fn crash_loop(one: &Container, pod: &PodId) -> String {
    let (delay, name) = (told(one.delay_ms), &one.name);
    format!("back-off {delay} restarting failed container={name} pod={pod}")
}

fn container(one: &Container, pod: &Pod, has_init: bool, turn: &mut Turn<'_>) -> Value {
    let shown = shown(one, pod, turn.now_ms);
    if let Some(Refusal {
        failure: StartFailure::Image(_),
        at_ms,
        ..
    }) = one.refusal
        && turn.now_ms < at_ms.saturating_add(IMAGE_ERROR_MS)
    {
        turn.wait_until(at_ms.saturating_add(IMAGE_ERROR_MS));
    }
    let last = match shown {
        Shown::Ended(_) => one.ended_before.as_ref(),
        Shown::Waiting(_) | Shown::Running { .. } => one.ended.as_ref(),
    };
    let has_run = matches!(one.life, Life::Running { .. }) || one.ended.is_some();
    let mut status = json!({
        "name": one.name,
        "image": one.image,
        "imageID": match has_run {
            true => one.image_id.as_deref().unwrap_or(&one.image),
            false => "",
        },
        "restartCount": one.restart_count,
        "ready": one.is_ready(),
        "started": one.is_started(),
        "state": state(&shown, has_init, one, pod),
        "lastState": last.map_or_else(|| json!({}), |end| terminated(end, one, pod)),
    });
    if has_run {
        status["containerID"] = json!(container_id(pod, one, one.restart_count));
    }
    status
}

fn container_id(pod: &Pod, one: &Container, number: u32) -> String {
    let mut attempt = one.attempt(&pod.id);
    attempt.number = number;
    format!("atoll://{attempt}")
}

fn state(shown: &Shown<'_>, has_init: bool, one: &Container, pod: &Pod) -> Value {
    match shown {
        Shown::Waiting(Some((reason, message))) => {
            json!({"waiting": {"reason": reason, "message": message}})
        }
        Shown::Waiting(None) => {
            let reason = if has_init {
                "PodInitializing"
            } else {
                "ContainerCreating"
            };
            json!({"waiting": {"reason": reason}})
        }
        Shown::Running { since_ms } => {
            json!({"running": {"startedAt": format_rfc3339(*since_ms)}})
        }
        Shown::Ended(end) => terminated(end, one, pod),
    }
}

fn terminated(end: &End, one: &Container, pod: &Pod) -> Value {
    let mut terminated = json!({
        "exitCode": end.code,
        "reason": end.reason,
        "startedAt": format_rfc3339(end.started_ms),
        "finishedAt": format_rfc3339(end.finished_ms),
        "containerID": container_id(pod, one, end.number),
    });
    if !end.message.is_empty() {
        terminated["message"] = json!(end.message);
    }
    json!({ "terminated": terminated })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_have_written_stays() {
        let object = json!({"status": {
            "phase": "Pending", "reason": "NodeLost", "nominatedNodeName": "n2",
            "conditions": [
                {"type": "Ready", "status": "False"},
                {"type": "PodScheduled", "status": "True"},
            ],
        }});
        let own = json!({
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
        });
        let want = json!({
            "phase": "Running", "nominatedNodeName": "n2",
            "conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "PodScheduled", "status": "True"},
            ],
        });
        assert_eq!(merged(&object, &own), want);
        assert_eq!(merged(&json!({}), &own), own);
    }
}
