//! Gives many pods to many nodes, through the API and the log, and tells how long it takes. One
//! node of Atoll simulates all the others, so everything but the programs is real: TLS, the
//! objects, controllers, scheduler, agents, the journal on the disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::PathBuf,
    time::Duration,
};

use atoll_e2e::{
    cluster::Cluster,
    command::{Kind, Place, Server},
    kubernetes::{Api, Row, Rows, Session},
};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    error::{Error, Result},
    process::{Usage, usage},
};

const NODES: &str = "/api/v1/nodes";
const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
/// The nodes that are simulated.
const SIMULATED: &str = "labelSelector=atoll.dev%2Fsimulated%3Dtrue";
/// How long all nodes together may take to be there.
const NODES_WAIT: Duration = Duration::from_secs(600);
/// How often it is looked whether they are.
const NODES_POLL: Duration = Duration::from_millis(500);
/// Nothing takes so long that goes on at all.
const STANDSTILL: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Args)]
pub(crate) struct SchedulerOptions {
    /// An atoll binary (build it with --release).
    #[arg(long)]
    pub(crate) atoll: PathBuf,
    /// Directory on the disk to use.
    #[arg(long, default_value = "/var/tmp")]
    pub(crate) disk: PathBuf,
    /// How many nodes are simulated.
    #[arg(long, default_value_t = 5_000)]
    pub(crate) nodes: usize,
    /// How many pods there are to be.
    #[arg(long, default_value_t = 50_000)]
    pub(crate) pods: usize,
    /// So many of them are of one Deployment.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) replicas: usize,
    /// The pods are of no Deployment: clients make them.
    #[arg(long)]
    pub(crate) direct: bool,
    /// So many clients do that.
    #[arg(long, default_value_t = 32)]
    pub(crate) clients: usize,
    /// Thousandths of a processor that each pod asks for.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) milli_cpu: u64,
    /// Mebibytes of memory that each pod asks for.
    #[arg(long, default_value_t = 4_096)]
    pub(crate) mebibytes: u64,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Placed {
    pub(crate) nodes: usize,
    pub(crate) pods: usize,
    /// Pods of Deployments, or made by clients.
    pub(crate) direct: bool,
    /// From the start of the process until all nodes were ready.
    pub(crate) nodes_ready_s: f64,
    /// From the first binding to the last one.
    pub(crate) binding_s: f64,
    pub(crate) bindings_per_second: f64,
    /// The same in the best second of all.
    pub(crate) bindings_per_second_max: usize,
    /// From the first request until all pods ran.
    pub(crate) running_s: f64,
    pub(crate) nodes_used: usize,
    /// What pods ask for of what the nodes that they are on have.
    pub(crate) cpu_used: f64,
    pub(crate) memory_used: f64,
    /// How many pods are on a node that has some.
    pub(crate) pods_per_node_min: usize,
    pub(crate) pods_per_node_max: usize,
    /// Of the whole process, for everything, until all pods ran.
    pub(crate) cpu_us_per_binding: f64,
    pub(crate) rss_bytes: u64,
    /// What the process has more than when nodes were there alone.
    pub(crate) rss_bytes_per_pod: u64,
    /// What it had by then, each node counted.
    pub(crate) rss_bytes_per_node: u64,
}

/// Starts it, fills it, and watches.
pub(crate) async fn run(options: &SchedulerOptions) -> Result<Placed> {
    if options.pods == 0 || options.nodes == 0 || options.replicas == 0 || options.clients == 0 {
        let why = "there is nothing to place, or nowhere".to_owned();
        return Err(Error::Options(why));
    }
    let path = options.atoll.canonicalize();
    let server = Server {
        kind: Kind::Atoll,
        path: path.map_err(Error::io("find the atoll binary"))?,
    };
    let simulated = options.nodes.to_string();
    let environment = [
        ("ATOLL_SERVICES_SIMULATED_NODES", simulated.as_str()),
        ("ATOLL_SERVICES_RUN_PODS", "false"),
    ];
    let begun = Instant::now();
    let places = [Place::default()];
    let cluster = Cluster::start_at(&server, &places, &options.disk, &environment).await?;
    let (api, pids) = (Api::of(&cluster.nodes[0]), cluster.pids());
    let empty = usage(&pids)?;
    let mut session = api.session().await;
    let nodes = nodes_ready(&mut session, options.nodes).await?;
    let nodes_ready_s = begun.elapsed().as_secs_f64();
    eprintln!("{} nodes are ready after {nodes_ready_s:.1} s", nodes.len());
    let before = usage(&pids)?;
    let rows = api.session().await.watch_rows(PODS).await;
    let begun = Instant::now();
    let mut making = make(&api, options).await;
    let watched = watch(rows, options.pods, &mut making).await?;
    let after = usage(&pids)?;
    Ok(told(
        options,
        &nodes,
        &watched,
        begun,
        nodes_ready_s,
        [empty, before, after],
    ))
}

/// What one node has.
struct Room {
    milli_cpu: u64,
    mebibytes: u64,
}

/// Waits until all nodes are ready; what they have, by name.
async fn nodes_ready(session: &mut Session, count: usize) -> Result<BTreeMap<String, Room>> {
    let deadline = Instant::now() + NODES_WAIT;
    loop {
        // Asks for few first: a list of all of them is long.
        let few = session.get(&format!("{NODES}?limit=1")).await.json();
        let left = few["metadata"]["remainingItemCount"].as_u64().unwrap_or(0);
        let items = few["items"].as_array().map_or(0, Vec::len) as u64;
        if left + items >= count as u64 {
            let all = session.get(&format!("{NODES}?{SIMULATED}")).await.json();
            let items = all["items"].as_array().into_iter().flatten();
            let ready = items.filter(|node| is_ready(node));
            let ready: BTreeMap<String, Room> = ready.map(room).collect();
            if ready.len() == count {
                return Ok(ready);
            }
        }
        if Instant::now() > deadline {
            return Err(Error::Answer(format!(
                "{count} nodes are not ready in time"
            )));
        }
        sleep(NODES_POLL).await;
    }
}

fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    let ready = conditions.and_then(|all| all.iter().find(|it| it["type"] == "Ready"));
    ready.is_some_and(|ready| ready["status"] == "True") && node["spec"]["taints"].is_null()
}

fn room(node: &Value) -> (String, Room) {
    let text = |of: &Value| of.as_str().unwrap_or_default().to_owned();
    let all = &node["status"]["allocatable"];
    // As the node writes them: whole processors, and kibibytes.
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    let kibibytes = text(&all["memory"]);
    let room = Room {
        milli_cpu: number(&text(&all["cpu"])) * 1_000,
        mebibytes: number(kibibytes.trim_end_matches("Ki")) >> 10,
    };
    (text(&node["metadata"]["name"]), room)
}

/// Begins to make the pods, or what makes them.
async fn make(api: &Api, options: &SchedulerOptions) -> JoinSet<Result<()>> {
    let mut making = JoinSet::new();
    let (path, names) = match options.direct {
        true => (PODS, (0..options.pods).collect::<Vec<usize>>()),
        false => (
            DEPLOYMENTS,
            (0..options.pods.div_ceil(options.replicas)).collect(),
        ),
    };
    let spec = json!({
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "app", "command": ["sleep", "86400"], "resources": {"requests": {
            "cpu": format!("{}m", options.milli_cpu),
            "memory": format!("{}Mi", options.mebibytes),
        }}}],
    });
    for client in 0..options.clients.min(names.len()) {
        let mut session = api.session().await;
        let mine: Vec<usize> = names
            .iter()
            .copied()
            .skip(client)
            .step_by(options.clients)
            .collect();
        let (options, spec) = (options.clone(), spec.clone());
        making.spawn(async move {
            for number in mine {
                let object = match options.direct {
                    true => json!({"metadata": {"name": format!("pod-{number}")}, "spec": spec}),
                    false => deployment(&options, number, &spec),
                };
                let made = session.post(path, object.to_string()).await;
                if made.status != 201 {
                    return Err(Error::Answer(made.body));
                }
            }
            Ok(())
        });
    }
    making
}

fn deployment(options: &SchedulerOptions, number: usize, spec: &Value) -> Value {
    let app = format!("app-{number}");
    let made = number * options.replicas;
    json!({
        "metadata": {"name": app},
        "spec": {
            "replicas": options.replicas.min(options.pods - made),
            "selector": {"matchLabels": {"app": app}},
            "template": {"metadata": {"labels": {"app": app}}, "spec": spec},
        },
    })
}

/// What was seen of the pods.
#[derive(Default)]
struct Watched {
    /// When each pod was seen to have a node, in order.
    bound: Vec<Instant>,
    /// By the pod's name: its node.
    nodes: BTreeMap<String, String>,
    running: BTreeSet<String>,
}

impl Watched {
    fn see(&mut self, row: &Row<'_>) {
        let (name, node) = (row.text("Name"), row.text("Node"));
        if !matches!(node, "" | "<none>") && !self.nodes.contains_key(name) {
            self.nodes.insert(name.to_owned(), node.to_owned());
            self.bound.push(Instant::now());
        }
        if row.text("Status") == "Running" && !self.running.contains(name) {
            self.running.insert(name.to_owned());
        }
    }
}

/// Watches until all pods run.
async fn watch(mut rows: Rows, pods: usize, making: &mut JoinSet<Result<()>>) -> Result<Watched> {
    let mut watched = Watched::default();
    let mut told = Instant::now();
    while watched.running.len() < pods {
        tokio::select! {
            biased;
            Some(made) = making.join_next() => {
                made.map_err(|error| Error::Answer(error.to_string()))??;
            }
            next = timeout(STANDSTILL, rows.next()) => {
                let Ok((_, row)) = next else {
                    let (bound, running) = (watched.bound.len(), watched.running.len());
                    return Err(Error::Answer(format!(
                        "nothing goes on: of {pods} pods {bound} have a node and {running} run"
                    )));
                };
                watched.see(&row);
            }
        }
        if told.elapsed() > Duration::from_secs(5) {
            told = Instant::now();
            let (bound, running) = (watched.bound.len(), watched.running.len());
            eprintln!("{bound} pods have a node, {running} run");
        }
    }
    Ok(watched)
}

fn told(
    options: &SchedulerOptions,
    nodes: &BTreeMap<String, Room>,
    watched: &Watched,
    begun: Instant,
    nodes_ready_s: f64,
    [empty, before, after]: [Usage; 3],
) -> Placed {
    let running_s = begun.elapsed().as_secs_f64();
    let pods = watched.bound.len();
    let binding_s = match (watched.bound.first(), watched.bound.last()) {
        (Some(first), Some(last)) => last.duration_since(*first).as_secs_f64(),
        _ => 0.0,
    };
    let mut per_node: BTreeMap<&str, usize> = BTreeMap::new();
    for node in watched.nodes.values() {
        *per_node.entry(node).or_default() += 1;
    }
    let rooms = per_node.keys().filter_map(|node| nodes.get(*node));
    let (milli_cpu, mebibytes) = rooms.fold((0, 0), |(cpu, memory), room| {
        (cpu + room.milli_cpu, memory + room.mebibytes)
    });
    let part = |of: u64, all: u64| (of * pods as u64) as f64 / all.max(1) as f64;
    let grown = |from: Usage, to: Usage| to.rss_bytes.saturating_sub(from.rss_bytes);
    let cpu = after.cpu.saturating_sub(before.cpu);
    Placed {
        nodes: nodes.len(),
        pods,
        direct: options.direct,
        nodes_ready_s,
        binding_s,
        bindings_per_second: pods.saturating_sub(1) as f64 / binding_s.max(1e-9),
        bindings_per_second_max: best_second(&watched.bound),
        running_s,
        nodes_used: per_node.len(),
        cpu_used: part(options.milli_cpu, milli_cpu),
        memory_used: part(options.mebibytes, mebibytes),
        pods_per_node_min: per_node.values().copied().min().unwrap_or(0),
        pods_per_node_max: per_node.values().copied().max().unwrap_or(0),
        cpu_us_per_binding: cpu.as_secs_f64() * 1e6 / pods.max(1) as f64,
        rss_bytes: after.rss_bytes,
        rss_bytes_per_pod: grown(before, after) / pods.max(1) as u64,
        rss_bytes_per_node: grown(empty, before) / nodes.len().max(1) as u64,
    }
}

/// The most that came within a second.
fn best_second(times: &[Instant]) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (last, at) in times.iter().enumerate() {
        while at.duration_since(times[first]) > Duration::from_secs(1) {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

pub(crate) fn table(placed: &Placed) -> String {
    let mut text = String::new();
    let mut line = |what: &str, value: String| {
        let _ = writeln!(text, "{what:<34}{value:>14}");
    };
    let how = if placed.direct {
        "made by clients"
    } else {
        "of Deployments"
    };
    line("nodes", placed.nodes.to_string());
    line("pods", format!("{} {how}", placed.pods));
    line(
        "nodes ready after",
        format!("{:.1} s", placed.nodes_ready_s),
    );
    line(
        "first to last binding",
        format!("{:.2} s", placed.binding_s),
    );
    line("bindings/s", format!("{:.0}", placed.bindings_per_second));
    line(
        "bindings/s, best second",
        placed.bindings_per_second_max.to_string(),
    );
    line("all running after", format!("{:.2} s", placed.running_s));
    line("nodes used", placed.nodes_used.to_string());
    line(
        "pods on a node in use",
        format!(
            "{} to {}",
            placed.pods_per_node_min, placed.pods_per_node_max
        ),
    );
    line(
        "CPU asked for of nodes in use",
        format!("{:.1} %", placed.cpu_used * 100.0),
    );
    line(
        "memory asked for of nodes in use",
        format!("{:.1} %", placed.memory_used * 100.0),
    );
    line(
        "server CPU for a binding",
        format!("{:.0} µs", placed.cpu_us_per_binding),
    );
    line("resident memory", format!("{} MiB", placed.rss_bytes >> 20));
    line(
        "resident memory for a pod",
        format!("{} KiB", placed.rss_bytes_per_pod >> 10),
    );
    line(
        "resident memory for a node",
        format!("{} KiB", placed.rss_bytes_per_node >> 10),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_second_is_where_the_most_came() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let times = [0, 900, 1_200, 1_500, 1_800, 3_800, 3_810].map(at);
        assert_eq!(best_second(&times), 4);
        assert_eq!(best_second(&[]), 0);
    }
}
