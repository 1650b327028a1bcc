//! What a node tells the machines that watch it, and its last words.

use std::{collections::BTreeMap, sync::Arc};

use atoll_control::{
    api::{ControlApi as _, Status},
    driver::control::{Control, Load},
};
use atoll_gateway::Stats;
use atoll_kv::api::EventualStatus;
use atoll_txn::driver::global;
use atoll_world::peers::tls::{TlsPeers, Waiting};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::node::{Coordinator, hot::Hot};

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
    coordinator: Coordinator,
    hot: Hot,
    gateway: Arc<Stats>,
) -> Arc<dyn Fn() -> String + Send + Sync> {
    // A second node in one process (as in tests) shares the first one's recorder or has none.
    let recorder = PrometheusBuilder::new().install_recorder().ok();
    Arc::new(move || {
        let gauges = about(&control.status())
            .into_iter()
            .chain(fill(&control.load(), peers.waiting()));
        let mut text = String::new();
        render(&mut text, "gauge", gauges);
        let load = coordinator.load();
        render(&mut text, "gauge", under_way(&load).into_iter());
        render(&mut text, "counter", done(&load).into_iter());
        render(&mut text, "gauge", led(&gateway).into_iter());
        render(&mut text, "counter", has_led(&gateway).into_iter());
        of_keyspaces(&mut text, &hot.eventual());
        text.push_str(
            &recorder
                .as_ref()
                .map(PrometheusHandle::render)
                .unwrap_or_default(),
        );
        text
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

/// Global transactions that this node brings to their ends.
fn under_way(load: &global::Load) -> [Gauge; 4] {
    [
        (
            "atoll_txn_held",
            "Global transactions in this node's memory.",
            load.held,
        ),
        (
            "atoll_txn_in_doubt",
            "Of these, those of which participants may hold something prepared or half done.",
            load.in_doubt,
        ),
        (
            "atoll_txn_in_doubt_max_ms",
            "For how long the oldest of those has been in its phase.",
            load.in_doubt_ms_max,
        ),
        (
            "atoll_txn_records",
            "Global transactions in the cluster's log.",
            load.records,
        ),
    ]
}

/// What became of global transactions since this node started.
fn done(load: &global::Load) -> [Gauge; 7] {
    [
        (
            "atoll_txn_begun_total",
            "Global transactions that were begun through this node.",
            load.begun,
        ),
        (
            "atoll_txn_committed_total",
            "Global transactions that this node brought to their ends, committed.",
            load.committed,
        ),
        (
            "atoll_txn_aborted_total",
            "Global transactions that this node brought to their ends, aborted.",
            load.aborted,
        ),
        (
            "atoll_txn_mixed_total",
            "Of both, those whose participants have ended differently.",
            load.mixed,
        ),
        (
            "atoll_txn_adopted_total",
            "Global transactions that this node took over.",
            load.adopted,
        ),
        (
            "atoll_txn_retries_total",
            "Orders to participants that were sent again.",
            load.retries,
        ),
        (
            "atoll_txn_postponed_total",
            "Orders to participants that had to wait because too many were under way.",
            load.postponed,
        ),
    ]
}

/// What the gateway leads now.
fn led(stats: &Stats) -> [Gauge; 3] {
    [
        (
            "atoll_gateway_connections",
            "Clients of Services and Ingresses that are connected.",
            u64::from(stats.connections_open.open()),
        ),
        (
            "atoll_gateway_requests",
            "Requests of HTTP that are open.",
            u64::from(stats.requests_open.open()),
        ),
        (
            "atoll_gateway_tunnels",
            "WebSockets that are open.",
            u64::from(stats.tunnels_open.open()),
        ),
    ]
}

/// What the gateway has led since this node started.
fn has_led(stats: &Stats) -> [Gauge; 16] {
    let [_, good, elsewhere, bad, failed] = &stats.answers;
    [
        (
            "atoll_gateway_tcp_connections_total",
            "Connections to Services.",
            stats.tcp_connections.get(),
        ),
        (
            "atoll_gateway_answers_2xx_total",
            "Answers of HTTP with a status of 200 to 299.",
            good.get(),
        ),
        (
            "atoll_gateway_answers_3xx_total",
            "Answers of HTTP with a status of 300 to 399.",
            elsewhere.get(),
        ),
        (
            "atoll_gateway_answers_4xx_total",
            "Answers of HTTP with a status of 400 to 499.",
            bad.get(),
        ),
        (
            "atoll_gateway_answers_5xx_total",
            "Answers of HTTP with a status of 500 and more.",
            failed.get(),
        ),
        (
            "atoll_gateway_retries_total",
            "Requests of HTTP that were tried again.",
            stats.retries.get(),
        ),
        (
            "atoll_gateway_ejections_total",
            "Endpoints that were left out because of how they answered.",
            stats.ejections.get(),
        ),
        (
            "atoll_gateway_connects_total",
            "Connections to endpoints.",
            stats.connects.get(),
        ),
        (
            "atoll_gateway_connect_failures_total",
            "Connections to endpoints that could not be opened.",
            stats.connect_failures.get(),
        ),
        (
            "atoll_gateway_malformed_total",
            "Requests of HTTP that were refused because they could be understood in two ways.",
            stats.malformed.get(),
        ),
        (
            "atoll_gateway_limited_total",
            "Requests and connections that were refused because a limit was reached.",
            stats.limited.get(),
        ),
        (
            "atoll_gateway_hedges_total",
            "Requests that were sent a second time because the first answer took long.",
            stats.hedges.get(),
        ),
        (
            "atoll_gateway_unauthorized_total",
            "Requests that were refused because nobody knew who asks.",
            stats.unauthorized.get(),
        ),
        (
            "atoll_gateway_forbidden_total",
            "Requests and connections that were refused because of where they came from.",
            stats.forbidden.get(),
        ),
        (
            "atoll_gateway_endpoint_handshake_failures_total",
            "TLS with endpoints that failed: one side did not believe the other.",
            stats.endpoint_handshake_failures.get(),
        ),
        (
            "atoll_gateway_handshake_failures_total",
            "Connections whose TLS handshake failed.",
            stats.handshake_failures.get(),
        ),
    ]
}

/// What is measured of eventual keyspaces: name, meaning, value.
type OfKeyspace = (&'static str, &'static str, fn(&EventualStatus) -> u64);

const OF_KEYSPACES: [OfKeyspace; 7] = [
    (
        "atoll_kv_eventual_behind_ms",
        "What is held here has at least all that each other replica had so long ago.",
        |it| it.behind_ms,
    ),
    (
        "atoll_kv_eventual_unknown",
        "Replicas of partitions that were not compared with the ones here yet.",
        |it| it.unknown,
    ),
    (
        "atoll_kv_eventual_filling",
        "Partitions that are new here and take no commands yet.",
        |it| it.filling,
    ),
    (
        "atoll_kv_eventual_keys",
        "Keys that are held here, with those that were removed and not forgotten yet.",
        |it| it.keys,
    ),
    (
        "atoll_kv_eventual_tombstones",
        "Keys in which something is kept until every replica has it.",
        |it| it.tombstones,
    ),
    (
        "atoll_kv_eventual_hints_bytes",
        "What is kept for replicas that could not be reached.",
        |it| it.hints_bytes,
    ),
    (
        "atoll_kv_eventual_hints_dropped",
        "What was kept for replicas and dropped since the start.",
        |it| it.hints_dropped,
    ),
];

/// There are no more keyspaces than have names, so labels are bounded.
fn of_keyspaces(text: &mut String, all: &BTreeMap<String, EventualStatus>) {
    if all.is_empty() {
        return;
    }
    for (name, help, value) in OF_KEYSPACES {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
        for (keyspace, status) in all {
            let value = value(status);
            text.push_str(&format!("{name}{{keyspace=\"{keyspace}\"}} {value}\n"));
        }
    }
}

fn render(text: &mut String, kind: &str, gauges: impl Iterator<Item = Gauge>) {
    for (name, help, value) in gauges {
        text.push_str(&format!(
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
        ));
    }
}
