//! How objects read in a story. What controllers name gets short names in order of appearance:
//! `p1` is the first pod, `r2` the second ReplicaSet, `s1` an EndpointSlice, `v1` a
//! ControllerRevision; others are `configmap/a`.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::cluster::{Cluster, Done};
use crate::core::{
    controllers::{
        pods,
        world::{Step, View},
    },
    kinds::{CONTROLLER_REVISIONS, ENDPOINT_SLICES, KINDS, Kind, PODS, REPLICA_SETS},
    object::{self, Name},
};

/// The label of a StatefulSet's pod.
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";

#[derive(Default)]
pub(super) struct Names {
    by_uid: BTreeMap<String, String>,
    by_short: BTreeMap<String, Name>,
    counts: BTreeMap<&'static str, usize>,
}

impl Names {
    pub(super) fn short(&mut self, kind: &'static Kind, object: &Value) -> String {
        let is_generated = !object::meta(object, "generateName").is_empty()
            || object::label(object, "pod-template-hash").is_some()
            || kind == &CONTROLLER_REVISIONS;
        let is_numbered = object::label(object, POD_NAME).is_some();
        let letter = match kind {
            kind if !is_generated || is_numbered => {
                return format!("{}/{}", kind.singular, object::name(object));
            }
            kind if kind == &PODS => "p",
            kind if kind == &REPLICA_SETS => "r",
            kind if kind == &ENDPOINT_SLICES => "s",
            kind if kind == &CONTROLLER_REVISIONS => "v",
            kind => kind.singular,
        };
        let uid = object::uid(object).to_owned();
        if let Some(short) = self.by_uid.get(&uid) {
            return short.clone();
        }
        let count = self.counts.entry(letter).or_default();
        *count += 1;
        let short = format!("{letter}{count}");
        self.by_uid.insert(uid, short.clone());
        let name = Name::of(kind, object);
        self.by_short.insert(short.clone(), name);
        short
    }

    /// The object of a short name.
    pub(super) fn find(&self, short: &str) -> Name {
        if let Some(name) = self.by_short.get(short) {
            return name.clone();
        }
        let (singular, name) = short
            .split_once('/')
            .unwrap_or_else(|| panic!("nothing is called {short}"));
        let kind = KINDS.iter().find(|kind| kind.singular == singular).unwrap();
        Name {
            kind,
            namespace: if kind.is_namespaced { "default" } else { "" }.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The names of objects in a text become short.
    pub(super) fn shorten(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (short, name) in &self.by_short {
            text = text.replace(&name.name, short);
        }
        text
    }

    /// `@v1`: of which revision a StatefulSet's pod is.
    fn revision(&self, pod: &Value) -> String {
        let label = object::label(pod, "controller-revision-hash");
        let label = label.filter(|_| object::label(pod, POD_NAME).is_some());
        let mut all = self.by_short.iter();
        let found = all.find(|(_, name)| Some(name.name.as_str()) == label);
        found.map_or_else(String::new, |(short, _)| format!("@{short}"))
    }

    pub(super) fn done(&mut self, done: &Done) -> Option<String> {
        let (step, object) = match done {
            Done::Failed(why) => return Some(format!("!{why}")),
            Done::Step(step, object) => (step, object.as_ref()),
        };
        let mut short = |kind| object.map_or_else(|| "?".to_owned(), |it| self.short(kind, it));
        Some(match step {
            Step::Create { kind, object } => match replicas(object) {
                Some(replicas) => format!("+{}({replicas})", short(kind)),
                None => format!("+{}", short(kind)),
            },
            Step::Delete { name, .. } => format!("-{}", short(name.kind)),
            Step::Update { kind, object: new } => {
                let from = object.and_then(|old| replicas(old));
                match (from, replicas(new)) {
                    (Some(from), Some(to)) if from != to => {
                        format!("{} {from}>{to}", short(kind))
                    }
                    _ if *kind == &PODS || *kind == &REPLICA_SETS || *kind == &ENDPOINT_SLICES => {
                        format!("{}*", short(kind))
                    }
                    _ if kind.kind == "Deployment" => return None,
                    _ => format!("{}*", short(kind)),
                }
            }
            Step::Finalize { namespace } => format!("finalize {}", object::name(namespace)),
            Step::UpdateStatus { .. } => return None,
            Step::Event(event) if event.is_warning => format!("warning {}", event.message),
            Step::Event(_) => return None,
        })
    }
}

fn replicas(object: &Value) -> Option<i64> {
    object["spec"]["replicas"].as_i64()
}

/// `p1=ready p2=pending`.
pub(super) fn pods(cluster: &Cluster, names: &mut Names) -> String {
    let mut told: Vec<(usize, String)> = Vec::new();
    for pod in cluster.list(&PODS, Some("default")) {
        let short = names.short(&PODS, &pod);
        let order = short[1..].parse().unwrap_or(usize::MAX);
        let revision = names.revision(&pod);
        told.push((order, format!("{short}={}{revision}", pod_state(&pod))));
    }
    told.sort();
    let told: Vec<String> = told.into_iter().map(|(_, one)| one).collect();
    told.join(" ")
}

/// `n1:p1=ready@v1`: on which node or for which node a DaemonSet's pods are, and of which revision.
pub(super) fn daemons(cluster: &Cluster, names: &mut Names) -> String {
    let hash =
        |object: &Value| object::label(object, "controller-revision-hash").map(str::to_owned);
    let revisions = cluster.list(&CONTROLLER_REVISIONS, Some("default"));
    let mut told: Vec<String> = Vec::new();
    for pod in cluster.list(&PODS, Some("default")) {
        let revision = revisions.iter().find(|it| hash(it) == hash(&pod));
        let revision = revision.map_or_else(
            || "?".to_owned(),
            |it| names.short(&CONTROLLER_REVISIONS, it),
        );
        let node = pod["spec"]["nodeName"].as_str().unwrap_or("-");
        let (short, state) = (names.short(&PODS, &pod), pod_state(&pod));
        told.push(format!("{node}:{short}={state}@{revision}"));
    }
    told.sort();
    match told.is_empty() {
        true => "none".to_owned(),
        false => told.join(" "),
    }
}

fn pod_state(pod: &Value) -> String {
    let phase = pods::phase(pod).to_lowercase();
    if object::is_being_deleted(pod) {
        return "stopping".to_owned();
    }
    if pods::has_ended(pod) {
        return phase;
    }
    match (pods::is_ready(pod), pod["spec"]["nodeName"].is_string()) {
        (true, _) => "ready".to_owned(),
        (false, true) if phase == "pending" => "bound".to_owned(),
        _ => phase,
    }
}

/// `r1=0@1 r2=3@2`: replicas wanted at a revision, oldest first.
pub(super) fn sets(cluster: &Cluster, names: &mut Names) -> String {
    let mut told: Vec<(usize, String)> = Vec::new();
    for set in cluster.list(&REPLICA_SETS, Some("default")) {
        let short = names.short(&REPLICA_SETS, &set);
        let order = short[1..].parse().unwrap_or(usize::MAX);
        let annotation = |key: &str| {
            let key = format!("deployment.kubernetes.io/{key}");
            object::annotation(&set, &key).map(str::to_owned)
        };
        let mut one = format!("{short}={}", replicas(&set).unwrap_or(1));
        if let Some(revision) = annotation("revision") {
            one += &format!("@{revision}");
        }
        if let Some(history) = annotation("revision-history") {
            one += &format!("({history})");
        }
        told.push((order, one));
    }
    told.sort();
    let told: Vec<String> = told.into_iter().map(|(_, one)| one).collect();
    told.join(" ")
}

/// The numbers of a status.
pub(super) fn status(object: &Value) -> String {
    let numbers = [
        ("replicas", "replicas"),
        ("currentReplicas", "current"),
        ("updatedReplicas", "updated"),
        ("fullyLabeledReplicas", "labeled"),
        ("readyReplicas", "ready"),
        ("availableReplicas", "available"),
        ("unavailableReplicas", "unavailable"),
        ("terminatingReplicas", "terminating"),
        ("collisionCount", "collisions"),
        ("desiredNumberScheduled", "desired"),
        ("currentNumberScheduled", "current"),
        ("numberMisscheduled", "misplaced"),
        ("updatedNumberScheduled", "updated"),
        ("numberReady", "ready"),
        ("numberAvailable", "available"),
        ("numberUnavailable", "unavailable"),
    ];
    let status = &object["status"];
    let numbers = numbers.iter().filter_map(|(field, short)| {
        let number = status[field].as_i64().filter(|number| *number != 0)?;
        Some(format!("{short}={number}"))
    });
    let generation = &object["metadata"]["generation"];
    let is_old = status["observedGeneration"] != *generation;
    let old = is_old.then(|| "outdated".to_owned());
    let told: Vec<String> = numbers.chain(old).collect();
    match told.is_empty() {
        true => "nothing".to_owned(),
        false => told.join(" "),
    }
}

/// `Created: Created pod: p1`: what people were told.
pub(super) fn event(done: &Done) -> Option<String> {
    let Done::Step(Step::Event(event), _) = done else {
        return None;
    };
    Some(format!("{}: {}", event.reason, event.message))
}

/// The numbers and indexes of a Job's status, and the pods on their way into them.
pub(super) fn tally(job: &Value, names: &Names) -> String {
    let status = &job["status"];
    let mut told: Vec<String> = Vec::new();
    for number in ["active", "ready", "terminating", "succeeded", "failed"] {
        let count = status[number].as_i64().filter(|count| *count != 0);
        told.extend(count.map(|count| format!("{number}={count}")));
    }
    for (field, short) in [("completedIndexes", "done"), ("failedIndexes", "lost")] {
        let indexes = status[field].as_str();
        told.extend(indexes.map(|indexes| format!("{short}={indexes}")));
    }
    for field in ["succeeded", "failed"] {
        for uid in object::items(&status["uncountedTerminatedPods"][field]) {
            let uid = uid.as_str().unwrap_or_default();
            let short = names.by_uid.get(uid).map_or(uid, String::as_str);
            told.push(format!("{short}:{field}"));
        }
    }
    match told.is_empty() {
        true => "nothing".to_owned(),
        false => told.join(" "),
    }
}

/// `Available=True(MinimumReplicasAvailable)`.
pub(super) fn conditions(object: &Value, has_messages: bool) -> String {
    let all = object["status"]["conditions"].as_array();
    let mut told: Vec<String> = all
        .into_iter()
        .flatten()
        .map(|condition| {
            let text = |field: &str| condition[field].as_str().unwrap_or_default();
            let message = match has_messages {
                true => format!(": {}", text("message")),
                false => String::new(),
            };
            format!(
                "{}={}({}{message})",
                text("type"),
                text("status"),
                text("reason")
            )
        })
        .collect();
    told.sort();
    told.join(" ")
}

/// `s1 http:8080 p1 p2(unready)`, one slice after the other.
pub(super) fn slices(cluster: &Cluster, names: &mut Names) -> String {
    let mut told: Vec<String> = Vec::new();
    for slice in cluster.list(&ENDPOINT_SLICES, Some("default")) {
        let mut words = vec![names.short(&ENDPOINT_SLICES, &slice)];
        for port in slice["ports"].as_array().into_iter().flatten() {
            let name = port["name"].as_str().unwrap_or_default();
            words.push(format!("{name}:{}", port["port"]));
        }
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            words.push(self::endpoint(cluster, names, endpoint));
        }
        told.push(words.join(" "));
    }
    told.sort();
    match told.is_empty() {
        true => "none".to_owned(),
        false => told.join("; "),
    }
}

/// `http:8080 p1 p2(unready)`, one subset of Endpoints after the other.
pub(super) fn subsets(endpoints: &Value, names: &Names) -> String {
    let mut told: Vec<String> = Vec::new();
    for subset in object::items(&endpoints["subsets"]) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let ports = object::items(&subset["ports"]);
        let mut words: Vec<String> = ports
            .map(|port| format!("{}:{}", text(&port["name"]), port["port"]))
            .collect();
        for (field, mark) in [("addresses", ""), ("notReadyAddresses", "(unready)")] {
            words.extend(object::items(&subset[field]).map(|address| {
                let name = names.shorten(&text(&address["targetRef"]["name"]));
                let name = if name.is_empty() {
                    text(&address["ip"])
                } else {
                    name
                };
                format!("{name}{mark}")
            }));
        }
        told.push(words.join(" "));
    }
    match told.is_empty() {
        true => "none".to_owned(),
        false => told.join("; "),
    }
}

fn endpoint(cluster: &Cluster, names: &mut Names, endpoint: &Value) -> String {
    let Some(name) = endpoint["targetRef"]["name"].as_str() else {
        let unready = if endpoint["conditions"]["ready"] == true {
            ""
        } else {
            "(unready)"
        };
        return endpoint["addresses"][0].as_str().unwrap().to_owned() + unready;
    };
    let pod: Option<Arc<Value>> = cluster.get(&PODS, "default", name);
    let short = match pod {
        Some(pod) => names.short(&PODS, &pod),
        None => format!("{}(gone)", names.shorten(name)),
    };
    let of = |field: &str| endpoint["conditions"][field] == true;
    match (of("ready"), of("serving"), of("terminating")) {
        (true, true, false) => short,
        (false, false, false) => format!("{short}(unready)"),
        (false, true, true) => format!("{short}(draining)"),
        (false, false, true) => format!("{short}(stopping)"),
        other => format!("{short}{other:?}"),
    }
}
