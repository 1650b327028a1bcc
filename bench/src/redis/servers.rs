//! Starts Atoll, a redis-server, or a Redis Cluster for one turn.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use atoll_e2e::{
    cluster::Cluster,
    command::{Entry, Kind, Place, Server},
    node::{Node, run},
};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    keys::Doors,
    load::Target,
    options::{Keeping, RedisPair, binary},
    redis_servers::RedisServers,
    wire::{Answer, Connection},
};
use crate::error::{Error, Result};

/// How long servers may take until everything is in its place.
pub(super) const READY_WAIT: Duration = Duration::from_secs(120);
pub(super) const POLL: Duration = Duration::from_millis(100);
const PING_WAIT: Duration = Duration::from_secs(5);
/// Replicas of a partition, as far as there are nodes.
pub(crate) const REPLICAS: usize = 3;

/// What can be started.
#[derive(Clone, Debug)]
pub(crate) enum Side {
    Atoll(Server, Option<u16>),
    Redis(PathBuf),
}

impl Side {
    /// The sides that were named, Atoll first.
    ///
    /// # Errors
    /// None was named, or a binary isn't there.
    pub(crate) fn of(pair: &RedisPair) -> Result<Vec<Self>> {
        let mut sides = Vec::new();
        if let Some(path) = &pair.atoll {
            sides.push(Self::Atoll(atoll(path)?, pair.partitions));
        }
        if let Some(path) = &pair.redis_server {
            sides.push(Self::Redis(binary(path)?));
        }
        if sides.is_empty() {
            return Err(Error::Options(
                "name --atoll PATH, --redis-server PATH, or both to compare them".to_owned(),
            ));
        }
        Ok(sides)
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Atoll(..) => "atoll",
            Self::Redis(_) => "redis",
        }
    }

    /// Starts as many nodes; with Redis, three are a cluster of three masters with a replica each.
    pub(crate) async fn start(
        &self,
        nodes: usize,
        keeping: Keeping,
        disk: &Path,
    ) -> Result<Running> {
        match self {
            Self::Atoll(server, partitions) => {
                let places = vec![Place::default(); nodes];
                let cluster = start_atoll(server, &places, keeping, *partitions, disk).await?;
                Ok(Running::Atoll(cluster))
            }
            Self::Redis(path) if nodes == 1 => RedisServers::one(path, keeping, disk).await,
            Self::Redis(path) => RedisServers::cluster(path, keeping, disk).await,
        }
    }
}

/// An Atoll binary.
pub(crate) fn atoll(path: &Path) -> Result<Server> {
    Ok(Server {
        kind: Kind::Atoll,
        path: binary(path)?,
    })
}

/// Starts a node at each place and returns once hot data is where it is to be.
pub(crate) async fn start_atoll(
    server: &Server,
    places: &[Place],
    keeping: Keeping,
    partitions: Option<u16>,
    disk: &Path,
) -> Result<Cluster> {
    let partitions = partitions.map(|count| count.to_string());
    let mut environment = vec![("ATOLL_KV_DURABILITY", keeping.atoll())];
    if let Some(count) = &partitions {
        environment.push(("ATOLL_KV_PARTITIONS", count));
    }
    if places.iter().any(|place| !place.host.is_loopback()) {
        environment.push(("ATOLL_SECURITY_INSECURE", "true"));
    }
    let cluster = Cluster::start_at(server, places, disk, &environment).await?;
    placed(&cluster.nodes[0], places.len().min(REPLICAS)).await?;
    for node in &cluster.nodes {
        pong(redis_address(node)).await?;
    }
    Ok(cluster)
}

/// Where a node of Atoll serves Redis clients.
pub(crate) fn redis_address(node: &Node) -> SocketAddr {
    let layout = node.layout();
    SocketAddr::from((layout.place.host, layout.redis_port))
}

/// Waits until every partition has so many replicas and none is on its way.
pub(crate) async fn placed(node: &Node, replicas: usize) -> Result<()> {
    let deadline = Instant::now() + READY_WAIT;
    loop {
        let mut command = node.server().command();
        command.args(["--output", "json", "--endpoint", &node.endpoint(), "status"]);
        // A node that doesn't answer yet is asked again.
        if let Ok(told) = run(&mut command)
            && let Ok(status) = serde_json::from_str::<Value>(&told)
        {
            let hot = &status["hot"];
            if hot["moving"] == 0 && hot["waiting"] == 0 && hot["replicas_min"] == replicas {
                return Ok(());
            }
        }
        if Instant::now() > deadline {
            return Err(Error::Late("placing of every partition", READY_WAIT));
        }
        sleep(POLL).await;
    }
}

/// Waits until a server answers PING.
pub(crate) async fn pong(address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + READY_WAIT;
    loop {
        if let Ok(mut connection) = Connection::open(address).await
            && let Ok(Answer::Bytes(text)) = connection.ask_within(&[b"PING"], PING_WAIT).await
            && text == b"PONG"
        {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Error::Late("PONG", READY_WAIT));
        }
        sleep(POLL).await;
    }
}

/// Servers that run until they are dropped.
#[derive(Debug)]
pub(crate) enum Running {
    Atoll(Cluster),
    Redis(RedisServers),
}

impl Running {
    pub(crate) async fn target(&self) -> Result<Target> {
        match self {
            Self::Atoll(cluster) => Ok(Target {
                doors: Doors::plain(cluster.nodes.iter().map(redis_address).collect()),
                pids: cluster.pids(),
            }),
            Self::Redis(servers) => {
                let addresses = servers.addresses();
                let doors = match &addresses[..] {
                    [one] => Doors::plain(vec![*one]),
                    all => Doors::of_cluster(all[0]).await?,
                };
                let pids = servers.pids();
                Ok(Target { doors, pids })
            }
        }
    }

    /// SIGTERM, and waits for a clean end of each process.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        match self {
            Self::Atoll(cluster) => {
                for node in &mut cluster.nodes {
                    node.stop().await?;
                }
                Ok(())
            }
            Self::Redis(servers) => servers.stop().await,
        }
    }

    /// `kill -9`, and waits for the processes to be gone.
    pub(crate) fn kill(&mut self) {
        match self {
            Self::Atoll(cluster) => cluster.nodes.iter_mut().for_each(Node::kill),
            Self::Redis(servers) => servers.kill(),
        }
    }

    /// Starts the processes again, and waits for nothing.
    pub(crate) fn spawn_again(&mut self) -> Result<()> {
        match self {
            Self::Atoll(cluster) => {
                for node in &mut cluster.nodes {
                    node.spawn(&Entry::Again)?;
                }
                Ok(())
            }
            Self::Redis(servers) => servers.spawn_again(),
        }
    }

    /// Every process runs.
    ///
    /// # Errors
    /// One has ended; with what it said last.
    pub(crate) fn look(&mut self) -> Result<()> {
        match self {
            Self::Atoll(cluster) => {
                for node in &mut cluster.nodes {
                    if !node.is_running() {
                        return Err(Error::Ended("atoll", node.log_tail()));
                    }
                }
                Ok(())
            }
            Self::Redis(servers) => servers.look(),
        }
    }

    /// Where everything that the servers keep lies.
    pub(crate) fn dir(&self) -> &Path {
        match self {
            Self::Atoll(cluster) => cluster.dir(),
            Self::Redis(servers) => servers.dir(),
        }
    }
}
