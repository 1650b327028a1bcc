//! Safety under faults, then liveness without: clients work while a plan goes wrong, then
//! everything is healed and the cluster has to answer again.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use atoll_control::{api::ControlApi as _, driver::control::Settings, log::LogSettings};
use atoll_world::{clock, journal::Durability, peers::sim::Faults, random::Stream, task};

use super::simulate;
use crate::{
    check::{self, Verdict},
    clients::{self, Load},
    cluster::{Cluster, NODES, Setup, until},
    history::{History, Op, Outcome, Recorder},
    node::{End, FAST_DISK, Node},
    observers,
    plan::{Fault, Plan, Whom},
    tenants,
};

/// How long things go wrong.
const STORM: Duration = Duration::from_secs(6);
/// How long clients go on after that.
const CALM: Duration = Duration::from_millis(1_500);
/// How long the healed cluster may take until it answers everywhere.
const LIVE_MAX: Duration = Duration::from_secs(15);
/// How many clients there are, at least and at most.
const CLIENTS: (usize, usize) = (3, 7);
/// How many tenants there are, at the most.
const TENANTS_MAX: usize = 2;
/// Number of the client that asks at the end.
const LAST_CLIENT: usize = 99;

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What the checkers say.
    pub verdict: Verdict,
    /// A number for everything that happened: the same in every run of a seed.
    pub trace: u64,
    /// Calls, and how many of them got an answer.
    pub calls: (usize, usize),
    /// Starts of nodes.
    pub boots: u64,
    /// Changes that were committed.
    pub changes: usize,
    /// Compactions that were acknowledged.
    pub compactions: usize,
    /// Leases that had a key.
    pub leases: usize,
    /// Nodes that were removed for others.
    pub replacements: usize,
}

/// The plan of a seed.
pub fn plan(seed: u64) -> Plan {
    draw(seed).1
}

fn draw(seed: u64) -> (Setup, Plan, Stream) {
    let mut random = Stream::new(seed);
    // Small, so that snapshots and new segments come often.
    let snapshot_entries = [60, 250, 2_000][random.range(0..3)];
    let settings = Settings {
        log: LogSettings {
            snapshot_entries,
            kept_entries: snapshot_entries / 2,
            ..LogSettings::default()
        },
        request_timeout: Duration::from_secs(3),
        ..Settings::default()
    };
    let setup = Setup {
        settings,
        segment_bytes: [16 << 10, 64 << 10, 256 << 10][random.range(0..3)],
        durability: Durability::Always,
        // A process that cannot go on ends, or takes its machine along.
        fatal_end: [End::Kill, End::Power][random.range(0..2)],
    };
    let plan = Plan::draw(&mut random, STORM, NODES as usize);
    (setup, plan, random)
}

/// Runs a seed with its own plan, and checks what happened.
pub fn run(seed: u64) -> Report {
    run_plan(seed, &plan(seed), Durability::Always)
}

/// Runs a seed with another plan than its own.
pub fn run_plan(seed: u64, plan: &Plan, durability: Durability) -> Report {
    let plan = plan.clone();
    let ((mut history, trace, boots), panics) = simulate(seed, || async move {
        let (mut setup, _, mut random) = draw(seed);
        setup.durability = durability;
        let recorder = Recorder::default();
        let mut boots = 0;
        let mut fingerprint = 0;
        match Cluster::form(&mut random, &setup).await {
            Ok(cluster) => {
                let cluster = Arc::new(cluster);
                if let Err(stuck) = storm(&cluster, &plan, &mut random, &recorder).await {
                    recorder.fault(stuck);
                }
                boots = cluster.nodes.iter().map(|node| node.boot()).sum();
                fingerprint = cluster.net.fingerprint();
                cluster.end().await;
            }
            Err(error) => recorder.fault(error),
        }
        let history = recorder.take();
        let trace = trace(fingerprint, &history);
        (history, trace, boots)
    });
    history
        .faults
        .extend(panics.into_iter().map(|panic| format!("a panic: {panic}")));
    let answered = history
        .calls
        .iter()
        .filter(|call| matches!(call.outcome, Outcome::Done { .. }));
    let done = |wanted: fn(&Op) -> bool| {
        let calls = history.calls.iter();
        calls
            .filter(|call| wanted(&call.op) && matches!(call.outcome, Outcome::Done { .. }))
            .count()
    };
    Report {
        compactions: done(|op| matches!(op, Op::Compact { .. })),
        leases: done(|op| matches!(op, Op::Put { key, .. } if *key >= tenants::FIRST_KEY)),
        replacements: history.retired.len(),
        calls: (history.calls.len(), answered.count()),
        changes: history.watched.values().map(Vec::len).max().unwrap_or(0),
        verdict: check::check(&history),
        trace,
        boots,
    }
}

fn trace(fingerprint: u64, history: &History) -> u64 {
    let mut hasher = DefaultHasher::new();
    fingerprint.hash(&mut hasher);
    format!("{history:?}").hash(&mut hasher);
    hasher.finish()
}

async fn storm(
    cluster: &Arc<Cluster>,
    plan: &Plan,
    random: &mut Stream,
    recorder: &Recorder,
) -> Result<(), String> {
    let until = clock::now() + STORM + CALM;
    let load = Arc::new(Load::new(
        cluster.nodes.clone(),
        recorder.clone(),
        until,
        random.range(1..5),
        Duration::from_millis([5, 30, 100][random.range(0..3)]),
    ));
    for node in &cluster.nodes {
        task::spawn(observers::watch(node.clone(), recorder.clone()));
    }
    let looking = task::spawn(observers::look(cluster.nodes.clone(), recorder.clone()));
    let mut clients: Vec<_> = (0..random.range(CLIENTS.0..=CLIENTS.1))
        .map(|client| task::spawn(clients::run(client, load.clone(), random.u64())))
        .collect();
    clients.extend(
        (0..random.range(0..=TENANTS_MAX))
            .map(|tenant| task::spawn(tenants::run(tenant, load.clone(), random.u64()))),
    );
    wreck(cluster, plan, recorder).await;
    clock::sleep_until(load.start + STORM).await;
    cluster.heal();
    for client in clients {
        // A panic is noted by itself.
        let _ = client.await;
    }
    let settled = clock::timeout(LIVE_MAX, settle(cluster, &load)).await;
    looking.abort();
    settled.map_err(|_| format!("no life {LIVE_MAX:?} after everything was healed"))
}

/// Everything answers, and everybody has everything.
async fn settle(cluster: &Cluster, load: &Load) {
    cluster.heal();
    cluster.whole().await;
    let mut last = 0;
    for node in cluster.enlisted() {
        last = last.max(write_through(load, node).await);
    }
    for node in cluster.enlisted() {
        let caught_up = || {
            load.recorder.with(|history| {
                let changes = history.watched.get(&node.id);
                changes
                    .and_then(|changes| changes.last())
                    .is_some_and(|change| change.revision >= last)
            })
        };
        until(caught_up).await;
        let get = Op::List {
            serializable: false,
        };
        load.call(LAST_CLIENT, node, get).await;
        if let Some(running) = node.running() {
            observers::hash(node, running, &load.recorder).await;
        }
    }
}

/// Writes through a node until that is acknowledged; answers the revision.
async fn write_through(load: &Load, node: &Node) -> i64 {
    loop {
        node.wait_running().await;
        let put = Op::Put {
            key: 0,
            value: load.fresh_value(),
        };
        if let Some(Outcome::Done { revision, .. }) = load.call(LAST_CLIENT, node, put).await {
            return revision;
        }
        clock::sleep(Duration::from_millis(10)).await;
    }
}

async fn wreck(cluster: &Arc<Cluster>, plan: &Plan, recorder: &Recorder) {
    let start = clock::now();
    for step in &plan.0 {
        clock::sleep_until(start + step.at).await;
        for _ in 0..step.turns {
            task::yield_now().await;
        }
        tracing::info!(at_ms = step.at.as_millis(), fault = ?step.fault, "goes wrong");
        inflict(cluster, &step.fault, recorder);
    }
}

fn whom(cluster: &Cluster, whom: Whom) -> Option<Arc<Node>> {
    match whom {
        Whom::Node(at) => Some(present(cluster, at)),
        Whom::Leader => cluster.leader(),
    }
}

/// One of the nodes that belong to the cluster now. There is always one: who is removed has a
/// successor before another is.
fn present(cluster: &Cluster, at: usize) -> Arc<Node> {
    let present: Vec<_> = cluster.enlisted().collect();
    present[at % present.len()].clone()
}

/// Does something after a while.
fn later(after: Duration, act: impl FnOnce() + Send + 'static) {
    task::spawn(async move {
        clock::sleep(after).await;
        act();
    });
}

fn inflict(cluster: &Arc<Cluster>, fault: &Fault, recorder: &Recorder) {
    match fault {
        Fault::Crash(node, end, down) => {
            if let Some(node) = whom(cluster, *node) {
                node.end(*end);
                let down = *down;
                later(down, move || node.start());
            }
        }
        Fault::CrashAll(end, down) => {
            for node in cluster.nodes.clone() {
                node.end(*end);
                later(*down, move || node.start());
            }
        }
        Fault::KillThenPower(node, between) => {
            if let Some(node) = whom(cluster, *node) {
                node.end(End::Kill);
                node.start();
                let again = *between;
                later(*between, move || {
                    node.end(End::Power);
                    later(again, move || node.start());
                });
            }
        }
        Fault::TakeImages => cluster.enlisted().for_each(|node| node.take_image()),
        Fault::RestoreImages => {
            // None starts before all have ended.
            cluster.enlisted().for_each(|node| node.restore_image());
            cluster.enlisted().for_each(Node::start);
        }
        Fault::SlowDisk(node, slowest, lasts) => {
            if let Some(node) = whom(cluster, *node) {
                node.set_sync_latency((Duration::from_millis(1), *slowest));
                later(*lasts, move || node.set_sync_latency(FAST_DISK));
            }
        }
        Fault::FailSync(node, nth) => {
            if let Some(node) = whom(cluster, *node) {
                node.fail_sync(*nth);
            }
        }
        Fault::Skew(node, offset_ms, drift_ppm) => {
            present(cluster, *node).set_clock(*offset_ms, *drift_ppm);
        }
        Fault::Replace(node) => {
            if let Some(node) = whom(cluster, *node) {
                let (cluster, recorder) = (cluster.clone(), recorder.clone());
                task::spawn(async move {
                    let victim = node.id;
                    cluster.replace(node.clone()).await;
                    if !node.is_enlisted() {
                        recorder.with(|history| history.retired.insert(victim));
                    }
                });
            }
        }
        Fault::MoveLeader(to) => {
            let heir = present(cluster, *to);
            if let Some(running) = heir.running() {
                let to = heir.id;
                task::spawn(async move {
                    // It may be refused; the cluster is in trouble.
                    let _ = running
                        .call(move |control| async move { control.move_leader(to).await })
                        .await;
                });
            }
        }
        other => inflict_on_links(cluster, other),
    }
}

fn inflict_on_links(cluster: &Arc<Cluster>, fault: &Fault) {
    let net = cluster.net.clone();
    let id = |at: usize| present(cluster, at).id;
    match fault {
        Fault::Isolate(node, lasts) => {
            if let Some(node) = whom(cluster, *node) {
                net.isolate(node.id);
                later(*lasts, move || net.heal());
            }
        }
        Fault::Cut(from, to, lasts) => {
            let (from, to) = (id(*from), id(*to));
            net.cut(from, to);
            later(*lasts, move || net.heal_way(from, to));
        }
        Fault::Reset(from, to) => net.reset(id(*from), id(*to)),
        Fault::BadNetwork {
            delay_ms_max,
            loss,
            lasts,
        } => {
            net.set_faults(Faults {
                delay: (
                    Duration::from_micros(100),
                    Duration::from_millis(*delay_ms_max),
                ),
                loss: *loss,
                late: 0.5,
                ..Faults::default()
            });
            later(*lasts, move || net.set_faults(Faults::default()));
        }
        other => unreachable!("{other:?} is none of links"),
    }
}
