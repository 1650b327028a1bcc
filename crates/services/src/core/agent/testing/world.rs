//! A runtime and an API around the agent, which check everything that it wants to have done.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Value, json};

use super::script::pod;
use crate::core::{
    agent::{
        AttemptId, Effect, Exit, Found, Input, Node, Pods, ProbeKind, StartFailure, merged_status,
    },
    object,
};

/// Pods with everything that has a course of its own.
fn shapes() -> [Value; 4] {
    let tcp = r#"{"tcpSocket":{"port":1},"periodSeconds":3,"failureThreshold":1}"#;
    let probes = ["startup", "liveness", "readiness"].map(|kind| format!("app.{kind}Probe={tcp}"));
    let hook = r#"{"exec":{"command":["h"]}}"#;
    let hooks = format!("app.lifecycle={{\"preStop\":{hook},\"postStart\":{hook}}}");
    let [startup, liveness, readiness] = probes.each_ref().map(String::as_str);
    [
        pod("a", &["main=app", "main=b", startup, liveness, readiness]),
        pod(
            "b",
            &[
                "policy=OnFailure",
                "init=i",
                "sidecar=app",
                "main=m",
                startup,
                "grace=3",
            ],
        ),
        pod(
            "c",
            &[
                "policy=Never",
                "init=i",
                "sidecar=s",
                "main=app",
                &hooks,
                "deadline=40",
            ],
        ),
        pod(
            "d",
            &[
                "sidecar=s",
                "sidecar=app",
                "main=m",
                &hooks,
                liveness,
                "grace=0",
            ],
        ),
    ]
}

/// The agent and what there is around it.
pub(super) struct World {
    pub(super) pods: Pods,
    pub(super) now_ms: u64,
    pub(super) objects: BTreeMap<String, Value>,
    /// What was removed, as it was.
    pub(super) past: BTreeMap<String, Value>,
    /// Attempts that live; those that run.
    pub(super) live: BTreeMap<AttemptId, bool>,
    pub(super) ended: Vec<AttemptId>,
    /// Attempts that the runtime has begun with in vain: it refuses them for ever.
    spent: BTreeSet<AttemptId>,
    /// Pods that were removed. Only here do they come back, and then they count anew.
    removed: BTreeSet<String>,
    pub(super) preparing: BTreeSet<String>,
    /// Runs of probes under way, and until when.
    pub(super) probing: BTreeMap<(AttemptId, ProbeKind), (u64, u64)>,
    restarts: BTreeMap<(String, String), u64>,
    pub(super) killed: BTreeSet<AttemptId>,
    pub(super) is_fenced: bool,
    pub(super) is_current: bool,
}

impl World {
    pub(super) fn new() -> World {
        World {
            pods: Pods::new(Node::default(), Vec::new()),
            now_ms: 1_000_000,
            objects: BTreeMap::new(),
            past: shapes()
                .map(|pod| (object::uid(&pod).to_owned(), pod))
                .into(),
            live: BTreeMap::new(),
            ended: Vec::new(),
            spent: BTreeSet::new(),
            removed: BTreeSet::new(),
            preparing: BTreeSet::new(),
            probing: BTreeMap::new(),
            restarts: BTreeMap::new(),
            killed: BTreeSet::new(),
            is_fenced: false,
            is_current: false,
        }
    }

    pub(super) fn handle(&mut self, input: Input) {
        let effects = self.pods.handle(self.now_ms, input);
        for effect in effects {
            self.carry_out(effect);
        }
        let again = self.pods.handle(self.now_ms, Input::Tick);
        assert!(
            again.is_empty(),
            "looking twice does nothing twice: {again:?}"
        );
        assert!(
            self.pods
                .next_wakeup_ms()
                .is_none_or(|at_ms| at_ms > self.now_ms)
        );
    }

    fn carry_out(&mut self, effect: Effect) {
        let is_of_the_end = matches!(effect, Effect::Kill { .. } | Effect::Cleanup { .. });
        assert!(
            is_of_the_end || !self.is_fenced && self.is_current,
            "{effect:?}"
        );
        match effect {
            Effect::Prepare { uid, .. } => {
                assert!(self.objects.contains_key(&uid));
                self.preparing.insert(uid);
            }
            Effect::Start { id, .. } => {
                assert!(self.objects.contains_key(&id.uid));
                let is_twin =
                    |other: &&AttemptId| (&other.uid, &other.container) == (&id.uid, &id.container);
                assert_eq!(self.live.keys().find(is_twin), None, "two at once: {id}");
                let is_spent = self.spent.contains(&id) && !self.removed.contains(&id.uid);
                assert!(!is_spent, "{id} can never start");
                self.live.insert(id, false);
            }
            Effect::RunHook { id, .. } => assert_eq!(self.live.get(&id), Some(&true)),
            Effect::Stop { id, .. } => assert_eq!(self.live.get(&id), Some(&true)),
            Effect::Probe {
                id,
                kind,
                serial,
                timeout_ms,
                ..
            } => {
                assert_eq!(self.live.get(&id), Some(&true));
                let until_ms = self.now_ms + timeout_ms;
                let before = self.probing.insert((id, kind), (serial, until_ms));
                assert!(before.is_none_or(|(_, until_ms)| until_ms <= self.now_ms));
            }
            Effect::Kill { id } => {
                assert!(self.live.contains_key(&id), "{id}");
                self.killed.insert(id);
            }
            Effect::WriteStatus { pod, status } => self.write(&pod.uid, &status),
            Effect::Delete { pod } => {
                assert!(object::is_being_deleted(&self.objects[&pod.uid]));
                assert!(!self.live.keys().any(|id| id.uid == pod.uid));
            }
            Effect::Event(event) => assert!(self.objects.contains_key(&event.pod.uid)),
            Effect::Cleanup { uid } => {
                assert!(!self.objects.contains_key(&uid));
                assert!(!self.live.keys().any(|id| id.uid == uid));
            }
        }
    }

    fn write(&mut self, uid: &str, status: &Value) {
        let is_over = matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"));
        assert!(!is_over || !self.live.keys().any(|id| id.uid == uid));
        for list in ["initContainerStatuses", "containerStatuses"] {
            for one in status[list].as_array().into_iter().flatten() {
                let name = one["name"].as_str().unwrap().to_owned();
                let count = one["restartCount"].as_u64().unwrap();
                let before = self.restarts.insert((uid.to_owned(), name), count);
                assert!(before.is_none_or(|before| before <= count));
            }
        }
        let object = self.objects.get_mut(uid).expect("it is in the API");
        let phase = object["status"]["phase"].as_str().unwrap();
        let was_over = matches!(phase, "Succeeded" | "Failed");
        assert!(
            !was_over || status["phase"] == phase,
            "what is over stays as it is"
        );
        object["status"] = merged_status(object, status);
    }

    pub(super) fn pick<T: Clone>(of: impl Iterator<Item = T>, at: usize) -> Option<T> {
        let all: Vec<T> = of.collect();
        all.get(at % all.len().max(1)).cloned()
    }

    pub(super) fn end(&mut self, id: &AttemptId, code: i32) {
        self.live.remove(id);
        self.killed.remove(id);
        self.probing.retain(|(of, _), _| of != id);
        self.ended.push(id.clone());
        let exit = Exit {
            code,
            finished_ms: self.now_ms,
            ..Exit::default()
        };
        self.handle(Input::Exited {
            id: id.clone(),
            exit,
        });
    }

    pub(super) fn start(&mut self, id: &AttemptId, failure: Option<StartFailure>) {
        let id = id.clone();
        match failure {
            None => {
                self.live.insert(id.clone(), true);
                self.handle(Input::Started {
                    id,
                    at_ms: self.now_ms,
                    image_id: None,
                });
            }
            Some(failure) => {
                self.live.remove(&id);
                if self.killed.remove(&id) || failure == StartFailure::Create {
                    self.spent.insert(id.clone());
                }
                self.handle(Input::StartFailed {
                    id,
                    failure,
                    message: String::new(),
                });
            }
        }
    }

    pub(super) fn answer(&mut self, (id, kind): (AttemptId, ProbeKind), is_good: bool) {
        let (serial, _) = self.probing.remove(&(id.clone(), kind)).unwrap();
        let outcome = if is_good {
            Ok(())
        } else {
            Err("no".to_owned())
        };
        self.handle(Input::Probed {
            id,
            kind,
            serial,
            outcome,
        });
    }

    pub(super) fn snapshot(&mut self) {
        self.is_current = !self.is_fenced;
        let all = self.objects.values().cloned().map(Arc::new).collect();
        self.handle(Input::Snapshot(all));
    }

    pub(super) fn delete(&mut self, uid: &str, grace: u64) {
        if let Some(object) = self.objects.get_mut(uid) {
            let meta = object::meta_mut(object);
            let old = meta
                .get("deletionGracePeriodSeconds")
                .and_then(Value::as_u64);
            let grace = old.map_or(grace, |old| old.min(grace));
            meta.insert(
                "deletionTimestamp".to_owned(),
                json!("2026-01-01T00:00:00Z"),
            );
            meta.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
            let object = Arc::new(object.clone());
            self.handle(Input::Changed(object));
        }
    }

    pub(super) fn remove(&mut self, uid: &str) {
        if let Some(object) = self.objects.remove(uid) {
            self.removed.insert(uid.to_owned());
            self.past.insert(uid.to_owned(), object);
        }
        self.handle(Input::Removed {
            uid: uid.to_owned(),
        });
    }

    pub(super) fn restart(&mut self, with_past: bool) {
        // What was about to start was not recorded as started: it is gone with the agent.
        self.live.retain(|_, runs| *runs);
        self.killed.clear();
        // What is left of them is found.
        self.spent.clear();
        self.probing.clear();
        self.preparing.clear();
        let mut found: Vec<Found> = Vec::new();
        for id in self.live.keys() {
            found.push(Found {
                id: id.clone(),
                state: Ok(self.now_ms),
            });
        }
        for id in self.ended.iter().filter(|_| with_past) {
            found.push(Found {
                id: id.clone(),
                state: Err(Exit::default()),
            });
        }
        self.pods = Pods::new(Node::default(), found);
        (self.is_fenced, self.is_current) = (false, false);
    }

    pub(super) fn pass(&mut self, time_ms: u64) {
        let until_ms = self.now_ms + time_ms;
        while let Some(at_ms) = self
            .pods
            .next_wakeup_ms()
            .filter(|&at_ms| at_ms <= until_ms)
        {
            self.now_ms = at_ms;
            self.handle(Input::Tick);
        }
        self.now_ms = until_ms;
        self.handle(Input::Tick);
    }
}
