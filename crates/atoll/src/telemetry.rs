//! What a node tells the machines that watch it, and its last words.

use std::sync::Arc;

use atoll_control::{
    api::{ControlApi as _, Status},
    driver::control::{Control, Load},
};
use atoll_world::peers::tls::{TlsPeers, Waiting};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Ends the process: a node that cannot trust its disk or its state must not go on.
pub(crate) fn die(reason: &str) -> ! {
    const EXIT_SOFTWARE: i32 = 70;
    tracing::error!(reason, "this node ends: it cannot go on safely");
    eprintln!("atoll: this node ends: {reason}");
    std::process::exit(EXIT_SOFTWARE)
}

/// Renders everything that is measured as Prometheus text.
pub(crate) fn metrics(
    control: Control,
    peers: Arc<TlsPeers>,
) -> Arc<dyn Fn() -> String + Send + Sync> {
    // A second node in one process (as in tests) shares the first one's recorder or has none.
    let recorder = PrometheusBuilder::new().install_recorder().ok();
    Arc::new(move || {
        let gauges = about(&control.status())
            .into_iter()
            .chain(fill(&control.load(), peers.waiting()));
        render(gauges, recorder.as_ref())
    })
}

/// Name, meaning, value.
type Gauge = (&'static str, &'static str, u64);

/// Where this node and its cluster stand.
fn about(status: &Status) -> Vec<Gauge> {
    let usage = atoll_world::process::own_usage().ok();
    vec![
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
    ]
}

/// How full is what has a bound.
fn fill(load: &Load, waiting: Waiting) -> [Gauge; 14] {
    let watches = &load.watches;
    let gauge = |name, help, value: usize| (name, help, value as u64);
    [
        gauge(
            "atoll_control_proposals",
            "Commands of this node that have no answer yet.",
            load.proposals,
        ),
        gauge(
            "atoll_control_reads",
            "Linearizable reads that wait for a round to begin.",
            load.reads,
        ),
        gauge(
            "atoll_control_pending_bytes",
            "What was applied here and is not in the store yet.",
            load.pending_bytes,
        ),
        gauge(
            "atoll_control_logins",
            "Logins in the cluster.",
            load.logins,
        ),
        gauge(
            "atoll_control_leases",
            "Leases in the cluster.",
            load.leases,
        ),
        gauge(
            "atoll_control_watch_streams",
            "Streams of watches on this node.",
            watches.streams,
        ),
        gauge(
            "atoll_control_watches",
            "Watches on this node.",
            watches.watchers,
        ),
        gauge(
            "atoll_control_watches_lagging",
            "Watches that have fallen behind and read from the store.",
            watches.lagging,
        ),
        gauge(
            "atoll_control_watch_history_revisions",
            "Revisions kept in memory for watches.",
            watches.ring_revisions,
        ),
        (
            "atoll_control_watch_history_bytes",
            "Bytes of the revisions kept in memory for watches.",
            watches.ring_bytes,
        ),
        (
            "atoll_control_watch_queued_bytes",
            "Bytes that wait for clients to read them.",
            watches.queued_bytes,
        ),
        gauge(
            "atoll_world_peer_messages",
            "Messages to other nodes that are not sent yet.",
            waiting.messages,
        ),
        gauge(
            "atoll_world_peer_bytes",
            "Bytes to other nodes that are not sent yet.",
            waiting.bytes,
        ),
        gauge(
            "atoll_world_peer_calls",
            "Calls to other nodes that have no answer yet.",
            waiting.calls,
        ),
    ]
}

fn render(gauges: impl Iterator<Item = Gauge>, recorder: Option<&PrometheusHandle>) -> String {
    let mut text = String::new();
    for (name, help, value) in gauges {
        text.push_str(&format!(
            "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"
        ));
    }
    text.push_str(&recorder.map(PrometheusHandle::render).unwrap_or_default());
    text
}
