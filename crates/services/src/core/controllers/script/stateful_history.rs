//! Random histories of one StatefulSet: as those of a Deployment ([`super::history`]), with nodes
//! that come and go, and templates that do not work. What each plan wants is checked against what
//! it was made from; what each step does, against what is, unless something else goes on.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{
    cluster::{Cluster, Snapshot, set_ready, stateful_set},
    flights::Flights,
};
use crate::core::{
    controllers::{
        Controller, pods,
        world::{Step, View},
    },
    kinds::{CONTROLLER_REVISIONS, NODES, PODS, STATEFUL_SETS},
    lifecycle::Deletion,
    object::{self, Name},
    time::format_rfc3339,
};

const PLACES: &str = "atoll.dev/places";
/// Its pods never become ready.
const BROKEN: &str = "broken";

#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// A task is planned for, from a view that is so far behind.
    Plan(usize, usize),
    /// The next step of a plan is done.
    Do(usize),
    /// A pod's agent goes on.
    Agent(usize),
    Template(usize),
    Partition(i64),
    DeleteRevision(usize),
    Time(u64),
    /// The leader ends, and another one begins.
    Lead,
    Unready(usize),
    Fail(usize),
    DeletePod(usize),
    Scale(i64),
    Start(i64),
    /// A node comes, or goes for ever.
    Node(usize),
}

#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) replicas: i64,
    pub(super) max_unavailable: i64,
    pub(super) min_ready_s: u64,
    pub(super) is_ordered: bool,
    pub(super) has_claims: bool,
}

pub(super) struct History {
    cluster: Cluster,
    shape: Shape,
    start: i64,
    flights: Flights,
    /// Where the data of each ordinal is, as long as it can be known.
    homes: BTreeMap<i64, String>,
    /// Something other than an update is going on, so that its bounds need not hold.
    is_disturbed: bool,
}

fn ordinal(pod: &Value) -> i64 {
    let (_, ordinal) = object::name(pod).rsplit_once('-').unwrap();
    ordinal.parse().unwrap()
}

fn image(pod: &Value) -> &str {
    pod["spec"]["containers"][0]["image"].as_str().unwrap()
}

impl History {
    pub(super) fn new(shape: Shape) -> History {
        let mut cluster = Cluster::new();
        let policy = match shape.is_ordered {
            true => "OrderedReady",
            false => "Parallel",
        };
        let claims = match shape.has_claims {
            true => json!([{"metadata": {"name": "data"}}]),
            false => json!([]),
        };
        let rolling = json!({"maxUnavailable": shape.max_unavailable});
        let spec = [
            ("podManagementPolicy", json!(policy)),
            ("volumeClaimTemplates", claims),
            ("updateStrategy", json!({"rollingUpdate": rolling})),
            ("minReadySeconds", json!(shape.min_ready_s)),
            ("ordinals", json!({"start": 0})),
            ("revisionHistoryLimit", json!(1)),
        ];
        let set = stateful_set("web", "image-0", shape.replicas, &spec);
        cluster.create(&STATEFUL_SETS, set).unwrap();
        let mut history = History {
            cluster,
            shape,
            start: 0,
            flights: Flights::default(),
            homes: BTreeMap::new(),
            is_disturbed: true,
        };
        (0..3).for_each(|node| history.toggle(node));
        history
    }

    /// A node comes, or goes for ever, unless it is the last one.
    fn toggle(&mut self, node: usize) {
        let node = format!("n{node}");
        if self.cluster.get(&NODES, "", &node).is_none() {
            let object = json!({"metadata": {"name": node}});
            return self.cluster.create(&NODES, object).unwrap();
        }
        if self.cluster.list(&NODES, None).len() == 1 {
            return;
        }
        self.homes.retain(|_, home| *home != node);
        let name = Name {
            kind: &NODES,
            namespace: String::new(),
            name: node,
        };
        self.cluster.delete(&name, &Deletion::default()).unwrap();
    }

    fn pod(&self, at: usize) -> Option<Arc<Value>> {
        self.cluster.list(&PODS, None).get(at).cloned()
    }

    fn set(&mut self, change: impl FnOnce(&mut Value)) {
        self.cluster
            .change(&STATEFUL_SETS, "web", |web| change(&mut web["spec"]));
    }

    pub(super) fn happen(&mut self, happening: &Happening) {
        let disturbs = matches!(
            happening,
            Happening::Unready(_)
                | Happening::Fail(_)
                | Happening::DeletePod(_)
                | Happening::Scale(_)
                | Happening::Start(_)
                | Happening::Node(_)
        );
        self.is_disturbed |= disturbs;
        match *happening {
            Happening::Plan(task, lag) => self.plan(task, lag),
            Happening::Do(flight) => self.step(flight),
            Happening::Agent(pod) => self.agent(pod),
            Happening::Template(4) => self.template(BROKEN),
            Happening::Template(number) => self.template(&format!("image-{number}")),
            Happening::Partition(from) => self.set(|spec| {
                spec["updateStrategy"]["rollingUpdate"]["partition"] = json!(from);
            }),
            Happening::DeleteRevision(at) => {
                let revisions = self.cluster.list(&CONTROLLER_REVISIONS, None);
                self.delete(
                    revisions
                        .get(at)
                        .map(|it| Name::of(&CONTROLLER_REVISIONS, it)),
                );
            }
            // Plans are carried out in no time.
            Happening::Time(_) if !self.flights.is_empty() => {}
            Happening::Time(seconds) => self.cluster.pass(seconds * 1_000),
            Happening::Lead => {
                self.flights.end();
                self.cluster.past.clear();
                self.cluster.restart();
            }
            Happening::Unready(pod) => {
                let now = format_rfc3339(self.cluster.now_ms);
                if let Some(pod) = self.pod(pod).filter(|pod| pods::is_ready(pod)) {
                    let unready = |pod: &mut Value| set_ready(pod, false, &now);
                    self.cluster.change(&PODS, object::name(&pod), unready);
                }
            }
            Happening::Fail(pod) => {
                if let Some(pod) = self.pod(pod) {
                    let fail = |pod: &mut Value| pod["status"]["phase"] = json!("Failed");
                    self.cluster.change(&PODS, object::name(&pod), fail);
                }
            }
            Happening::DeletePod(pod) => {
                if let Some(pod) = self.pod(pod) {
                    // The set may not have seen where it is.
                    if self.places().get(&ordinal(&pod)) != self.homes.get(&ordinal(&pod)) {
                        self.homes.remove(&ordinal(&pod));
                    }
                    self.delete(Some(Name::of(&PODS, &pod)));
                }
            }
            Happening::Scale(replicas) => {
                self.shape.replicas = replicas;
                self.set(|spec| spec["replicas"] = json!(replicas));
            }
            Happening::Start(start) => {
                self.start = start;
                self.set(|spec| spec["ordinals"]["start"] = json!(start));
            }
            Happening::Node(node) => self.toggle(node),
        }
    }

    fn template(&mut self, image: &str) {
        self.set(|spec| spec["template"]["spec"]["containers"][0]["image"] = json!(image));
    }

    fn delete(&mut self, name: Option<Name>) {
        if let Some(name) = name {
            self.cluster.delete(&name, &Deletion::default()).unwrap();
        }
    }

    fn places(&self) -> BTreeMap<i64, String> {
        let web = self.cluster.get(&STATEFUL_SETS, "default", "web").unwrap();
        let text = object::annotation(&web, PLACES).unwrap_or("{}");
        serde_json::from_str(text).unwrap()
    }

    /// A pod's agent goes on; data stays where it is.
    fn agent(&mut self, at: usize) {
        let Some(pod) = self.pod(at) else {
            return;
        };
        let is_stuck = image(&pod) == BROKEN && pods::phase(&pod) == "Running";
        let is_idle = pods::has_ended(&pod) || is_stuck;
        if is_idle && !object::is_being_deleted(&pod) {
            return;
        }
        self.cluster.agent(&pod);
        let after = self.cluster.get(&PODS, "default", object::name(&pod));
        let node = after.and_then(|pod| pod["spec"]["nodeName"].as_str().map(str::to_owned));
        let is_new = self.shape.has_claims && pod["spec"]["nodeName"].is_null();
        if let Some(node) = node.filter(|_| is_new) {
            let home = self.homes.entry(ordinal(&pod)).or_insert(node.clone());
            assert_eq!(
                *home,
                node,
                "{} is not where its data is",
                object::name(&pod)
            );
        }
    }

    /// Whether the pods of these ordinals do their work, as far as a view has them.
    fn unavailable(&self, view: &dyn View, ordinals: std::ops::Range<i64>) -> Vec<i64> {
        let is_available = |ordinal: &i64| {
            let pod = view.get(&PODS, "default", &format!("web-{ordinal}"));
            pod.is_some_and(|pod| {
                let is_active = pods::is_active(&pod);
                is_active && pods::is_available(&pod, self.shape.min_ready_s, self.cluster.now_ms)
            })
        };
        ordinals.filter(|ordinal| !is_available(ordinal)).collect()
    }

    fn plan(&mut self, at: usize, lag: usize) {
        let Some((task, view, plan)) = self.flights.plan(&mut self.cluster, at, lag) else {
            return;
        };
        if task.0 == Controller::StatefulSet {
            self.check_plan(&view, &plan.steps);
        }
    }

    /// That a plan keeps to the bounds, going by what it was made from.
    fn check_plan(&self, view: &Snapshot, steps: &[Step]) {
        let Some(web) = view.get(&STATEFUL_SETS, "default", "web") else {
            return;
        };
        let number = |path: &str| web.pointer(path).and_then(Value::as_i64).unwrap();
        let start = number("/spec/ordinals/start");
        let ordinals = start..start + number("/spec/replicas");
        let unavailable = self.unavailable(view, ordinals.clone());
        let mut taken = 0;
        for step in steps {
            match step {
                Step::Create { kind, object } if *kind == &PODS => {
                    let ordinal = ordinal(object);
                    assert!(ordinals.contains(&ordinal), "too many: {step:?}");
                    let is_first = unavailable.first() == Some(&ordinal);
                    assert!(is_first || !self.shape.is_ordered, "too early: {step:?}");
                    let found = view.get(&PODS, "default", object::name(object));
                    assert_eq!(found, None, "two of one ordinal");
                }
                Step::Delete { name, .. } if name.kind == &PODS => {
                    let pod = view.get(&PODS, "default", &name.name).unwrap();
                    let ordinal = ordinal(&pod);
                    let counts = ordinals.contains(&ordinal) && !unavailable.contains(&ordinal);
                    taken += i64::from(counts);
                }
                _ => {}
            }
        }
        let down = taken + unavailable.len() as i64;
        assert!(
            taken == 0 || down <= self.shape.max_unavailable,
            "too few: {unavailable:?} {steps:?}"
        );
    }

    fn ordinals(&self) -> std::ops::Range<i64> {
        self.start..self.start + self.shape.replicas
    }

    fn step(&mut self, at: usize) {
        let before = self.unavailable(&self.cluster, self.ordinals());
        let done = self.flights.step(&mut self.cluster, at);
        if self.is_disturbed {
            self.is_disturbed = !self.is_calm();
            return;
        }
        let after = self.unavailable(&self.cluster, self.ordinals());
        let Some((_, step)) = done else {
            return;
        };
        if let (true, Step::Create { kind, object }) = (self.shape.is_ordered, &step)
            && *kind == &PODS
        {
            assert_eq!(
                before.first(),
                Some(&ordinal(object)),
                "too early: {step:?}"
            );
        }
        let is_worse = after.len() > before.len();
        assert!(
            !is_worse || after.len() as i64 <= self.shape.max_unavailable,
            "too few: {before:?} {after:?} {step:?}"
        );
    }

    /// Whether all that disturbed is over.
    fn is_calm(&self) -> bool {
        let pods = self.cluster.list(&PODS, None);
        self.flights.is_empty()
            && self.cluster.queue.is_empty()
            && pods.len() as i64 == self.shape.replicas
            && self.unavailable(&self.cluster, self.ordinals()).is_empty()
    }

    /// Everything comes to rest.
    pub(super) fn settle(&mut self) {
        while !self.flights.is_empty() {
            self.step(0);
        }
        for _ in 0..200 {
            let before = self.cluster.now.revision;
            self.cluster.work();
            let pods = self.cluster.list(&PODS, None).len();
            (0..pods).rev().for_each(|pod| self.agent(pod));
            // Nodes that are gone are given up then.
            self.cluster.pass(61_000);
            self.give_up();
            if before == self.cluster.now.revision && self.cluster.queue.is_empty() {
                break;
            }
        }
        self.is_disturbed = !self.is_calm();
    }

    /// Pods of nodes that are gone have no agent; who looks after nodes deletes them.
    fn give_up(&mut self) {
        let at_once = Deletion {
            grace_s: Some(0),
            ..Deletion::default()
        };
        for pod in self.cluster.list(&PODS, None) {
            let node = pod["spec"]["nodeName"].as_str();
            if node.is_some_and(|node| self.cluster.get(&NODES, "", node).is_none()) {
                let name = Name::of(&PODS, &pod);
                self.cluster.delete(&name, &at_once).unwrap();
            }
        }
    }

    /// In the end all is as it is wanted, and stays so.
    pub(super) fn finish(mut self) {
        self.happen(&Happening::Partition(0));
        self.template("last");
        self.settle();
        self.cluster.assert_at_rest();
        let pods = self.cluster.list(&PODS, None);
        let mut found: Vec<i64> = pods.iter().map(|pod| ordinal(pod)).collect();
        found.sort_unstable();
        assert_eq!(found, self.ordinals().collect::<Vec<_>>());
        assert!(
            pods.iter()
                .all(|pod| pods::is_ready(pod) && image(pod) == "last")
        );
        let web = self.cluster.get(&STATEFUL_SETS, "default", "web").unwrap();
        let status = &web["status"];
        for field in [
            "replicas",
            "currentReplicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
        ] {
            let number = status[field].as_i64().unwrap_or_default();
            assert_eq!(number, self.shape.replicas, "{field} of {status}");
        }
        assert_eq!(status["currentRevision"], status["updateRevision"]);
        assert_eq!(status["observedGeneration"], web["metadata"]["generation"]);
        let kept = self.cluster.list(&CONTROLLER_REVISIONS, None).len();
        assert!(kept <= 2, "{kept} revisions");
    }
}
