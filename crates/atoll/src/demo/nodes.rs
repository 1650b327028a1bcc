//! The three processes of a demonstration.
#![allow(clippy::disallowed_methods)] // The command line is the edge: it makes and removes a folder.

use std::{env, fs, path::PathBuf, time::Duration};

use atoll_control::proto::{
    cluster::CreateTokenRequest,
    etcdserverpb::{MemberListRequest, MoveLeaderRequest},
};
use atoll_ring::partition::Partitions;
use atoll_world::{
    clock::{self, Instant},
    net, random,
};

use super::{
    node::{Node, PORTS, State},
    owners::{Owners, Slots},
    port::{Etcd, Redis},
};
use crate::{client::Retry, command::hot::hot, error::CliError, output};

/// How many there are.
pub(super) const COUNT: usize = 3;

/// How long the nodes may take to become a cluster.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long hot data may take to have its copies on all of them.
const PLACED_TIMEOUT: Duration = Duration::from_secs(180);

/// How often a condition is looked at again.
const POLL: Duration = Duration::from_millis(50);

/// The processes and their folder.
pub(super) struct Nodes {
    // Before the folder: children are killed when they are dropped.
    list: Vec<Node>,
    dir: PathBuf,
    keep: bool,
    partitions: Partitions,
}

/// A node that leads, and what of hot data it owns.
pub(super) struct Victim {
    /// Its place.
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) slots: Slots,
    /// So many partitions, of so many.
    pub(super) owned: usize,
    pub(super) partitions: usize,
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
        let (ports, _) = ports.as_chunks::<PORTS>();
        let named = (1..).map(|number| format!("node-{number}"));
        let nodes = named.zip(ports);
        Ok(Nodes {
            list: nodes
                .map(|(name, ports)| Node::new(name, &dir, *ports))
                .collect(),
            dir,
            keep,
            partitions: Partitions::default(),
        })
    }

    pub(super) fn dir(&self) -> String {
        self.dir.display().to_string()
    }

    pub(super) fn list(&self) -> &[Node] {
        &self.list
    }

    /// Their ports of etcd's clients.
    pub(super) fn etcd(&self) -> Etcd {
        Etcd(self.list.iter().map(|node| node.client.clone()).collect())
    }

    /// Their ports of Redis clients.
    pub(super) fn redis(&self) -> Redis {
        Redis::new(self.list.iter().map(Node::door).collect())
    }

    /// The nodes that run: their places and names.
    pub(super) fn alive(&self) -> Vec<(usize, String)> {
        let nodes = self.list.iter().enumerate();
        let alive = nodes.filter(|(_, node)| node.child.is_some());
        alive
            .map(|(index, node)| (index, node.name.clone()))
            .collect()
    }

    /// Starts all of them and returns when each has a vote.
    pub(super) async fn start_all(&mut self) -> Result<(), CliError> {
        self.list[0].spawn(None)?;
        let deadline = clock::now() + READY_TIMEOUT;
        let first = async |nodes: &mut Nodes| {
            nodes.look().await;
            nodes.list[0].state == State::Leads
        };
        self.until("the first node leads", deadline, first).await?;
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
        let first = self.list[0].peer_address();
        for node in &mut self.list[1..] {
            node.spawn(Some((&first, &made.token)))?;
        }
        let deadline = clock::now() + READY_TIMEOUT;
        self.until("three nodes vote", deadline, async |nodes: &mut Nodes| {
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

    /// Returns when every partition of hot data is on all of them.
    pub(super) async fn all_placed(&mut self) -> Result<(), CliError> {
        let what = "hot data is on all three nodes";
        let deadline = clock::now() + PLACED_TIMEOUT;
        self.until(what, deadline, async |nodes: &mut Nodes| {
            let node = &nodes.list[0];
            let Some(hot) = hot(&node.client, node.cluster).await else {
                return false;
            };
            let count = u16::try_from(hot.partitions()).ok();
            if let Some(Ok(partitions)) = count.map(Partitions::new) {
                nodes.partitions = partitions;
            }
            hot.is_settled(COUNT) && nodes.all_own().await
        })
        .await
    }

    fn all_up(&self) -> bool {
        let up = |node: &Node| matches!(node.state, State::Leads | State::Follows);
        self.list.iter().all(up)
    }

    /// Whether each of them serves Redis clients and knows an owner of everything.
    async fn all_own(&self) -> bool {
        for node in &self.list {
            let Some(owners) = node.owners().await else {
                return false;
            };
            let owned = |node: &Node| self.owned(&owners, node).1;
            let known: usize = self.list.iter().map(owned).sum();
            if known < usize::from(self.partitions.count()) {
                return false;
            }
        }
        true
    }

    fn owned(&self, owners: &Owners, node: &Node) -> (Slots, usize) {
        let slots = owners.slots_of(node.redis_cluster_port());
        let count = slots.count(self.partitions);
        (slots, count)
    }

    /// The node that is to be killed: it leads, and owns partitions. Waits until everybody is
    /// up. Where the leader owns nothing, whoever owns the most is made the leader.
    pub(super) async fn victim(&mut self) -> Result<Victim, CliError> {
        let deadline = clock::now() + READY_TIMEOUT;
        let what = "all nodes are up, and the leader owns partitions";
        let mut victim = None;
        self.until(what, deadline, async |nodes: &mut Nodes| {
            nodes.look().await;
            if !nodes.all_up() || !nodes.all_own().await {
                return false;
            }
            victim = nodes.leading_owner().await;
            victim.is_some()
        })
        .await?;
        victim.ok_or_else(|| CliError::failed(format!("never: {what}"), ""))
    }

    async fn leading_owner(&self) -> Option<Victim> {
        let mut nodes = self.list.iter();
        let index = nodes.position(|node| node.state == State::Leads)?;
        let leader = &self.list[index];
        // It knows best what it owns.
        let owners = leader.owners().await?;
        let (slots, owned) = self.owned(&owners, leader);
        if owned > 0 {
            return Some(Victim {
                index,
                name: leader.name.clone(),
                slots,
                owned,
                partitions: usize::from(self.partitions.count()),
            });
        }
        let owned = |node: &&Node| self.owned(&owners, node).1;
        let target = self.list.iter().max_by_key(owned)?;
        let request = MoveLeaderRequest {
            target_id: target.id,
        };
        let moved = leader
            .client
            .call(Retry::Never, request, |node, request| async move {
                node.maintenance().move_leader(request).await
            });
        // Whether it was done is looked at next time.
        let _ = moved.await;
        None
    }

    /// Kills a node.
    pub(super) async fn kill(&mut self, index: usize) {
        let node = &mut self.list[index];
        node.kill().await;
        node.state = State::Killed;
        node.owned = 0;
    }

    /// Starts these again, as far as they were killed; answers their names.
    pub(super) fn restart(&mut self, which: &[usize]) -> Result<Vec<String>, CliError> {
        let mut names = Vec::new();
        for index in which {
            let node = &mut self.list[*index];
            if node.child.is_none() {
                node.spawn(None)?;
                names.push(node.name.clone());
            }
        }
        Ok(names)
    }

    /// Kills a node and its pods, as a machine's end would.
    pub(super) async fn kill_with_pods(&mut self, index: usize) {
        self.list[index].kill_with_pods().await;
        self.list[index].state = State::Killed;
    }

    /// Returns when all of them are up, and which one leads.
    pub(super) async fn all_back(&mut self) -> Result<usize, CliError> {
        let deadline = clock::now() + READY_TIMEOUT;
        let leads = |node: &Node| node.state == State::Leads;
        self.until("all nodes are up", deadline, async |nodes: &mut Nodes| {
            nodes.look().await;
            nodes.all_up() && nodes.list.iter().any(leads)
        })
        .await?;
        Ok(self.list.iter().position(leads).unwrap_or_default())
    }

    /// Asks every node how it is.
    pub(super) async fn look(&mut self) {
        for node in &mut self.list {
            node.look().await;
        }
    }

    /// Asks who owns what.
    pub(super) async fn look_at_owners(&mut self) {
        let Some(node) = self.list.iter().find(|node| node.child.is_some()) else {
            return;
        };
        let Some(owners) = node.owners().await else {
            return;
        };
        let owned: Vec<usize> = self
            .list
            .iter()
            .map(|node| self.owned(&owners, node).1)
            .collect();
        for (node, owned) in self.list.iter_mut().zip(owned) {
            node.owned = owned;
        }
    }

    /// Kills what runs, pods too, waits for its end, and takes the folder away. What was asked for with
    /// `--keep` stays.
    pub(super) async fn end(&mut self) {
        for node in &mut self.list {
            node.kill_with_pods().await;
        }
        if self.keep {
            output::note(&format!("The nodes' folders are in {}", self.dir.display()));
        }
    }

    /// Waits until something is so, which a node that ends by itself breaks off.
    ///
    /// # Errors
    /// It is not so at the deadline; a node ended.
    pub(super) async fn until(
        &mut self,
        what: &str,
        deadline: Instant,
        mut condition: impl AsyncFnMut(&mut Nodes) -> bool,
    ) -> Result<(), CliError> {
        let begin = clock::now();
        while !condition(self).await {
            for node in &mut self.list {
                node.check_runs()?;
            }
            if clock::now() >= deadline {
                return Err(CliError::failed(
                    format!("not within {} s: {what}", (deadline - begin).as_secs()),
                    "Is this machine very busy? The nodes' logs are kept with --keep.",
                ));
            }
            clock::sleep(POLL).await;
        }
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
