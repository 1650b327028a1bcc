//! The three processes of a demonstration.
#![allow(clippy::disallowed_methods)] // The command line is the edge: it keeps its children's output.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    time::Duration,
};

use atoll_control::proto::{
    cluster::CreateTokenRequest,
    etcdserverpb::{MemberListRequest, StatusRequest},
};
use atoll_world::{
    clock, net,
    process::{self, Child, Output},
    random, task,
};
use tokio::io::AsyncBufRead;

use crate::{
    client::{Client, Options, Retry},
    error::CliError,
    output,
};

const COUNT: usize = 3;

/// How long the nodes may take to become a cluster.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a condition is looked at again.
const POLL: Duration = Duration::from_millis(50);

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

/// Listeners of a node.
const PORTS: usize = 4;

/// One process.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) state: State,
    pub(super) child: Option<Child>,
    client_port: u16,
    peer_port: u16,
    redis_port: u16,
    redis_cluster_port: u16,
    client: Client,
}

/// The processes and their folder.
pub(super) struct Nodes {
    // Before the folder: children are killed when they are dropped.
    list: Vec<Node>,
    dir: PathBuf,
    keep: bool,
    kills: u64,
}

impl Nodes {
    /// A folder and free ports for them; nothing runs yet.
    pub(super) async fn new(keep: bool) -> Result<Nodes, CliError> {
        let dir = env::temp_dir().join(format!("atoll-demo-{:08x}", random::u64() >> 32));
        fs::create_dir_all(&dir).map_err(|error| CliError::file("make", &dir, error))?;
        // All are held until all are found, so that no two are the same.
        let mut held = Vec::new();
        for _ in 0..COUNT * PORTS {
            let listener = net::listen("127.0.0.1:0").await;
            held.push(listener.map_err(|error| CliError::failed(error.to_string(), ""))?);
        }
        let ports: Vec<u16> = held.iter().map(|it| it.local_address().port()).collect();
        let node = |index: usize| Node {
            name: format!("node-{}", index + 1),
            state: State::Silent,
            child: None,
            client_port: ports[index * PORTS],
            peer_port: ports[index * PORTS + 1],
            redis_port: ports[index * PORTS + 2],
            redis_cluster_port: ports[index * PORTS + 3],
            client: client(ports[index * PORTS]),
        };
        Ok(Nodes {
            list: (0..COUNT).map(node).collect(),
            dir,
            keep,
            kills: 0,
        })
    }

    pub(super) fn dir(&self) -> String {
        self.dir.display().to_string()
    }

    pub(super) fn list(&self) -> &[Node] {
        &self.list
    }

    /// How many were killed.
    pub(super) fn kills(&self) -> u64 {
        self.kills
    }

    /// A client for each node.
    pub(super) fn clients(&self) -> Vec<Client> {
        self.list.iter().map(|node| node.client.clone()).collect()
    }

    /// The nodes that run, by name.
    pub(super) fn alive(&self) -> Vec<(String, Client)> {
        let alive = self.list.iter().filter(|node| node.child.is_some());
        alive
            .map(|node| (node.name.clone(), node.client.clone()))
            .collect()
    }

    /// Starts all of them and returns when each has a vote.
    pub(super) async fn start_all(&mut self) -> Result<(), CliError> {
        self.spawn(0, None)?;
        self.until("the first node leads", async |nodes: &mut Nodes| {
            nodes.look().await;
            nodes.list[0].state == State::Leads
        })
        .await?;
        let request = CreateTokenRequest {
            uses: COUNT as u32 - 1,
            ttl_s: READY_TIMEOUT.as_secs() * 2,
        };
        let made = self.list[0]
            .client
            .call(Retry::Never, request, |node, request| async move {
                node.tokens().create(request).await
            })
            .await?;
        for index in 1..COUNT {
            self.spawn(index, Some(&made.token))?;
        }
        self.until("three nodes vote", async |nodes: &mut Nodes| {
            nodes.look().await;
            let answer = nodes.list[0].client.call(
                Retry::Safe,
                MemberListRequest::default(),
                |node, request| async move { node.cluster().member_list(request).await },
            );
            let voters = answer.await.map_or(0, |answer| {
                let members = answer.members.iter();
                members.filter(|member| !member.is_learner).count()
            });
            voters == COUNT && nodes.all_up()
        })
        .await
    }

    fn all_up(&self) -> bool {
        let up = |node: &Node| matches!(node.state, State::Leads | State::Follows);
        self.list.iter().all(up)
    }

    /// Kills the node that leads, once everybody is up; answers which it was. None if that
    /// did not come to pass in time.
    pub(super) async fn kill_leader(&mut self) -> Result<Option<String>, CliError> {
        self.until("all nodes are up again", async |nodes: &mut Nodes| {
            nodes.look().await;
            nodes.all_up() && nodes.leader().is_some()
        })
        .await?;
        let Some(index) = self.leader() else {
            return Ok(None);
        };
        let node = &mut self.list[index];
        if let Some(mut child) = node.child.take() {
            end(&mut child).await;
        }
        node.state = State::Killed;
        self.kills += 1;
        Ok(Some(node.name.clone()))
    }

    fn leader(&self) -> Option<usize> {
        self.list.iter().position(|node| node.state == State::Leads)
    }

    /// Starts those again that were killed; answers their names.
    pub(super) fn restart(&mut self) -> Result<Vec<String>, CliError> {
        let mut names = Vec::new();
        for index in 0..self.list.len() {
            if self.list[index].child.is_none() {
                self.spawn(index, None)?;
                names.push(self.list[index].name.clone());
            }
        }
        Ok(names)
    }

    /// Asks every node how it is.
    pub(super) async fn look(&mut self) {
        for node in &mut self.list {
            if node.child.is_none() {
                continue;
            }
            let client = node.client.with_timeout(LOOK_TIMEOUT);
            let asked = client
                .call(Retry::Safe, StatusRequest {}, |node, r| async move {
                    node.maintenance().status(r).await
                })
                .await;
            node.state = match asked {
                Ok(status) if status.leader == 0 => State::Silent,
                Ok(status) => {
                    let own = status.header.map_or(0, |header| header.member_id);
                    if own == status.leader {
                        State::Leads
                    } else {
                        State::Follows
                    }
                }
                Err(_) => State::Silent,
            };
        }
    }

    /// Kills what runs, waits for its end, and takes the folder away. What was asked for with
    /// `--keep` stays.
    pub(super) async fn end(&mut self) {
        for node in &mut self.list {
            if let Some(mut child) = node.child.take() {
                end(&mut child).await;
            }
        }
        if self.keep {
            output::note(&format!("The nodes' folders are in {}", self.dir.display()));
        }
    }

    async fn until(
        &mut self,
        what: &str,
        mut condition: impl AsyncFnMut(&mut Nodes) -> bool,
    ) -> Result<(), CliError> {
        let deadline = clock::now() + READY_TIMEOUT;
        while !condition(self).await {
            self.none_ended()?;
            if clock::now() >= deadline {
                return Err(CliError::failed(
                    format!("not within {} s: {what}", READY_TIMEOUT.as_secs()),
                    "Is this machine very busy? The nodes' logs are kept with --keep.",
                ));
            }
            clock::sleep(POLL).await;
        }
        Ok(())
    }

    fn none_ended(&mut self) -> Result<(), CliError> {
        for node in &mut self.list {
            let Some(child) = &mut node.child else {
                continue;
            };
            if let Ok(Some(status)) = child.try_wait() {
                let log = fs::read_to_string(self.dir.join(format!("{}.log", node.name)));
                let log = log.unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let tail = lines[lines.len().saturating_sub(TAIL_LINES_MAX)..].join("\n");
                return Err(CliError::failed(
                    format!("{} ended with {status}; it said:\n{tail}", node.name),
                    "",
                ));
            }
        }
        Ok(())
    }

    fn spawn(&mut self, index: usize, token: Option<&str>) -> Result<(), CliError> {
        let program = env::current_exe()
            .map_err(|error| CliError::failed(format!("cannot find this program: {error}"), ""))?;
        let first = format!("127.0.0.1:{}", self.list[0].peer_port);
        let node = &mut self.list[index];
        let mut arguments = vec![
            "start".to_owned(),
            format!("--dir={}", self.dir.join(&node.name).display()),
            format!("--node-name={}", node.name),
            format!("--listen-client=127.0.0.1:{}", node.client_port),
            format!("--listen-peer=127.0.0.1:{}", node.peer_port),
            format!("--listen-redis=127.0.0.1:{}", node.redis_port),
            format!(
                "--listen-redis-cluster=127.0.0.1:{}",
                node.redis_cluster_port
            ),
        ];
        // Not as an argument: those are for everybody to see.
        let environment = token.map(|token| ("ATOLL_TOKEN", OsStr::new(token)));
        if token.is_some() {
            arguments.push(format!("--join={first}"));
        }
        let environment: Vec<_> = environment.into_iter().collect();
        let mut child = process::start(program, arguments, &environment, Output::Read)
            .map_err(|error| CliError::failed(error.to_string(), ""))?;
        let path = self.dir.join(format!("{}.log", node.name));
        let log = fs::OpenOptions::new().create(true).append(true).open(&path);
        let log = log.map_err(|error| CliError::file("write", &path, error))?;
        let errors = log.try_clone();
        let errors = errors.map_err(|error| CliError::file("write", &path, error))?;
        task::spawn(keep_lines(child.stdout(), log));
        task::spawn(keep_lines(child.stderr(), errors));
        node.child = Some(child);
        Ok(())
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        // Kills those that `end` has not seen, as in a panic.
        self.list.clear();
        if !self.keep {
            // A folder in the system's place for temporary ones; nothing depends on it.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

async fn end(child: &mut Child) {
    // Either fails only if the process is gone already, which is what is wanted.
    let _ = child.kill();
    let _ = child.wait().await;
}

async fn keep_lines<R: AsyncBufRead + Unpin>(lines: Option<tokio::io::Lines<R>>, mut log: File) {
    let Some(mut lines) = lines else { return };
    while let Ok(Some(line)) = lines.next_line().await {
        // A log that cannot be kept is no reason for a node to hang.
        let _ = writeln!(log, "{line}");
    }
}

fn client(port: u16) -> Client {
    /// How long one write or read may take before it is tried elsewhere.
    const TIMEOUT: Duration = Duration::from_secs(5);
    Client::new(Options {
        endpoints: vec![format!("http://127.0.0.1:{port}")],
        ca: None,
        identity: None,
        login: None,
        timeout: TIMEOUT,
    })
}
