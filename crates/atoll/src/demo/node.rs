//! One process of a demonstration.
#![allow(clippy::disallowed_methods)] // The command line is the edge: it keeps its children's output.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use atoll_control::proto::etcdserverpb::StatusRequest;
use atoll_world::{
    process::{self, Child, Output},
    task, tree, workload,
};
use bytes::Bytes;
use tokio::io::AsyncBufRead;

use super::{owners::Owners, port::Door};
use crate::{
    client::{Client, Options, Retry, redis::Link},
    error::CliError,
    node::PODS_DIR,
};

/// Listeners of a node.
pub(super) const PORTS: usize = 6;

/// How long a node may take to tell how it is.
const LOOK_TIMEOUT: Duration = Duration::from_millis(300);

/// How much of a node's output is told when it does not come up.
const TAIL_LINES_MAX: usize = 20;

/// What a node is doing, as the table shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Leads,
    Follows,
    Silent,
    Killed,
}

/// One process.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) state: State,
    pub(super) child: Option<Child>,
    /// As the members call it, and its cluster; 0 before it told.
    pub(super) id: u64,
    pub(super) cluster: u64,
    /// How many partitions it owned when that was last told.
    pub(super) owned: usize,
    pub(super) client: Client,
    dir: PathBuf,
    client_port: u16,
    peer_port: u16,
    redis_port: u16,
    redis_cluster_port: u16,
    kubernetes_port: u16,
    http_port: u16,
}

impl Node {
    /// It does not run yet.
    pub(super) fn new(name: String, dir: &Path, ports: [u16; PORTS]) -> Node {
        let [
            client_port,
            peer_port,
            redis_port,
            redis_cluster_port,
            kubernetes_port,
            http_port,
        ] = ports;
        Node {
            name,
            state: State::Silent,
            child: None,
            id: 0,
            cluster: 0,
            owned: 0,
            client: Client::new(options(client_port)),
            dir: dir.to_owned(),
            client_port,
            peer_port,
            redis_port,
            redis_cluster_port,
            kubernetes_port,
            http_port,
        }
    }

    /// What it keeps.
    pub(super) fn folder(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    /// Where its gateway takes requests for Ingresses.
    pub(super) fn http_address(&self) -> String {
        format!("127.0.0.1:{}", self.http_port)
    }

    /// Where other nodes come in.
    pub(super) fn peer_address(&self) -> String {
        format!("127.0.0.1:{}", self.peer_port)
    }

    /// The port of clients of Redis Cluster, by which owners are named.
    pub(super) fn redis_cluster_port(&self) -> u16 {
        self.redis_cluster_port
    }

    /// Where Redis clients come in.
    pub(super) fn door(&self) -> Door {
        Door {
            options: options(self.client_port),
            address: format!("127.0.0.1:{}", self.redis_port),
        }
    }

    /// Starts it, as a new node of the cluster that the token is for.
    pub(super) fn spawn(&mut self, join: Option<(&str, &str)>) -> Result<(), CliError> {
        let program = env::current_exe()
            .map_err(|error| CliError::failed(format!("cannot find this program: {error}"), ""))?;
        let mut arguments = vec![
            "start".to_owned(),
            format!("--dir={}", self.folder().display()),
            format!("--node-name={}", self.name),
            format!("--listen-client=127.0.0.1:{}", self.client_port),
            format!("--listen-peer=127.0.0.1:{}", self.peer_port),
            format!("--listen-redis=127.0.0.1:{}", self.redis_port),
            format!(
                "--listen-redis-cluster=127.0.0.1:{}",
                self.redis_cluster_port
            ),
            format!("--listen-kubernetes=127.0.0.1:{}", self.kubernetes_port),
            format!("--listen-http=127.0.0.1:{}", self.http_port),
        ];
        let mut environment = Vec::new();
        if let Some((first, token)) = join {
            arguments.push(format!("--join={first}"));
            // Not as an argument: those are for everybody to see.
            environment.push(("ATOLL_TOKEN", OsStr::new(token)));
        }
        let mut child = process::start(program, arguments, &environment, Output::Read)
            .map_err(|error| CliError::failed(error.to_string(), ""))?;
        let path = self.log();
        let log = fs::OpenOptions::new().create(true).append(true).open(&path);
        let log = log.map_err(|error| CliError::file("write", &path, error))?;
        let errors = log.try_clone();
        let errors = errors.map_err(|error| CliError::file("write", &path, error))?;
        task::spawn(keep_lines(child.stdout(), log));
        task::spawn(keep_lines(child.stderr(), errors));
        self.child = Some(child);
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.name))
    }

    /// Asks how it is, if it runs.
    pub(super) async fn look(&mut self) {
        if self.child.is_none() {
            return;
        }
        let client = self.client.with_timeout(LOOK_TIMEOUT);
        let asked = client
            .call(Retry::Safe, StatusRequest {}, |node, r| async move {
                node.maintenance().status(r).await
            })
            .await;
        self.state = match asked {
            Ok(status) => {
                let header = status.header.unwrap_or_default();
                (self.id, self.cluster) = (header.member_id, header.cluster_id);
                match status.leader {
                    0 => State::Silent,
                    leader if leader == self.id => State::Leads,
                    _ => State::Follows,
                }
            }
            Err(_) => State::Silent,
        };
    }

    /// Asks who owns what, as far as it knows; none if it does not tell.
    pub(super) async fn owners(&self) -> Option<Owners> {
        let address = format!("127.0.0.1:{}", self.redis_cluster_port);
        let options = Options {
            timeout: LOOK_TIMEOUT,
            ..options(self.client_port)
        };
        let words = ["CLUSTER", "SLOTS"].map(|word| Bytes::from_static(word.as_bytes()));
        let mut link = Link::open(&options, Some(&address)).await.ok()?;
        Owners::read(&link.ask(&words).await.ok()?)
    }

    /// Ends it by force, and returns when it has gone.
    pub(super) async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Either fails only if the process is gone already, which is what is wanted.
            let _ = child.kill();
            let _ = child.wait().await;
        }
    }

    /// Ends its pods, too, as the end of a machine would: by themselves they would go on for as
    /// long as its lease, for the node to find again.
    pub(super) async fn kill_with_pods(&mut self) {
        self.kill().await;
        let pods = self.folder().join(PODS_DIR);
        // What can't be ended here ends by its lease.
        task::blocking(move || workloads(&pods).for_each(|dir| drop(workload::kill(&dir)))).await;
    }

    /// Refuses a process that ended by itself, with the end of what it said.
    pub(super) fn check_runs(&mut self) -> Result<(), CliError> {
        let Some(child) = &mut self.child else {
            return Ok(());
        };
        let Ok(Some(status)) = child.try_wait() else {
            return Ok(());
        };
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES_MAX)..].join("\n");
        Err(CliError::failed(
            format!("{} ended with {status}; it said:\n{tail}", self.name),
            "",
        ))
    }
}

/// The folders of all attempts of all containers.
fn workloads(pods: &Path) -> impl Iterator<Item = PathBuf> {
    let below = |dir: PathBuf| {
        let names = tree::names(&dir).unwrap_or_default();
        names.into_iter().map(move |name| dir.join(name))
    };
    let pods = below(pods.to_owned());
    let containers = pods.flat_map(move |pod| below(pod.join("containers")));
    containers.flat_map(below)
}

async fn keep_lines<R: AsyncBufRead + Unpin>(lines: Option<tokio::io::Lines<R>>, mut log: File) {
    let Some(mut lines) = lines else { return };
    while let Ok(Some(line)) = lines.next_line().await {
        // A log that cannot be kept is no reason for a node to hang.
        let _ = writeln!(log, "{line}");
    }
}

fn options(port: u16) -> Options {
    /// How long one write or read may take before it is tried elsewhere.
    const TIMEOUT: Duration = Duration::from_secs(5);
    Options {
        endpoints: vec![format!("http://127.0.0.1:{port}")],
        ca: None,
        identity: None,
        login: None,
        timeout: TIMEOUT,
    }
}
