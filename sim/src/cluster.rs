//! Three nodes: one founds, two are admitted, and soon all vote. Spares stand by to replace
//! them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use atoll_base::id::NodeId;
use atoll_control::{
    api::ControlApi as _,
    core::error::Error,
    driver::control::{Control, Settings},
};
use atoll_world::{
    clock,
    journal::Durability,
    peers::sim::{Faults, SimNet},
    random::Stream,
    task,
};
use tokio::sync::mpsc;

use crate::node::{Around, End, FAST_DISK, Fatal, Node};

/// How many nodes a cluster begins with, and has again after each replacement.
pub const NODES: u64 = 3;
/// How many others there are to replace them.
pub const SPARES: u64 = 2;
/// How long a healthy cluster may take to become what it is to be, in virtual time.
pub const FORM_MAX: Duration = Duration::from_secs(30);
/// How often a condition is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// A node that could not go on is started again after this long.
const RESTART_AFTER: Duration = Duration::from_millis(300);

/// How a cluster is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Each node's control plane.
    pub settings: Settings,
    /// Length of a journal's segments, in bytes.
    pub segment_bytes: u64,
    /// When a record of a journal counts as written.
    pub durability: Durability,
    /// How a node ends that says that it cannot go on.
    pub fatal_end: End,
}

/// The cluster.
pub struct Cluster {
    /// The network between them.
    pub net: SimNet,
    /// The nodes, the founder first, those that belong to it only later last.
    pub nodes: Vec<Arc<Node>>,
    /// Replacements that have begun and not ended.
    replacing: AtomicUsize,
}

impl Cluster {
    /// Starts the nodes and waits until all vote.
    ///
    /// # Errors
    /// They do not within [`FORM_MAX`].
    pub async fn form(seed: &mut Stream, setup: &Setup) -> Result<Cluster, String> {
        let net = SimNet::new(seed.u64());
        let (fatal, fatals) = mpsc::unbounded_channel();
        let ids: Vec<NodeId> = (1..=NODES + SPARES).map(NodeId).collect();
        let around = Arc::new(Around {
            net: net.clone(),
            nodes: ids.clone(),
            settings: setup.settings.clone(),
            segment_bytes: setup.segment_bytes,
            durability: setup.durability,
            fatal,
        });
        let nodes: Vec<Arc<Node>> = ids
            .into_iter()
            .enumerate()
            .map(|(at, id)| Node::new(id, at == 0, seed.u64(), around.clone()))
            .collect();
        task::spawn(bury(fatals, nodes.clone(), setup.fatal_end));
        let cluster = Cluster {
            net,
            nodes,
            replacing: AtomicUsize::new(0),
        };
        clock::timeout(FORM_MAX, cluster.assemble())
            .await
            .map_err(|_| format!("no cluster after {FORM_MAX:?}"))??;
        Ok(cluster)
    }

    async fn assemble(&self) -> Result<(), String> {
        let founder = &self.nodes[0];
        founder.enlist();
        founder.start();
        let control = founder.wait_running().await.control;
        until(|| control.standing().leader == Some(founder.id)).await;
        for node in self.nodes.iter().take(NODES as usize).skip(1) {
            control
                .admit(node.id, node.member())
                .await
                .map_err(|error| format!("node {} was not admitted: {error}", node.id))?;
            node.enlist();
            node.start();
        }
        until(|| self.enlisted().all(|node| all_vote(node))).await;
        Ok(())
    }

    /// The nodes that belong to the cluster now.
    pub fn enlisted(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.iter().filter(|node| node.is_enlisted())
    }

    /// Removes a node and takes in a spare in its place, however long that takes. Does nothing
    /// when no spare is left, or another replacement is under way.
    pub async fn replace(&self, victim: Arc<Node>) {
        let spare = self.nodes.iter().find(|node| node.boot() == 0);
        let (Some(spare), 0) = (spare, self.replacing.load(Ordering::Relaxed)) else {
            return;
        };
        self.replacing.fetch_add(1, Ordering::Relaxed);
        let gone = victim.id;
        self.insist(&victim, Error::MemberNotFound, |control| async move {
            control.member_remove(gone).await
        })
        .await;
        victim.retire();
        let (id, member) = (spare.id, spare.member());
        self.insist(&victim, Error::MemberExist, move |control| {
            let member = member.clone();
            async move { control.admit(id, member).await }
        })
        .await;
        spare.enlist();
        spare.start();
        self.replacing.fetch_sub(1, Ordering::Relaxed);
    }

    /// Asks nodes other than one, again and again, until something is done, or turns out to have
    /// been done before.
    async fn insist<F>(&self, but: &Node, done_before: Error, ask: impl Fn(Control) -> F)
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        loop {
            for node in self.enlisted().filter(|node| node.id != but.id) {
                let Some(running) = node.running() else {
                    continue;
                };
                match running.call(&ask).await {
                    Some(Ok(())) => return,
                    Some(Err(error)) if error == done_before => return,
                    // Refused, or the cluster is in trouble.
                    Some(Err(_)) | None => {}
                }
            }
            clock::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Waits until no replacement is under way and every node of the cluster votes.
    pub async fn whole(&self) {
        until(|| {
            self.replacing.load(Ordering::Relaxed) == 0
                && self.enlisted().all(|node| all_vote(node))
        })
        .await;
    }

    /// The node that leads, as most recently agreed.
    pub fn leader(&self) -> Option<Arc<Node>> {
        let standings = self.nodes.iter().filter_map(|node| node.running());
        let newest = standings
            .map(|running| running.control.standing())
            .max_by_key(|standing| (standing.term, standing.leader.is_some()))?;
        let leader = newest.leader?;
        self.nodes.iter().find(|node| node.id == leader).cloned()
    }

    /// Makes everything well: links, disks and clocks, and every node runs.
    pub fn heal(&self) {
        self.net.heal();
        self.net.set_faults(Faults::default());
        for node in &self.nodes {
            node.set_sync_latency(FAST_DISK);
            node.set_clock(0, 0);
            node.start();
        }
    }

    /// Ends every node, so that nothing runs any more.
    pub async fn end(&self) {
        let groups: Vec<_> = self
            .nodes
            .iter()
            .filter_map(|node| node.running())
            .map(|running| running.group)
            .collect();
        for node in &self.nodes {
            node.end(End::Kill);
        }
        for group in groups {
            group.ended().await;
        }
    }
}

/// Waits until something holds.
pub async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        clock::sleep(LOOK_INTERVAL).await;
    }
}

fn all_vote(node: &Node) -> bool {
    node.running().is_some_and(|running| {
        let members = running.control.members();
        members.len() as u64 == NODES && members.iter().all(|member| !member.learner)
    })
}

/// Ends nodes that cannot go on, and starts them again.
async fn bury(mut fatals: mpsc::UnboundedReceiver<Fatal>, nodes: Vec<Arc<Node>>, end: End) {
    while let Some(fatal) = fatals.recv().await {
        let node = nodes.iter().find(|node| node.id == fatal.node);
        let Some(node) = node.filter(|node| node.boot() == fatal.boot) else {
            continue;
        };
        tracing::info!(node = %fatal.node, reason = fatal.reason, "cannot go on");
        node.end(end);
        let node = node.clone();
        task::spawn(async move {
            clock::sleep(RESTART_AFTER).await;
            node.start();
        });
    }
}
