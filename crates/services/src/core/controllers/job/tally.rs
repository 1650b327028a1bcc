//! What the pods of a Job have come to: those that are in the numbers of its status, those that
//! the status names on their way there, those that are seen to have ended just now, and those
//! that may lose the finalizer once the status is written.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use super::{
    super::pods,
    backoff,
    end::Verdict,
    is_tracked,
    policy::{self, Action},
    spec::Spec,
};
use crate::core::{object, validate::indexes::Indexes};

/// So many pods are on their way into the numbers at a time, as in Kubernetes: a status has to
/// stay small.
const UNCOUNTED_MAX: usize = 500;
/// So many pods lose the finalizer in one plan.
const RELEASED_MAX: usize = 500;

/// How often the pods before it of the same index have failed, and failed without counting; in
/// annotations of a pod.
pub(super) const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
pub(super) const IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// How a pod has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Succeeded,
    Failed,
}

/// How a pod has ended; one that is being stopped counts as failed, either at once or when
/// nothing of it runs.
pub(super) fn outcome(spec: &Spec<'_>, pod: &Value) -> Option<Outcome> {
    match pods::phase(pod) {
        "Succeeded" => Some(Outcome::Succeeded),
        "Failed" => Some(Outcome::Failed),
        _ if is_stopped(pod) => Some(Outcome::Failed),
        _ if object::is_being_deleted(pod) && !spec.replaces_ended_only => Some(Outcome::Failed),
        _ => None,
    }
}

/// Whether only finalizers hold a pod: nothing of it runs, or ever did.
fn is_stopped(pod: &Value) -> bool {
    let grace_s = pod["metadata"]["deletionGracePeriodSeconds"].as_u64();
    object::is_being_deleted(pod) && grace_s.unwrap_or_default() == 0
}

/// Whether it is being stopped, and may still run.
pub(super) fn is_stopping(pod: &Value) -> bool {
    pods::is_terminating(pod) && !is_stopped(pod)
}

/// A number of an annotation.
pub(super) fn annotated(pod: &Value, key: &str) -> u64 {
    let number = object::annotation(pod, key).and_then(|text| text.parse().ok());
    number.unwrap_or_default()
}

/// How many pods of its index have failed before it.
pub(super) fn failures_before(pod: &Value) -> u64 {
    annotated(pod, FAILURES).saturating_add(annotated(pod, IGNORED_FAILURES))
}

pub(super) struct Tally {
    /// In the numbers of the status.
    counted_succeeded: u64,
    pub(super) counted_failed: u64,
    /// The uids in `uncountedTerminatedPods`.
    pub(super) uncounted_succeeded: Vec<String>,
    pub(super) uncounted_failed: Vec<String>,
    /// Seen to have ended, and in neither.
    new_succeeded: u64,
    new_failed: u64,
    /// The indexes that have succeeded, and those that have failed if that is counted.
    pub(super) completed: Indexes,
    pub(super) failed_indexes: Option<Indexes>,
    /// The last pod of each index that has failed and is to be replaced: it is kept until then,
    /// since it knows how often that was so.
    pub(super) to_replace: BTreeMap<u32, Arc<Value>>,
    /// Those that may lose the finalizer.
    released: Vec<Arc<Value>>,
}

impl Tally {
    /// What there is, before anything new is noted.
    pub(super) fn of(spec: &Spec<'_>, job: &Value, owned: &[Arc<Value>]) -> Tally {
        let status = &job["status"];
        let tracked = owned.iter().filter(|pod| is_tracked(pod));
        let uids: BTreeSet<&str> = tracked.clone().map(|pod| object::uid(pod)).collect();
        let uncounted = |field: &str| {
            let named = object::items(&status["uncountedTerminatedPods"][field]);
            let named = named.filter_map(Value::as_str).map(str::to_owned);
            let (waiting, gone): (Vec<String>, Vec<String>) =
                named.partition(|uid| uids.contains(uid.as_str()));
            let counted = status[field].as_u64().unwrap_or_default();
            (waiting, counted + gone.len() as u64)
        };
        let (uncounted_succeeded, counted_succeeded) = uncounted("succeeded");
        let (uncounted_failed, counted_failed) = uncounted("failed");
        let mut tally = Tally {
            counted_succeeded,
            counted_failed,
            uncounted_succeeded,
            uncounted_failed,
            new_succeeded: 0,
            new_failed: 0,
            completed: Indexes::default(),
            failed_indexes: None,
            to_replace: BTreeMap::new(),
            released: Vec::new(),
        };
        for pod in tracked.filter(|pod| spec.counts(pod)) {
            match outcome(spec, pod) {
                Some(Outcome::Succeeded) if !tally.is_noted(pod) => tally.new_succeeded += 1,
                Some(Outcome::Failed) if !tally.is_noted(pod) => {
                    let is_counted = policy::of_failure(spec, pod) != Action::Ignore;
                    tally.new_failed += u64::from(is_counted);
                }
                _ => {}
            }
        }
        if spec.is_indexed {
            tally.look_at_indexes(spec, status, owned);
        }
        tally
    }

    /// Whether the status names it.
    fn is_noted(&self, pod: &Value) -> bool {
        let mut noted = self
            .uncounted_succeeded
            .iter()
            .chain(&self.uncounted_failed);
        noted.any(|uid| uid == object::uid(pod))
    }

    fn look_at_indexes(&mut self, spec: &Spec<'_>, status: &Value, owned: &[Arc<Value>]) {
        let known = |field: &str| {
            let text = status[field].as_str().unwrap_or_default();
            Indexes::of_status(text, spec.indexes())
        };
        let tracked = || owned.iter().filter(|pod| is_tracked(pod));
        let succeeded = tracked()
            .filter(|pod| outcome(spec, pod) == Some(Outcome::Succeeded) && !self.is_noted(pod));
        self.completed =
            known("completedIndexes").with(succeeded.filter_map(|pod| spec.index_of(pod)));
        let Some(limit) = spec.backoff_limit_per_index else {
            return;
        };
        let failed = tracked().filter(|pod| fails_index(spec, pod, limit));
        let failed = failed.filter_map(|pod| spec.index_of(pod));
        let failed = failed.filter(|index| !self.completed.contains(*index));
        let failed = known("failedIndexes").with(failed);
        self.to_replace = self.last_failures(spec, owned, &failed);
        self.failed_indexes = Some(failed);
    }

    fn last_failures(
        &self,
        spec: &Spec<'_>,
        owned: &[Arc<Value>],
        failed: &Indexes,
    ) -> BTreeMap<u32, Arc<Value>> {
        let active: BTreeSet<u32> = owned
            .iter()
            .filter(|pod| pods::is_active(pod))
            .filter_map(|pod| spec.index_of(pod))
            .collect();
        let mut last: BTreeMap<u32, Arc<Value>> = BTreeMap::new();
        for pod in owned.iter().filter(|pod| is_tracked(pod)) {
            let Some(index) = spec.index_of(pod) else {
                continue;
            };
            let is_over = self.completed.contains(index) || failed.contains(index);
            let is_failed = outcome(spec, pod) == Some(Outcome::Failed);
            if !is_failed || is_over || active.contains(&index) {
                continue;
            }
            let rank = |pod: &Value| (failures_before(pod), backoff::ended_ms(pod));
            if last
                .get(&index)
                .is_none_or(|other| rank(other) <= rank(pod))
            {
                last.insert(index, pod.clone());
            }
        }
        last
    }

    /// How many have succeeded: of an indexed Job, how many indexes.
    pub(super) fn succeeded(&self, spec: &Spec<'_>) -> u64 {
        if spec.is_indexed {
            return self.completed.count();
        }
        self.counted_succeeded + self.uncounted_succeeded.len() as u64 + self.new_succeeded
    }

    /// How many have failed.
    pub(super) fn failed(&self) -> u64 {
        self.counted_failed + self.uncounted_failed.len() as u64 + self.new_failed
    }

    /// `status.succeeded`.
    pub(super) fn counted_succeeded(&self, spec: &Spec<'_>) -> u64 {
        match spec.is_indexed {
            true => self.completed.count(),
            false => self.counted_succeeded,
        }
    }

    /// Notes what is new, and which pods may lose the finalizer then: those that have ended, and
    /// all when the Job has, or is being deleted.
    pub(super) fn record(
        &mut self,
        spec: &Spec<'_>,
        job: &Value,
        owned: &[Arc<Value>],
        verdict: Option<&Verdict>,
    ) {
        let is_over = verdict.is_some() || object::is_being_deleted(job);
        for pod in owned.iter().filter(|pod| is_tracked(pod)) {
            let noted = self.uncounted_succeeded.len() + self.uncounted_failed.len();
            if self.released.len() >= RELEASED_MAX {
                return;
            }
            // Those that are noted have to go for others to have room.
            if noted >= UNCOUNTED_MAX && !self.is_noted(pod) {
                continue;
            }
            let outcome = outcome(spec, pod);
            let is_kept = outcome == Some(Outcome::Failed) && self.is_to_replace(pod);
            if !is_over && (outcome.is_none() || is_kept) {
                continue;
            }
            self.released.push(pod.clone());
            // A pod that still runs when the Job has failed has failed with it.
            let of_job = verdict.filter(|verdict| verdict.is_failure);
            let outcome = outcome.or(of_job.map(|_| Outcome::Failed));
            if self.is_noted(pod) || !spec.counts(pod) {
                continue;
            }
            let uid = || object::uid(pod).to_owned();
            match outcome {
                // The index is noted already.
                Some(Outcome::Succeeded) if spec.is_indexed => {}
                Some(Outcome::Succeeded) => self.uncounted_succeeded.push(uid()),
                Some(Outcome::Failed) if policy::of_failure(spec, pod) != Action::Ignore => {
                    self.uncounted_failed.push(uid());
                }
                _ => {}
            }
        }
    }

    fn is_to_replace(&self, pod: &Value) -> bool {
        let mut kept = self.to_replace.values();
        kept.any(|kept| object::uid(kept) == object::uid(pod))
    }

    /// The pods that may lose the finalizer once the status is written.
    pub(super) fn released(&self) -> impl Iterator<Item = &Arc<Value>> {
        self.released.iter()
    }

    pub(super) fn is_released(&self, pod: &Value) -> bool {
        let mut all = self.released.iter();
        all.any(|released| object::uid(released) == object::uid(pod))
    }
}

/// Whether an index has failed with this pod.
fn fails_index(spec: &Spec<'_>, pod: &Value, limit: u64) -> bool {
    if outcome(spec, pod) != Some(Outcome::Failed) {
        return false;
    }
    match policy::of_failure(spec, pod) {
        Action::FailIndex => true,
        Action::Ignore => false,
        Action::Count | Action::FailJob(_) => annotated(pod, FAILURES) >= limit,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_full_list_of_the_uncounted_goes_on_after_a_plan_was_cut_short() {
        let uid = |number: usize| format!("u-{number}");
        let pods: Vec<Arc<Value>> = (0..600)
            .map(|number| {
                Arc::new(json!({
                    "metadata": {"uid": uid(number), "finalizers": [super::super::FINALIZER]},
                    "status": {"phase": "Failed"},
                }))
            })
            .collect();
        // A leader has written them down and has ended before it let any of them go.
        let noted: Vec<String> = (100..600).map(uid).collect();
        let job = json!({
            "spec": {"parallelism": 600, "completions": 600, "template": {}},
            "status": {"uncountedTerminatedPods": {"failed": noted}},
        });
        let spec = Spec::of(&job);
        let mut tally = Tally::of(&spec, &job, &pods);
        tally.record(&spec, &job, &pods, None);
        let released: Vec<&str> = tally.released().map(|pod| object::uid(pod)).collect();
        assert_eq!(released, noted);
        assert_eq!(tally.uncounted_failed, noted, "and no more are noted");
    }
}
