//! What a node tells the machines that watch it, and its last words.

use std::sync::Arc;

use atoll_control::{
    api::{ControlApi as _, Status},
    driver::control::Control,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Ends the process: a node that cannot trust its disk or its state must not go on.
pub(crate) fn die(reason: &str) -> ! {
    const EXIT_SOFTWARE: i32 = 70;
    tracing::error!(reason, "this node ends: it cannot go on safely");
    eprintln!("atoll: this node ends: {reason}");
    std::process::exit(EXIT_SOFTWARE)
}

/// Renders everything that is measured as Prometheus text.
pub(crate) fn metrics(control: Control) -> Arc<dyn Fn() -> String + Send + Sync> {
    // A second node in one process (as in tests) shares the first one's recorder or has none.
    let recorder = PrometheusBuilder::new().install_recorder().ok();
    Arc::new(move || render(&control.status(), recorder.as_ref()))
}

fn render(status: &Status, recorder: Option<&PrometheusHandle>) -> String {
    let usage = atoll_world::process::own_usage().ok();
    let gauges = [
        (
            "atoll_control_has_leader",
            "1 if a leader is known.",
            u64::from(status.leader.is_some()),
        ),
        (
            "atoll_control_is_leader",
            "1 if this node leads.",
            u64::from(status.leader == Some(status.node)),
        ),
        (
            "atoll_control_is_learner",
            "1 if this node has no vote.",
            u64::from(status.learner),
        ),
        ("atoll_control_term", "The Raft term.", status.term),
        (
            "atoll_control_last_index",
            "Index of the last log entry here.",
            status.last_index,
        ),
        (
            "atoll_control_committed_index",
            "Index of the last committed entry known here.",
            status.committed_index,
        ),
        (
            "atoll_control_applied_index",
            "Index of the last entry applied here.",
            status.applied_index,
        ),
        (
            "atoll_control_revision",
            "Revision of the users' keyspace.",
            status.revision.0.unsigned_abs(),
        ),
        (
            "atoll_control_store_bytes",
            "Bytes on disk: tables and the journal of the log.",
            status.store_bytes,
        ),
        (
            "atoll_control_quota_bytes",
            "The size of the store at which writes are refused.",
            status.quota_bytes,
        ),
        (
            "atoll_control_alarms",
            "Alarms that are raised in the cluster.",
            status.alarms.len() as u64,
        ),
        (
            "atoll_control_feature_level",
            "The feature level that the cluster is at.",
            u64::from(status.feature_level.0),
        ),
        (
            "atoll_control_feature_level_max",
            "The highest feature level that this node serves.",
            u64::from(status.feature_level_max),
        ),
        (
            "atoll_base_resident_bytes",
            "Memory that this process has in RAM.",
            usage.map_or(0, |usage| usage.resident_bytes),
        ),
        (
            "atoll_base_cpu_us",
            "CPU time that this process has used.",
            usage.map_or(0, |usage| usage.cpu_us),
        ),
    ];
    let mut text = String::new();
    for (name, help, value) in gauges {
        text.push_str(&format!(
            "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"
        ));
    }
    text.push_str(&recorder.map(PrometheusHandle::render).unwrap_or_default());
    text
}
