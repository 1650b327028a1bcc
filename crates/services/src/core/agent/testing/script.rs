//! A tiny language for stories. A line at the margin is what happens, the indented lines below it
//! are the effects, all of them, in order, with their time.
//!
//! `pod NAME WORD…` is a pod that is bound to the node: `init=`, `sidecar=`, `main=` add a
//! container (its image is `host`), `policy=`, `grace=`, `deadline=`, `gate=` set the spec's
//! fields, `CONTAINER.FIELD=JSON` a container's. Its uid is its name. `wait TIME` lets time pass,
//! from wakeup to wakeup. `NAME/CONTAINER#N` is an attempt. `show NAME POINTER -> JSON` reads the
//! status that was written last. `restart FOUND…` is a new agent on the same node, which finds
//! `ATTEMPT` alive or `ATTEMPT=CODE` ended. The usual events of a start are only shown after
//! `show-starts`.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::show::show;
use crate::core::{
    agent::{
        AttemptId, Effect, Exit, Found, Hook, Input, Node, Pods, ProbeKind, StartFailure,
        merged_status,
    },
    image::ImageReason,
    object,
};

/// 2026-01-01T00:00:00Z.
const EPOCH_MS: u64 = 1_767_225_600_000;

pub(super) struct Script {
    pods: Pods,
    now_ms: u64,
    /// The API's pods by uid.
    objects: BTreeMap<String, Value>,
    written: BTreeMap<String, Value>,
    said: Vec<String>,
    shows_starts: bool,
}

/// Runs a story; panics with the whole of what was said at the first line that differs.
pub(super) fn run(name: &str, text: &str) {
    let mut script = Script::new();
    let (mut got, mut want) = (Vec::new(), Vec::new());
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        want.push(line.trim_end().to_owned());
        if line.starts_with(' ') {
            continue;
        }
        got.push(line.trim_end().to_owned());
        if !line.starts_with('#') {
            let step = line.split_once(" -> ").map_or(line, |(step, _)| step);
            if let Some(answer) = script.step(step.trim()) {
                got.pop();
                got.push(format!("{step} -> {answer}"));
            }
            got.append(&mut script.said);
        }
    }
    if got != want {
        let at = got
            .iter()
            .zip(&want)
            .take_while(|(got, want)| got == want)
            .count();
        let want = want.get(at);
        panic!(
            "{name}: differs from {want:?} on:\n{}\n----\n{}",
            got[..at].join("\n"),
            got[at..].join("\n")
        );
    }
}

fn node() -> Node {
    Node {
        name: "n1".to_owned(),
        ips: vec!["10.0.0.1".to_owned()],
        ..Node::default()
    }
}

fn time_ms(word: &str) -> u64 {
    let ms = |number: &str, unit| number.parse::<u64>().unwrap() * unit;
    match word.strip_suffix("ms") {
        Some(number) => ms(number, 1),
        None => ms(word.strip_suffix('s').expect("10s or 10ms"), 1000),
    }
}

fn attempt(word: &str) -> AttemptId {
    let (uid, rest) = word.split_once('/').unwrap();
    let (container, number) = rest.split_once('#').unwrap();
    AttemptId {
        uid: uid.to_owned(),
        container: container.to_owned(),
        number: number.parse().unwrap(),
    }
}

/// A pod of the API, as a line tells it.
pub(super) fn pod(name: &str, words: &[&str]) -> Value {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "ns", "uid": name, "generation": 1},
        "spec": {"containers": [], "initContainers": []},
        "status": {"phase": "Pending"},
    });
    for word in words {
        let (key, value) = word.split_once('=').unwrap();
        let spec = &mut pod["spec"];
        let number = || json!(value.parse::<u64>().unwrap());
        let mut add = |list: &str, container: Value| {
            spec[list].as_array_mut().unwrap().push(container);
        };
        match key {
            "main" => add("containers", json!({"name": value, "image": "host"})),
            "init" => add("initContainers", json!({"name": value, "image": "host"})),
            "sidecar" => add(
                "initContainers",
                json!({"name": value, "restartPolicy": "Always"}),
            ),
            "policy" => spec["restartPolicy"] = json!(value),
            "grace" => spec["terminationGracePeriodSeconds"] = number(),
            "deadline" => spec["activeDeadlineSeconds"] = number(),
            "gate" => spec["readinessGates"] = json!([{"conditionType": value}]),
            field => {
                let (container, field) = field.split_once('.').unwrap();
                let value: Value = serde_json::from_str(value).unwrap();
                for list in ["initContainers", "containers"] {
                    for one in spec[list].as_array_mut().unwrap() {
                        if one["name"] == container {
                            one[field] = value.clone();
                        }
                    }
                }
            }
        }
    }
    pod
}

impl Script {
    fn new() -> Script {
        let mut script = Script {
            pods: Pods::new(node(), Vec::new()),
            now_ms: EPOCH_MS,
            objects: BTreeMap::new(),
            written: BTreeMap::new(),
            said: Vec::new(),
            shows_starts: false,
        };
        script.handle(Input::Snapshot(Vec::new()));
        script
    }

    fn handle(&mut self, input: Input) {
        for effect in self.pods.handle(self.now_ms, input) {
            if let Effect::WriteStatus { pod, status } = &effect {
                if let Some(object) = self.objects.get_mut(&pod.uid) {
                    object["status"] = merged_status(object, status);
                }
                self.written.insert(pod.uid.clone(), status.clone());
            }
            if let Effect::Event(event) = &effect
                && !self.shows_starts
                && ["Pulled", "Created", "Started"].contains(&event.reason.as_str())
            {
                continue;
            }
            let at = self.now_ms - EPOCH_MS;
            let unit = if at.is_multiple_of(1000) {
                format!("{}s", at / 1000)
            } else {
                format!("{at}ms")
            };
            self.said.push(format!("  {unit} {}", show(&effect)));
        }
        let again = self.pods.handle(self.now_ms, Input::Tick);
        assert!(
            again.is_empty(),
            "looking twice does nothing twice: {again:?}"
        );
    }

    fn step(&mut self, step: &str) -> Option<String> {
        let words: Vec<&str> = step.split(' ').collect();
        let (verb, args) = words.split_first().unwrap();
        match (*verb, args) {
            ("wait", [time]) => self.wait(time_ms(time)),
            ("show", [name, pointer]) => {
                let found = self.written[*name].pointer(pointer);
                return Some(found.map_or("nothing".to_owned(), Value::to_string));
            }
            ("show-starts", []) => self.shows_starts = true,
            ("restart", found) => self.restart(found),
            _ => {
                let input = self.input(verb, args);
                self.handle(input);
            }
        }
        None
    }

    fn wait(&mut self, time_ms: u64) {
        let until_ms = self.now_ms + time_ms;
        while let Some(at_ms) = self
            .pods
            .next_wakeup_ms()
            .filter(|&at_ms| at_ms <= until_ms)
        {
            assert!(at_ms > self.now_ms, "a wakeup is never now");
            self.now_ms = at_ms;
            self.handle(Input::Tick);
        }
        self.now_ms = until_ms;
        self.handle(Input::Tick);
    }

    fn restart(&mut self, found: &[&str]) {
        let found = found.iter().map(|word| match word.split_once('=') {
            None => Found {
                id: attempt(word),
                state: Ok(self.now_ms),
            },
            Some((word, code)) => Found {
                id: attempt(word),
                state: Err(self.exit(&[&format!("code={code}")])),
            },
        });
        self.pods = Pods::new(node(), found.collect());
        let early = self.pods.handle(self.now_ms, Input::Tick);
        assert!(early.is_empty(), "nothing is done before a snapshot");
        self.handle(self.snapshot());
    }

    fn snapshot(&self) -> Input {
        Input::Snapshot(self.objects.values().cloned().map(Arc::new).collect())
    }

    fn exit(&self, args: &[&str]) -> Exit {
        let find = |name: &str| {
            args.iter()
                .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        Exit {
            code: find("code").map_or(0, |code| code.parse().unwrap()),
            signal: find("signal").map(|signal| signal.parse().unwrap()),
            is_oom: args.contains(&"oom"),
            is_fenced: args.contains(&"fenced"),
            message: find("message").unwrap_or_default().to_owned(),
            started_ms: self.now_ms - find("ran").map_or(0, time_ms),
            finished_ms: self.now_ms,
        }
    }

    fn changed(&self, name: &str) -> Input {
        Input::Changed(Arc::new(self.objects[name].clone()))
    }

    fn input(&mut self, verb: &str, args: &[&str]) -> Input {
        let outcome = |rest: &[&str]| match rest {
            ["ok"] => Ok(()),
            words => Err(words.join(" ")),
        };
        match (verb, args) {
            ("pod", [name, words @ ..]) => {
                self.objects.insert((*name).to_owned(), pod(name, words));
                self.changed(name)
            }
            ("set", [name, pointer, value]) => {
                let object = self.objects.get_mut(*name).unwrap();
                let value: Value = serde_json::from_str(value).unwrap();
                let (parent, field) = pointer.rsplit_once('/').unwrap();
                let parent = object.pointer_mut(parent).unwrap();
                match parent {
                    Value::Array(list) => list.push(value),
                    parent => parent[field] = value,
                }
                self.changed(name)
            }
            ("delete", [name, grace]) => {
                let object = self.objects.get_mut(*name).unwrap();
                let meta = object::meta_mut(object);
                meta.insert(
                    "deletionTimestamp".to_owned(),
                    json!("2026-01-01T00:00:00Z"),
                );
                let grace = time_ms(grace) / 1000;
                meta.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
                self.changed(name)
            }
            ("remove", [name]) => {
                self.objects.remove(*name);
                Input::Removed {
                    uid: (*name).to_owned(),
                }
            }
            ("prepared", [name]) => Input::Prepared {
                uid: (*name).to_owned(),
                ips: vec!["10.9.0.1".to_owned()],
            },
            ("prepare-failed", [name, reason, message @ ..]) => Input::PrepareFailed {
                uid: (*name).to_owned(),
                reason: (*reason).to_owned(),
                message: message.join(" "),
            },
            ("started", [id, image @ ..]) => Input::Started {
                id: attempt(id),
                at_ms: self.now_ms,
                image_id: image.first().map(|&image| image.to_owned()),
            },
            ("start-failed", [id, failure, message @ ..]) => Input::StartFailed {
                id: attempt(id),
                failure: match *failure {
                    "image" => StartFailure::Image(ImageReason::ErrImagePull),
                    "name" => StartFailure::Image(ImageReason::InvalidImageName),
                    "config" => StartFailure::Config,
                    "create" => StartFailure::Create,
                    _ => StartFailure::Start,
                },
                message: message.join(" "),
            },
            ("exited", [id, words @ ..]) => Input::Exited {
                id: attempt(id),
                exit: self.exit(words),
            },
            ("probed", [id, kind, serial, rest @ ..]) => Input::Probed {
                id: attempt(id),
                kind: match *kind {
                    "startup" => ProbeKind::Startup,
                    "liveness" => ProbeKind::Liveness,
                    _ => ProbeKind::Readiness,
                },
                serial: serial.parse().unwrap(),
                outcome: outcome(rest),
            },
            ("hook", [id, hook, rest @ ..]) => Input::HookDone {
                id: attempt(id),
                hook: if *hook == "postStart" {
                    Hook::PostStart
                } else {
                    Hook::PreStop
                },
                outcome: outcome(rest),
            },
            ("fence", []) => Input::Fence,
            ("unfence", []) => Input::Unfence,
            ("snapshot", []) => self.snapshot(),
            _ => panic!("{verb} is no step"),
        }
    }
}
