//! Jobs and what starts them at set times.

use serde_json::Value;

use super::{
    AGE, CONTAINERS, Column, IMAGES, NAME, Printer, SELECTOR,
    age::{age, between, since, time_of},
    cells::{
        NONE, UNSET, containers, is_condition, items, number, selector_or_none, text, text_or,
    },
};
use crate::core::object::{is_being_deleted, name};

pub(super) static JOBS: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Status", "How it stands."),
        Column::text("Completions", "How many pods have succeeded, of how many."),
        Column::text("Duration", "How long it has taken."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |job, now_ms| {
        let [containers, images] = containers(&job["spec"]["template"]["spec"]);
        vec![
            name(job).into(),
            status(job).into(),
            completions(job).into(),
            duration(job, now_ms).into(),
            age(job, now_ms),
            containers,
            images,
            selector_or_none(&job["spec"]["selector"]).into(),
        ]
    },
};

pub(super) static CRON_JOBS: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Schedule", "When jobs are started, as cron writes it."),
        Column::text("Timezone", "The time zone of the schedule."),
        Column::flag("Suspend", "Whether no more jobs are started."),
        Column::count("Active", "How many of its jobs run."),
        Column::text("Last Schedule", "How long ago a job was started."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |cron, now_ms| {
        let (spec, job_spec) = (&cron["spec"], &cron["spec"]["jobTemplate"]["spec"]);
        let [containers, images] = containers(&job_spec["template"]["spec"]);
        let last = match &cron["status"]["lastScheduleTime"] {
            Value::Null => NONE.to_owned(),
            last => since(last, now_ms),
        };
        let suspended = match spec["suspend"].as_bool() {
            Some(true) => "True",
            Some(false) => "False",
            None => UNSET,
        };
        vec![
            name(cron).into(),
            text(&spec["schedule"]).into(),
            text_or(&spec["timeZone"], NONE).into(),
            suspended.into(),
            items(&cron["status"]["active"]).len().into(),
            last.into(),
            age(cron, now_ms),
            containers,
            images,
            selector_or_none(&job_spec["selector"]).into(),
        ]
    },
};

fn status(job: &Value) -> &'static str {
    let is = |condition: &str| is_condition(job, condition);
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if is_being_deleted(job) => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(job: &Value) -> String {
    let succeeded = number(&job["status"]["succeeded"]);
    match (
        job["spec"]["completions"].as_i64(),
        number(&job["spec"]["parallelism"]),
    ) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(job: &Value, now_ms: u64) -> String {
    let status = &job["status"];
    let end_ms = time_of(&status["completionTime"]).unwrap_or(now_ms);
    let start_ms = time_of(&status["startTime"]);
    start_ms
        .map(|start_ms| between(start_ms, end_ms))
        .unwrap_or_default()
}
