//! A model of everything around the planners: a store with the rules of the API, an executor, and
//! agents whose pods take a step when they are told to.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use serde_json::{Value, json};

use crate::core::{
    controllers::{
        Controller,
        world::{Change, Step, View},
    },
    defaults,
    kinds::{KINDS, Kind, NAMESPACES, NODES, PODS, Subresource},
    lifecycle::{self, Birth, Deleted, Deletion},
    object::{self, Name},
    status::{Failure, Reason},
    time::format_rfc3339,
    usage::PodUsage,
    validate,
};

/// How far behind a planner's view may be.
const PAST_MAX: usize = 8;

/// A kind's place in [`KINDS`], a namespace, a name.
pub(super) type Place = (usize, String, String);
/// Something to plan for.
pub(super) type Task = (Controller, Place);

/// What was done, for whom tells it.
pub(super) enum Done {
    Step(Step, Option<Arc<Value>>),
    Failed(String),
}

pub(super) struct Cluster {
    pub(super) now: Snapshot,
    /// What was, oldest first.
    pub(super) past: VecDeque<Snapshot>,
    uids: u64,
    pub(super) now_ms: u64,
    pub(super) queue: BTreeSet<Task>,
    pub(super) timers: Vec<(u64, Task)>,
    pub(super) failed: BTreeMap<Task, String>,
    /// Why no pod can be made.
    pub(super) refusal: Option<String>,
    pub(super) done: Vec<Done>,
    /// Pods whose names were drawn.
    pub(super) born: BTreeSet<Place>,
}

pub(super) fn place(name: &Name) -> Place {
    let at = KINDS.iter().position(|kind| *kind == name.kind).unwrap();
    (at, name.namespace.clone(), name.name.clone())
}

pub(super) fn name(place: &Place) -> Name {
    Name {
        kind: KINDS[place.0],
        namespace: place.1.clone(),
        name: place.2.clone(),
    }
}

/// Every object at one revision.
#[derive(Clone, Default)]
pub(super) struct Snapshot {
    pub(super) revision: i64,
    pub(super) objects: BTreeMap<Place, Arc<Value>>,
    /// What pods use, by their uids.
    pub(super) usages: BTreeMap<String, Arc<PodUsage>>,
}

impl View for Snapshot {
    fn get(&self, kind: &'static Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let name = Name {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        self.objects.get(&place(&name)).cloned()
    }

    fn list(&self, kind: &'static Kind, namespace: Option<&str>) -> Vec<Arc<Value>> {
        let is_one = |place: &Place| {
            KINDS[place.0] == kind && namespace.is_none_or(|namespace| place.1 == namespace)
        };
        let found = self.objects.iter().filter(|(place, _)| is_one(place));
        found.map(|(_, object)| object.clone()).collect()
    }

    fn by_owner(&self, kind: &'static Kind, owner_uid: &str) -> Vec<Arc<Value>> {
        let mut found = self.list(kind, None);
        found.retain(|object| {
            let owners = object["metadata"]["ownerReferences"].as_array();
            owners.is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == owner_uid))
        });
        found
    }

    fn usage(&self, pod_uid: &str) -> Option<Arc<PodUsage>> {
        self.usages.get(pod_uid).cloned()
    }
}

impl View for Cluster {
    fn get(&self, kind: &'static Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.now.get(kind, namespace, name)
    }

    fn list(&self, kind: &'static Kind, namespace: Option<&str>) -> Vec<Arc<Value>> {
        self.now.list(kind, namespace)
    }

    fn by_owner(&self, kind: &'static Kind, owner_uid: &str) -> Vec<Arc<Value>> {
        self.now.by_owner(kind, owner_uid)
    }

    fn usage(&self, pod_uid: &str) -> Option<Arc<PodUsage>> {
        self.now.usage(pod_uid)
    }
}

impl Cluster {
    pub(super) fn new() -> Cluster {
        Cluster {
            now: Snapshot::default(),
            past: VecDeque::new(),
            uids: 0,
            now_ms: 1_767_225_600_000,
            queue: BTreeSet::new(),
            timers: Vec::new(),
            failed: BTreeMap::new(),
            refusal: None,
            done: Vec::new(),
            born: BTreeSet::new(),
        }
    }

    /// Writes without any rule, and wakes whom it concerns.
    fn put(&mut self, at: Place, object: Option<Value>) {
        self.past.push_back(self.now.clone());
        if self.past.len() > PAST_MAX {
            self.past.pop_front();
        }
        self.now.revision += 1;
        let old = self.now.objects.remove(&at);
        let new = object.map(|mut object| {
            object["metadata"]["resourceVersion"] = json!(self.now.revision.to_string());
            Arc::new(object)
        });
        if let Some(new) = &new {
            self.now.objects.insert(at.clone(), new.clone());
        }
        let change = Change {
            kind: KINDS[at.0],
            old: old.as_deref(),
            new: new.as_deref(),
        };
        self.wake(&change);
    }

    pub(super) fn wake(&mut self, change: &Change<'_>) {
        for controller in Controller::ALL {
            let touched = controller.touched(self, change);
            self.queue
                .extend(touched.iter().map(|name| (controller, place(name))));
        }
    }

    pub(super) fn create(&mut self, kind: &'static Kind, mut object: Value) -> Result<(), Failure> {
        let namespace = object::namespace(&object).to_owned();
        let fail = |reason| Failure::new(reason, object::name(&object));
        let space = self.get(&NAMESPACES, "", &namespace);
        if space.is_some_and(|space| object::is_being_deleted(&space)) {
            return Err(fail(Reason::Forbidden));
        }
        if let (true, Some(why)) = (kind == &PODS, &self.refusal) {
            return Err(Failure::new(Reason::Forbidden, why));
        }
        if self.get(kind, &namespace, object::name(&object)).is_some() {
            return Err(fail(Reason::AlreadyExists));
        }
        self.uids += 1;
        let birth = Birth {
            now_ms: self.now_ms,
            uid: format!("u-{}", self.uids),
            suffix: "drawn".to_owned(),
        };
        lifecycle::create(kind, &namespace, &mut object, birth)?;
        defaults::default(kind, &mut object);
        self.put(place(&Name::of(kind, &object)), Some(object));
        Ok(())
    }

    pub(super) fn update(
        &mut self,
        kind: &'static Kind,
        mut new: Value,
        subresource: Option<Subresource>,
    ) -> Result<(), Failure> {
        let at = place(&Name::of(kind, &new));
        let fail = |reason| Failure::new(reason, at.2.clone());
        let old = self
            .now
            .objects
            .get(&at)
            .ok_or_else(|| fail(Reason::NotFound))?;
        let version = |object| object::meta(object, "resourceVersion").to_owned();
        if version(old) != version(&new) {
            return Err(fail(Reason::Conflict));
        }
        lifecycle::update(kind, old, &mut new, subresource)?;
        if subresource.is_none() {
            defaults::default(kind, &mut new);
            let errors = validate::update(kind, &new, old);
            assert_eq!(errors, [], "{new}");
        }
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
        assert!(new != **old, "a step that changes nothing: {new}");
        let is_over = lifecycle::is_over(kind, &new);
        self.put(at, (!is_over).then_some(new));
        Ok(())
    }

    pub(super) fn delete(&mut self, name: &Name, deletion: &Deletion) -> Result<(), Failure> {
        let at = place(name);
        let found = self.now.objects.get(&at);
        let found = found.ok_or_else(|| Failure::new(Reason::NotFound, &name.name))?;
        let version = object::meta(found, "resourceVersion").parse().unwrap();
        match lifecycle::delete(name.kind, found, version, deletion, self.now_ms)? {
            Deleted::Gone => self.put(at, None),
            Deleted::Marked(object) => self.put(at, Some(object)),
            Deleted::Unchanged => {}
        }
        Ok(())
    }

    pub(super) fn carry_out(&mut self, step: &Step) -> Result<(), Failure> {
        match step.clone() {
            Step::Create { kind, object } => {
                self.create(kind, object.clone())?;
                let made = self.get(kind, object::namespace(&object), object::name(&object));
                let errors = validate::create(kind, &made.expect("it was just made"));
                assert_eq!(errors, [], "{object}");
                Ok(())
            }
            Step::Delete { name, deletion } => self.delete(&name, &deletion),
            Step::Update { kind, object } => self.update(kind, object, None),
            Step::UpdateStatus { kind, object } => {
                self.update(kind, object, Some(Subresource::Status))
            }
            Step::Finalize { namespace } => {
                self.update(&NAMESPACES, namespace, Some(Subresource::Finalize))
            }
            Step::Event(_) => Ok(()),
        }
    }

    /// Changes an object as its client or its agent would.
    pub(super) fn change(
        &mut self,
        kind: &'static Kind,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) {
        let namespace = if kind.is_namespaced { "default" } else { "" };
        let found = self.get(kind, namespace, name).expect("it is there");
        let mut object = (*found).clone();
        change(&mut object);
        defaults::default(kind, &mut object);
        if object == *found {
            return;
        }
        let specs = (&found["spec"], &object["spec"]);
        if let (true, Some(generation)) = (
            specs.0 != specs.1,
            object["metadata"]["generation"].as_i64(),
        ) {
            object["metadata"]["generation"] = json!(generation + 1);
        }
        let is_over = lifecycle::is_over(kind, &object);
        let at = place(&Name::of(kind, &object));
        self.put(at, (!is_over).then_some(object));
    }

    /// A pod's agent takes one step: it gets a node, runs, is ready; or it is gone.
    pub(super) fn agent(&mut self, pod: &Value) {
        if object::is_being_deleted(pod) {
            let deletion = Deletion {
                grace_s: Some(0),
                ..Deletion::default()
            };
            let _ = self.delete(&Name::of(&PODS, pod), &deletion);
            return;
        }
        let now = format_rfc3339(self.now_ms);
        let is_bound = pod["spec"]["nodeName"].is_string();
        let Some(node) = self.node_for(pod) else {
            return;
        };
        self.change(&PODS, object::name(pod), |pod| {
            if !is_bound {
                pod["spec"]["nodeName"] = json!(node);
            } else if pod["status"]["phase"] == "Pending" {
                pod["status"]["phase"] = json!("Running");
                pod["status"]["podIP"] = json!("10.0.0.1");
                pod["status"]["startTime"] = json!(now);
            } else if pod["status"]["phase"] == "Running" {
                set_ready(pod, true, &now);
            }
        });
    }
}

impl Cluster {
    /// The node that a pod gets: the one it requires, if that is there; else any.
    fn node_for(&self, pod: &Value) -> Option<String> {
        let required = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";
        let name = format!("{required}/nodeSelectorTerms/0/matchFields/0/values/0");
        if let Some(Value::String(name)) = pod.pointer(&name) {
            return self.get(&NODES, "", name).map(|_| name.clone());
        }
        let nodes = self.list(&NODES, None);
        Some(match nodes.is_empty() {
            true => format!("n{}", self.uids % 3),
            false => object::name(&nodes[self.uids as usize % nodes.len()]).to_owned(),
        })
    }
}

pub(super) fn set_ready(pod: &mut Value, is_ready: bool, now: &str) {
    let status = if is_ready { "True" } else { "False" };
    let is_it = |one: &Value| one["type"] == "Ready" && one["status"] == status;
    if !object::items(&pod["status"]["conditions"]).any(is_it) {
        pod["status"]["conditions"] =
            json!([{"type": "Ready", "status": status, "lastTransitionTime": now}]);
    }
}

/// A pod's container ends.
pub(super) fn set_exit(pod: &mut Value, code: i64, now: &str) {
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    pod["status"]["phase"] = json!(phase);
    let ended = json!({"exitCode": code, "startedAt": now, "finishedAt": now});
    pod["status"]["containerStatuses"] = json!([{"name": "main", "state": {"terminated": ended}}]);
    set_ready(pod, false, now);
}

/// A Job of the namespace `default`.
pub(super) fn job(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"template": {"spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": "a"}],
        }}},
    })
}

/// A CronJob of the namespace `default`.
pub(super) fn cron_job(name: &str, schedule: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"schedule": schedule, "jobTemplate": {"spec": job(name)["spec"]}},
    })
}

/// A Deployment of the namespace `default`.
pub(super) fn deployment(name: &str, image: &str, replicas: i64, spec: &[(&str, Value)]) -> Value {
    let mut object = json!({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 10,
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
        },
    });
    for (field, value) in spec {
        object["spec"][*field] = value.clone();
    }
    object
}

/// A StatefulSet of the namespace `default`.
pub(super) fn stateful_set(
    name: &str,
    image: &str,
    replicas: i64,
    fields: &[(&str, Value)],
) -> Value {
    let mut object = deployment(name, image, replicas, fields);
    let spec = object::child_mut(&mut object, "spec");
    spec.remove("progressDeadlineSeconds");
    spec.insert("serviceName".to_owned(), json!(name));
    object
}
