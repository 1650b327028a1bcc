//! What a Job asks for, with its defaults.

use serde_json::Value;

use super::COMPLETION_INDEX;
use crate::core::object;

/// How many pods may fail, if nothing is said.
const BACKOFF_LIMIT: u64 = 6;

pub(super) struct Spec<'a> {
    /// How many pods run at a time at most.
    pub(super) parallelism: u64,
    /// How many have to succeed; none: one, and then all that run have to end.
    pub(super) completions: Option<u64>,
    pub(super) is_indexed: bool,
    /// More failures than that fail it.
    pub(super) backoff_limit: u64,
    /// More failures of an index than that fail the index.
    pub(super) backoff_limit_per_index: Option<u64>,
    pub(super) max_failed_indexes: Option<u64>,
    pub(super) active_deadline_s: Option<u64>,
    pub(super) is_suspended: bool,
    /// A pod is replaced when it has ended; not when it begins to.
    pub(super) replaces_ended_only: bool,
    /// Containers are restarted in their pods.
    pub(super) restarts: bool,
    pub(super) failure_rules: &'a [Value],
    pub(super) success_rules: &'a [Value],
}

impl<'a> Spec<'a> {
    pub(super) fn of(job: &'a Value) -> Spec<'a> {
        let spec = &job["spec"];
        let rules = |policy: &str| {
            let rules = spec[policy]["rules"].as_array();
            rules.map(Vec::as_slice).unwrap_or_default()
        };
        let is_indexed = spec["completionMode"] == "Indexed";
        let per_index = spec["backoffLimitPerIndex"].as_u64();
        Spec {
            parallelism: spec["parallelism"].as_u64().unwrap_or(1),
            completions: spec["completions"].as_u64(),
            is_indexed,
            backoff_limit: spec["backoffLimit"].as_u64().unwrap_or(BACKOFF_LIMIT),
            backoff_limit_per_index: per_index.filter(|_| is_indexed),
            max_failed_indexes: spec["maxFailedIndexes"].as_u64(),
            active_deadline_s: spec["activeDeadlineSeconds"].as_u64(),
            is_suspended: spec["suspend"] == true,
            replaces_ended_only: spec["podReplacementPolicy"] == "Failed"
                || spec["podFailurePolicy"].is_object(),
            restarts: spec["template"]["spec"]["restartPolicy"] == "OnFailure",
            failure_rules: rules("podFailurePolicy"),
            success_rules: if is_indexed {
                rules("successPolicy")
            } else {
                &[]
            },
        }
    }

    /// How many indexes there are.
    pub(super) fn indexes(&self) -> u32 {
        let completions = self.completions.unwrap_or_default();
        u32::try_from(completions).unwrap_or(u32::MAX)
    }

    /// A pod's index, if it has one of those that there are.
    pub(super) fn index_of(&self, pod: &Value) -> Option<u32> {
        let index = object::annotation(pod, COMPLETION_INDEX)?.parse().ok()?;
        (index < self.indexes()).then_some(index)
    }

    /// Whether a pod's end counts: those of an indexed Job need an index.
    pub(super) fn counts(&self, pod: &Value) -> bool {
        !self.is_indexed || self.index_of(pod).is_some()
    }
}
