//! Random histories of one Job: pods run, end, fail and are deleted, it is suspended and resized,
//! leaders end in the middle of plans. At each step no pod is counted twice and no more run than
//! may; in the end each pod that ended is counted, and the Job is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    cluster::{Cluster, Snapshot, job, set_exit},
    flights::Flights,
};
use crate::core::{
    controllers::{
        pods,
        world::{Plan, Step, View},
    },
    kinds::{JOBS, PODS},
    lifecycle::Deletion,
    object::{self, Name},
    time::format_rfc3339,
    validate::indexes::Indexes,
};

const FINALIZER: &str = "batch.kubernetes.io/job-tracking";

/// So far behind that there is no such view: the plan is made from what is.
const NOW: usize = usize::MAX;

#[derive(Clone, Debug)]
enum Happening {
    /// A task is planned for, from a view that is so far behind.
    Plan(usize, usize),
    /// The next step of a plan is done.
    Do(usize),
    /// A pod's agent goes on.
    Agent(usize),
    Exit(usize, i64),
    DeletePod(usize),
    Suspend(bool),
    Parallelism(u64),
    Time(u64),
    /// The leader ends, and another one begins.
    Lead,
}

#[derive(Clone, Debug)]
struct Shape {
    completions: u64,
    parallelism: u64,
    is_indexed: bool,
    /// Failures that an index bears.
    per_index: Option<u64>,
    backoff_limit: u64,
    replaces_ended_only: bool,
    success_count: Option<u64>,
    /// What code 7 means.
    action: Option<&'static str>,
}

impl Shape {
    fn job(&self) -> Value {
        let mut job = job("sum");
        let spec = &mut job["spec"];
        spec["completions"] = json!(self.completions);
        spec["parallelism"] = json!(self.parallelism);
        spec["backoffLimit"] = json!(self.backoff_limit);
        if self.is_indexed {
            spec["completionMode"] = json!("Indexed");
            if let Some(limit) = self.per_index {
                spec["backoffLimitPerIndex"] = json!(limit);
            }
            if let Some(count) = self.success_count {
                let count = count.min(self.completions);
                spec["successPolicy"] = json!({"rules": [{"succeededCount": count}]});
            }
        }
        if self.replaces_ended_only {
            spec["podReplacementPolicy"] = json!("Failed");
            if let Some(action) = self.action {
                let codes = json!({"operator": "In", "values": [7]});
                let rule = json!({"action": action, "onExitCodes": codes});
                spec["podFailurePolicy"] = json!({"rules": [rule]});
            }
        }
        job
    }
}

struct History {
    cluster: Cluster,
    flights: Flights,
    shape: Shape,
    /// The uids that were ever [`listed`].
    named: BTreeMap<String, &'static str>,
    /// How pods ended that wait to be counted.
    ended: BTreeMap<String, Value>,
    most: u64,
}

impl History {
    fn new(shape: Shape) -> History {
        let mut cluster = Cluster::new();
        cluster.create(&JOBS, shape.job()).unwrap();
        History {
            cluster,
            flights: Flights::default(),
            most: shape.parallelism,
            shape,
            named: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    fn job(&self) -> Arc<Value> {
        self.cluster.get(&JOBS, "default", "sum").unwrap()
    }

    fn pods(&self) -> Vec<Arc<Value>> {
        self.cluster.list(&PODS, None)
    }

    fn happen(&mut self, happening: &Happening) {
        match *happening {
            Happening::Plan(task, lag) => {
                if let Some((_, view, plan)) = self.flights.plan(&mut self.cluster, task, lag) {
                    self.check_plan(&view, &plan);
                }
            }
            Happening::Do(flight) => {
                if let Some((_, step)) = self.flights.step(&mut self.cluster, flight) {
                    self.check(&step);
                }
            }
            Happening::Agent(pod) => {
                if let Some(pod) = self.pods().get(pod) {
                    self.cluster.agent(pod);
                }
            }
            Happening::Exit(pod, code) => {
                if let Some(pod) = self.pods().get(pod) {
                    self.exit(pod, code);
                }
            }
            Happening::DeletePod(pod) => {
                if let Some(pod) = self.pods().get(pod) {
                    let name = Name::of(&PODS, pod);
                    let deletion = Deletion::default();
                    self.cluster.delete(&name, &deletion).unwrap();
                }
            }
            Happening::Suspend(is_suspended) => self.set("suspend", json!(is_suspended)),
            Happening::Parallelism(parallelism) => {
                self.most = self.most.max(parallelism);
                self.set("parallelism", json!(parallelism));
            }
            // Plans are carried out in no time.
            Happening::Time(_) if !self.flights.is_empty() => {}
            Happening::Time(seconds) => self.cluster.pass(seconds * 1_000),
            Happening::Lead => {
                self.flights.end();
                self.cluster.past.clear();
                self.cluster.restart();
            }
        }
        self.check_counts();
    }

    fn set(&mut self, field: &str, value: Value) {
        let change = |job: &mut Value| job["spec"][field] = value;
        self.cluster.change(&JOBS, "sum", change);
    }

    fn exit(&mut self, pod: &Value, code: i64) {
        let is_running = pods::phase(pod) == "Running";
        if !is_running {
            return;
        }
        let now = format_rfc3339(self.cluster.now_ms);
        let name = object::name(pod).to_owned();
        self.cluster
            .change(&PODS, &name, |pod| set_exit(pod, code, &now));
        let uid = object::uid(pod).to_owned();
        let is_tracked = object::finalizers(pod).any(|one| one == FINALIZER);
        if is_tracked && !self.named.contains_key(&uid) {
            let pod = self.cluster.get(&PODS, "default", &name).unwrap();
            self.ended.insert(uid, (*pod).clone());
        }
    }

    /// No failure that is to be ignored is put down. A pod that still ran when its Job failed has
    /// failed with it, whatever its end is by the time that the plan is carried out.
    fn check_plan(&self, view: &Snapshot, plan: &Plan) {
        let job = view.get(&JOBS, "default", "sum");
        let before = job.as_deref().map(|job| listed(job, "failed"));
        let before = before.unwrap_or_default();
        for step in &plan.steps {
            let Step::UpdateStatus { object, .. } = step else {
                continue;
            };
            let after = listed(object, "failed");
            for pod in view.list(&PODS, None) {
                let uid = object::uid(&pod);
                let is_new = after.contains(uid) && !before.contains(uid);
                assert!(!is_new || !self.is_ignored(&pod), "not a failure: {pod}");
            }
        }
    }

    /// What the planner did keeps the bounds.
    fn check(&mut self, step: &Step) {
        let Step::Create { kind, .. } = step else {
            return;
        };
        assert!(*kind == &PODS);
        let pods = self.pods();
        let count = |is_one: &dyn Fn(&Value) -> bool| pods.iter().filter(|pod| is_one(pod)).count();
        let stopping = |pod: &Value| {
            let grace = &pod["metadata"]["deletionGracePeriodSeconds"];
            pods::is_terminating(pod) && *grace != 0
        };
        let in_place = match self.shape.replaces_ended_only {
            true => count(&pods::is_active) + count(&stopping),
            false => count(&pods::is_active),
        };
        assert!(in_place as u64 <= self.most, "too many: {step:?}");
        let mut indexes = BTreeSet::new();
        for pod in pods.iter().filter(|pod| pods::is_active(pod)) {
            let key = "batch.kubernetes.io/job-completion-index";
            if let Some(index) = object::annotation(pod, key) {
                assert!(indexes.insert(index.to_owned()), "two of {index}");
            }
        }
    }

    /// Each uid goes into the list once, and out of it into the number.
    fn check_counts(&mut self) {
        let job = self.job();
        let status = &job["status"];
        for field in ["succeeded", "failed"] {
            let listed = listed(&job, field);
            for uid in &listed {
                let before = self.named.insert((*uid).to_owned(), field);
                assert!(
                    before.is_none_or(|before| before == field),
                    "{uid} is in both"
                );
            }
            let named = self.named.values().filter(|one| **one == field).count();
            if field == "failed" || !self.shape.is_indexed {
                let counted = status[field].as_u64().unwrap_or_default();
                assert_eq!(
                    counted as usize + listed.len(),
                    named,
                    "{field} in {status}"
                );
            }
        }
    }

    /// All plans are carried out, until there are no more.
    fn work(&mut self) {
        for _ in 0..10_000 {
            if self.flights.is_empty() && self.cluster.queue.is_empty() {
                return;
            }
            match self.flights.is_empty() {
                true => self.happen(&Happening::Plan(0, NOW)),
                false => self.happen(&Happening::Do(0)),
            }
        }
        panic!("it never rests");
    }

    /// Pods run to their ends.
    fn finish(mut self) {
        self.set("suspend", json!(false));
        self.set("parallelism", json!(self.shape.parallelism));
        for _ in 0..200 {
            let before = self.cluster.now.revision;
            self.work();
            let is_tracked = |pod: &Value| object::finalizers(pod).any(|one| one == FINALIZER);
            for pod in self.pods().iter().filter(|pod| pods::is_active(pod)) {
                assert!(is_tracked(pod), "nobody would count it: {pod}");
            }
            for pod in self.pods() {
                if object::is_being_deleted(&pod) || !pods::is_ready(&pod) && !pods::has_ended(&pod)
                {
                    self.cluster.agent(&pod);
                } else {
                    self.exit(&pod, 0);
                }
            }
            self.cluster.pass(400_000);
            if before == self.cluster.now.revision && self.cluster.queue.is_empty() {
                break;
            }
        }
        self.cluster.assert_at_rest();
        self.assert_over();
    }

    fn assert_over(&self) {
        let job = self.job();
        let status = &job["status"];
        let is = |name: &str| {
            let mut all = object::items(&status["conditions"]);
            all.any(|one| one["type"] == name && one["status"] == "True")
        };
        assert!(is("Complete") != is("Failed"), "{status}");
        assert_eq!(is("Complete"), is("SuccessCriteriaMet"), "{status}");
        assert_eq!(is("Failed"), is("FailureTarget"), "{status}");
        assert_eq!(status["uncountedTerminatedPods"], json!({}));
        for pod in self.pods() {
            assert!(pods::has_ended(&pod), "it still runs: {pod}");
            assert!(object::finalizers(&pod).next().is_none(), "it waits: {pod}");
        }
        let succeeded = status["succeeded"].as_u64().unwrap_or_default();
        if is("Complete") && (self.shape.success_count.is_none() || !self.shape.is_indexed) {
            assert_eq!(succeeded, self.shape.completions, "{status}");
        }
        let done = status["completedIndexes"].as_str().unwrap_or_default();
        let done = Indexes::of_status(done, u32::MAX);
        for (uid, pod) in &self.ended {
            let index = object::annotation(pod, "batch.kubernetes.io/job-completion-index");
            let index: Option<u32> = index.map(|index| index.parse().unwrap());
            match (pods::phase(pod), index) {
                ("Succeeded", Some(index)) if !self.named.contains_key(uid) => {
                    assert!(done.contains(index), "{index} is not noted: {status}");
                }
                (_, _) if self.is_ignored(pod) => {}
                _ => assert!(
                    self.named.contains_key(uid),
                    "{uid} is not counted: {status}"
                ),
            }
        }
    }

    fn is_ignored(&self, pod: &Value) -> bool {
        let code = &pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"];
        *code == 7 && self.shape.replaces_ended_only && self.shape.action == Some("Ignore")
    }
}

/// The uids that the status names on their way into a number.
fn listed<'a>(job: &'a Value, field: &str) -> BTreeSet<&'a str> {
    let uids = object::items(&job["status"]["uncountedTerminatedPods"][field]);
    uids.filter_map(Value::as_str).collect()
}

fn happening() -> impl Strategy<Value = Happening> {
    let code = prop::sample::select(vec![0, 0, 0, 1, 7]);
    prop_oneof![
        30 => (0..6_usize, 0..4_usize).prop_map(|(task, lag)| Happening::Plan(task, lag)),
        60 => (0..6_usize).prop_map(Happening::Do),
        25 => (0..10_usize).prop_map(Happening::Agent),
        12 => (0..10_usize, code).prop_map(|(pod, code)| Happening::Exit(pod, code)),
        3 => (0..10_usize).prop_map(Happening::DeletePod),
        2 => any::<bool>().prop_map(Happening::Suspend),
        2 => (0..5_u64).prop_map(Happening::Parallelism),
        6 => (1..30_u64).prop_map(Happening::Time),
        3 => Just(Happening::Lead),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    let actions = vec![None, Some("Ignore"), Some("FailJob"), Some("Count")];
    let of_indexes = (
        any::<bool>(),
        prop::option::of(0..3_u64),
        prop::option::of(1..3_u64),
    );
    let of_failures = (
        prop::sample::select(vec![0, 2, 6, 50]),
        any::<bool>(),
        prop::sample::select(actions),
    );
    (0..7_u64, 1..4_u64, of_indexes, of_failures).prop_map(
        |(completions, parallelism, (is_indexed, per_index, success_count), of_failures)| {
            let (backoff_limit, replaces_ended_only, action) = of_failures;
            Shape {
                completions,
                parallelism,
                is_indexed,
                per_index,
                backoff_limit,
                replaces_ended_only,
                success_count: success_count.filter(|_| completions > 0),
                action,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn each_pod_of_a_job_counts_once(
        shape in shape(),
        happenings in proptest::collection::vec(happening(), 0..400),
    ) {
        let mut history = History::new(shape);
        for happening in &happenings {
            history.happen(happening);
        }
        history.finish();
    }
}
