//! Random histories of one CronJob: time passes, its Jobs end or are deleted, it is suspended,
//! leaders end in the middle of plans. A scheduled time has one Job at most, and Jobs run beside
//! one another only if they may.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    cluster::{Cluster, cron_job, set_exit},
    flights::Flights,
};
use crate::core::{
    controllers::{
        pods,
        world::{Step, View},
    },
    kinds::{CRON_JOBS, JOBS, PODS},
    lifecycle::Deletion,
    object::{self, Name},
    time::{format_rfc3339, parse_rfc3339},
};

/// So far behind that there is no such view: the plan is made from what is.
const NOW: usize = usize::MAX;
/// A Job is due every so many milliseconds.
const PERIOD_MS: u64 = 600_000;

#[derive(Clone, Debug)]
enum Happening {
    /// A task is planned for, from a view that is so far behind.
    Plan(usize, usize),
    /// The next step of a plan is done.
    Do(usize),
    /// The container of a pod ends.
    Exit(usize, i64),
    DeleteJob(usize),
    Suspend(bool),
    Time(u64),
    /// The leader ends, and another one begins.
    Lead,
}

#[derive(Clone, Debug)]
struct Shape {
    policy: &'static str,
    deadline_s: Option<u64>,
    kept: u64,
    ttl_s: Option<u64>,
}

struct History {
    cluster: Cluster,
    flights: Flights,
    shape: Shape,
    /// The uid of the Job of each time.
    made: BTreeMap<u64, String>,
    last: Option<u64>,
}

impl History {
    fn new(shape: Shape) -> History {
        let mut cluster = Cluster::new();
        let mut cron = cron_job("tick", "*/10 * * * *");
        cron["spec"]["concurrencyPolicy"] = json!(shape.policy);
        cron["spec"]["successfulJobsHistoryLimit"] = json!(shape.kept);
        if let Some(deadline_s) = shape.deadline_s {
            cron["spec"]["startingDeadlineSeconds"] = json!(deadline_s);
        }
        let job = &mut cron["spec"]["jobTemplate"]["spec"];
        job["backoffLimit"] = json!(1);
        if let Some(ttl_s) = shape.ttl_s {
            job["ttlSecondsAfterFinished"] = json!(ttl_s);
        }
        cluster.create(&CRON_JOBS, cron).unwrap();
        History {
            cluster,
            flights: Flights::default(),
            shape,
            made: BTreeMap::new(),
            last: None,
        }
    }

    fn cron(&self) -> Arc<Value> {
        self.cluster.get(&CRON_JOBS, "default", "tick").unwrap()
    }

    fn jobs(&self) -> Vec<Arc<Value>> {
        self.cluster.list(&JOBS, None)
    }

    fn happen(&mut self, happening: &Happening) {
        match *happening {
            Happening::Plan(task, lag) => {
                self.flights.plan(&mut self.cluster, task, lag);
            }
            Happening::Do(flight) => {
                if let Some((_, step)) = self.flights.step(&mut self.cluster, flight) {
                    self.check(&step);
                }
            }
            Happening::Exit(pod, code) => {
                if let Some(pod) = self.cluster.list(&PODS, None).get(pod) {
                    self.exit(pod, code);
                }
            }
            Happening::DeleteJob(job) => {
                // Nobody can tell later that there was one that nobody has noted yet.
                let jobs = self.jobs();
                let job = jobs.get(job).filter(|job| scheduled_ms(job) <= self.last);
                if let Some(job) = job {
                    let (name, deletion) = (Name::of(&JOBS, job), Deletion::default());
                    self.cluster.delete(&name, &deletion).unwrap();
                }
            }
            Happening::Suspend(is_suspended) => {
                let change = |cron: &mut Value| cron["spec"]["suspend"] = json!(is_suspended);
                self.cluster.change(&CRON_JOBS, "tick", change);
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
        let last = self.cron()["status"]["lastScheduleTime"].clone();
        let last = last.as_str().and_then(parse_rfc3339);
        assert!(self.last <= last, "{:?} > {last:?}", self.last);
        self.last = last;
    }

    fn exit(&mut self, pod: &Value, code: i64) {
        if pods::has_ended(pod) {
            return;
        }
        let now = format_rfc3339(self.cluster.now_ms);
        let change = |pod: &mut Value| set_exit(pod, code, &now);
        self.cluster.change(&PODS, object::name(pod), change);
    }

    /// What was made may be there.
    fn check(&mut self, step: &Step) {
        let Step::Create { kind, object: made } = step else {
            return;
        };
        if *kind != &JOBS {
            return;
        }
        let found = self
            .cluster
            .get(&JOBS, "default", object::name(made))
            .unwrap();
        let at_ms = scheduled_ms(&found).expect("it was made for a time");
        assert_eq!(at_ms % PERIOD_MS, 0, "no such time: {found}");
        let late_ms = self
            .cluster
            .now_ms
            .checked_sub(at_ms)
            .expect("it is too early");
        assert!(late_ms < PERIOD_MS, "not the last one: {found}");
        assert!(late_ms <= self.shape.deadline_s.unwrap_or(PERIOD_MS) * 1_000);
        let before = self.made.insert(at_ms, object::uid(&found).to_owned());
        assert_eq!(before, None, "a second one: {found}");
        if self.shape.policy != "Allow" {
            assert_eq!(self.active().len(), 1, "not alone: {found}");
        }
    }

    fn active(&self) -> BTreeSet<String> {
        let jobs = self.jobs();
        let active = jobs.iter().filter(|job| end_of(job).is_none());
        active.map(|job| object::uid(job).to_owned()).collect()
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

    /// All Jobs end well; those that have failed before wait for a while.
    fn end_all(&mut self) {
        for _ in 0..2 {
            for pod in self.cluster.list(&PODS, None) {
                self.exit(&pod, 0);
            }
            self.work();
            self.cluster.pass(20_000);
            self.work();
        }
    }

    fn reach_next_time(&mut self) {
        let left_ms = PERIOD_MS - self.cluster.now_ms % PERIOD_MS;
        self.cluster.pass(left_ms);
        self.work();
    }

    fn finish(mut self) {
        self.happen(&Happening::Suspend(false));
        self.work();
        self.reach_next_time();
        self.end_all();
        // From now on, nothing is missed.
        for _ in 0..5 {
            let made = self.made.len();
            self.reach_next_time();
            assert_eq!(self.made.len(), made + 1, "it was missed");
            self.assert_told();
            self.end_all();
            self.assert_told();
        }
        let jobs = self.jobs();
        let succeeded = jobs.iter().filter(|job| end_of(job) == Some("Complete"));
        assert!(succeeded.count() as u64 <= self.shape.kept);
        self.cluster.assert_at_rest();
    }

    /// The status names those that run.
    fn assert_told(&self) {
        let cron = self.cron();
        let listed = object::items(&cron["status"]["active"]);
        let listed = listed.map(|entry| entry["uid"].as_str().unwrap().to_owned());
        assert_eq!(listed.collect::<BTreeSet<String>>(), self.active());
    }
}

fn end_of(job: &Value) -> Option<&str> {
    let mut ended = object::items(&job["status"]["conditions"]).filter(|one| {
        one["status"] == "True" && (one["type"] == "Complete" || one["type"] == "Failed")
    });
    ended.next()?["type"].as_str()
}

fn scheduled_ms(job: &Value) -> Option<u64> {
    let time = object::annotation(job, "batch.kubernetes.io/cronjob-scheduled-timestamp")?;
    parse_rfc3339(time)
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        30 => (0..6_usize, 0..4_usize).prop_map(|(task, lag)| Happening::Plan(task, lag)),
        60 => (0..6_usize).prop_map(Happening::Do),
        10 => (0..6_usize, 0..2_i64).prop_map(|(pod, code)| Happening::Exit(pod, code)),
        3 => (0..6_usize).prop_map(Happening::DeleteJob),
        2 => any::<bool>().prop_map(Happening::Suspend),
        15 => prop::sample::select(vec![10, 300, 600, 2_000]).prop_map(Happening::Time),
        12 => Just(Happening::Lead),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    (
        prop::sample::select(vec!["Allow", "Forbid", "Replace"]),
        prop::option::of(prop::sample::select(vec![0, 60, 400])),
        0..3_u64,
        prop::option::of(0..100_u64),
    )
        .prop_map(|(policy, deadline_s, kept, ttl_s)| Shape {
            policy,
            deadline_s,
            kept,
            ttl_s,
        })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn each_time_has_one_job(
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
