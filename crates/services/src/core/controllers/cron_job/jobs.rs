//! The Jobs of a CronJob: which of them run, and which of the ended ones are too many.

use std::sync::Arc;

use serde_json::Value;

use super::{
    super::{
        conditions,
        owners::is_controlled_by,
        world::{self, BURST, Event, Step, View},
    },
    COMPONENT, SCHEDULED,
};
use crate::core::{
    kinds::{CRON_JOBS, JOBS},
    object,
    time::parse_rfc3339,
};

/// Those that it controls, in order of name.
pub(super) struct Jobs {
    pub(super) all: Vec<Arc<Value>>,
}

impl Jobs {
    pub(super) fn of(view: &dyn View, cron: &Value) -> Jobs {
        let (uid, namespace) = (object::uid(cron), object::namespace(cron));
        let mut all = view.by_owner(&JOBS, uid);
        all.retain(|job| is_controlled_by(job, uid) && object::namespace(job) == namespace);
        Jobs { all }
    }

    /// Those that were made for a time and have not ended. One that somebody has made by hand
    /// stands in nobody's way.
    pub(super) fn active(&self) -> impl Iterator<Item = &Arc<Value>> {
        let scheduled = self.all.iter().filter(|job| scheduled(job).is_some());
        scheduled.filter(|job| end(job).is_none())
    }
}

/// For which time it was made.
pub(super) fn scheduled(job: &Value) -> Option<&str> {
    object::annotation(job, SCHEDULED)
}

/// How it has ended: `Complete` or `Failed`.
pub(super) fn end(job: &Value) -> Option<&'static str> {
    let is = |name: &&str| {
        conditions::find(&job["status"], name).is_some_and(|one| one["status"] == "True")
    };
    ["Complete", "Failed"].into_iter().find(is)
}

/// Deletes the oldest of those that have ended, as far as there are more than are to be kept.
pub(super) fn outdated(cron: &Value, jobs: &Jobs) -> Vec<Step> {
    let limits = [
        ("Complete", "successfulJobsHistoryLimit"),
        ("Failed", "failedJobsHistoryLimit"),
    ];
    let mut steps = Vec::new();
    for (wanted, limit) in limits {
        let Some(limit) = cron["spec"][limit].as_u64() else {
            continue;
        };
        let mut ended: Vec<&Arc<Value>> = jobs.all.iter().collect();
        ended.retain(|job| end(job) == Some(wanted));
        // Those that go already count no more.
        ended.retain(|job| !object::is_being_deleted(job));
        ended.sort_by_key(|job| started_ms(job));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let count = ended.len().saturating_sub(limit).min(BURST);
        steps.extend(ended.iter().take(count).flat_map(|job| delete(cron, job)));
    }
    steps
}

fn started_ms(job: &Value) -> Option<u64> {
    parse_rfc3339(job["status"]["startTime"].as_str()?)
}

/// Deletes a Job, and tells it.
pub(super) fn delete(cron: &Value, job: &Value) -> [Step; 2] {
    let about = world::reference(&CRON_JOBS, cron);
    let message = format!("Deleted job {}", object::name(job));
    let event = Event::normal(COMPONENT, about, "SuccessfulDelete", message);
    [world::delete(&JOBS, job), event]
}
