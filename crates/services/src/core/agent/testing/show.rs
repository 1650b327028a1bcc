//! How stories write effects.

use serde_json::Value;

use crate::core::agent::{Action, AttemptId, Effect, Hook};

fn show_id(id: &AttemptId) -> String {
    format!("{}/{}#{}", id.uid, id.container, id.number)
}

fn show_action(action: &Action) -> String {
    match action {
        Action::Exec { argv } => format!("exec {}", argv.join(" ")),
        Action::Http { port, path, .. } => format!("http :{port}{path}"),
        Action::Tcp { port, .. } => format!("tcp :{port}"),
        Action::Grpc { port, .. } => format!("grpc :{port}"),
        Action::Sleep { seconds } => format!("sleep {seconds}s"),
    }
}

/// An effect in a line.
pub(super) fn show(effect: &Effect) -> String {
    match effect {
        Effect::Prepare { uid, .. } => format!("prepare {uid}"),
        Effect::Start { id, .. } => format!("start {}", show_id(id)),
        Effect::RunHook {
            id,
            hook,
            action,
            timeout_ms,
        } => {
            let hook = if *hook == Hook::PostStart {
                "postStart"
            } else {
                "preStop"
            };
            let limit = timeout_ms.map_or(String::new(), |ms| format!(" within {ms}ms"));
            format!(
                "hook {} {hook}: {}{limit}",
                show_id(id),
                show_action(action)
            )
        }
        Effect::Probe {
            id,
            kind,
            serial,
            action,
            timeout_ms,
        } => {
            let (id, action) = (show_id(id), show_action(action));
            format!("probe {id} {kind} {serial}: {action} within {timeout_ms}ms")
        }
        Effect::Stop { id, signal } => format!("stop {} {signal}", show_id(id))
            .trim_end()
            .to_owned(),
        Effect::Kill { id } => format!("kill {}", show_id(id)),
        Effect::WriteStatus { pod, status } => {
            format!("status {} {}", pod.uid, show_status(status))
        }
        Effect::Delete { pod } => format!("delete {}", pod.uid),
        Effect::Event(event) => {
            let kind = if event.is_warning {
                "Warning"
            } else {
                "Normal"
            };
            format!(
                "event {} {kind} {}: {}",
                event.pod.uid, event.reason, event.message
            )
        }
        Effect::Cleanup { uid } => format!("cleanup {uid}"),
    }
}

/// `Running [ready] app=running/2`: the phase, the conditions that are true, each container with
/// its state and its restarts, if any.
fn show_status(status: &Value) -> String {
    let list = |field: &str| status[field].as_array().into_iter().flatten();
    let short = |kind: &str| match kind {
        "PodReadyToStartContainers" => "network",
        "Initialized" => "initialized",
        "ContainersReady" => "containers",
        "DisruptionTarget" => "disrupted",
        _ => "ready",
    };
    let is_true = list("conditions").filter(|one| one["status"] == "True");
    let is_true: Vec<&str> = is_true
        .map(|one| short(one["type"].as_str().unwrap()))
        .collect();
    let all = list("initContainerStatuses").chain(list("containerStatuses"));
    let all = all.map(|one| {
        let (state, of) = one["state"].as_object().unwrap().iter().next().unwrap();
        let state = match state.as_str() {
            "waiting" => of["reason"].as_str().unwrap().to_owned(),
            "terminated" => format!("{}({})", of["reason"].as_str().unwrap(), of["exitCode"]),
            other => other.to_owned(),
        };
        let marks = [("started", "+"), ("ready", "!")];
        let marks = marks.iter().filter(|(field, _)| one[*field] == true);
        let marks: String = marks.map(|(_, mark)| *mark).collect();
        let restarts = match one["restartCount"].as_u64() {
            Some(0) | None => String::new(),
            Some(count) => format!(" x{count}"),
        };
        format!("{}={state}{marks}{restarts}", one["name"].as_str().unwrap())
    });
    let all: Vec<String> = all.collect();
    let reason = status["reason"]
        .as_str()
        .map_or(String::new(), |reason| format!(" {reason}"));
    let phase = status["phase"].as_str().unwrap();
    format!("{phase}{reason} [{}] {}", is_true.join(" "), all.join(", "))
}
