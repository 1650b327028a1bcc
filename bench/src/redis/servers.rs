//! Starts Atoll, a redis-server, or a Redis Cluster for one turn.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use atoll_e2e::{
    cluster::Cluster,
    command::{Kind, Place, Server},
    node::{Node, run},
    ports,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{
    keys::Doors,
    load::Target,
    options::{Keeping, RedisPair, binary},
    wire::{Answer, Connection},
};
use crate::error::{Error, Result};

/// How long servers may take until everything is in its place.
const READY_WAIT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);
const PING_WAIT: Duration = Duration::from_secs(5);
/// Replicas of a partition, as far as there are nodes.
pub(crate) const REPLICAS: usize = 3;
/// What a failed redis-server said last.
const LOG_BYTES_MAX: usize = 2_000;

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
        // A node that doesn't answer yet is asked again.
        if node.is_placed(replicas).unwrap_or(false) {
            return Ok(());
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
                let all = &servers.processes;
                let doors = match &all[..] {
                    [one] => Doors::plain(vec![one.address()]),
                    _ => Doors::of_cluster(all[0].address()).await?,
                };
                let pids = all.iter().map(|it| it.child.id()).collect();
                Ok(Target { doors, pids })
            }
        }
    }
}

/// Redis processes and the directory they share.
#[derive(Debug)]
pub(crate) struct RedisServers {
    processes: Vec<RedisProcess>,
    // After the processes: they are killed before their directory goes.
    _dir: TempDir,
}

impl RedisServers {
    async fn one(path: &Path, keeping: Keeping, disk: &Path) -> Result<Running> {
        let dir = directory(disk)?;
        let process = RedisProcess::start(path, dir.path(), keeping, false).await?;
        Ok(Running::Redis(Self {
            processes: vec![process],
            _dir: dir,
        }))
    }

    async fn cluster(path: &Path, keeping: Keeping, disk: &Path) -> Result<Running> {
        const PROCESSES: usize = 6;
        let dir = directory(disk)?;
        let mut processes = Vec::new();
        for _ in 0..PROCESSES {
            processes.push(RedisProcess::start(path, dir.path(), keeping, true).await?);
        }
        let mut create = Command::new(path.with_file_name("redis-cli"));
        create.args(["--cluster", "create"]);
        create.args(processes.iter().map(|it| it.address().to_string()));
        create.args(["--cluster-replicas", "1", "--cluster-yes"]);
        run(&mut create)?;
        for process in &processes {
            process.linked().await?;
        }
        Ok(Running::Redis(Self {
            processes,
            _dir: dir,
        }))
    }
}

fn directory(disk: &Path) -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix("atoll-bench-redis-")
        .tempdir_in(disk)
        .map_err(Error::io("make Redis's directory"))
}

/// One redis-server; killed when dropped.
#[derive(Debug)]
struct RedisProcess {
    child: Child,
    port: u16,
}

impl RedisProcess {
    async fn start(path: &Path, parent: &Path, keeping: Keeping, clustered: bool) -> Result<Self> {
        let port = ports::free_port();
        let dir = parent.join(port.to_string());
        fs::create_dir_all(&dir).map_err(Error::io("make Redis's directory"))?;
        let log = File::create(dir.join("log")).map_err(Error::io("make Redis's log"))?;
        let errors = log.try_clone().map_err(Error::io("make Redis's log"))?;
        let mut command = Command::new(path);
        command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .arg("--dir")
            .arg(&dir)
            // Snapshots by time are not what is compared; the append-only file is.
            .args(["--save", ""])
            .args(keeping.redis());
        if clustered {
            // By default the bus takes the port 10,000 above, which may be somebody's.
            let bus = ports::free_port().to_string();
            command.args(["--cluster-enabled", "yes", "--cluster-port", &bus]);
        }
        let child = command
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(Error::io(&format!("start {}", path.display())))?;
        let mut process = Self { child, port };
        process.ready(&dir).await?;
        Ok(process)
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    async fn ready(&mut self, dir: &Path) -> Result<()> {
        // A server that ended would be asked in vain.
        sleep(POLL).await;
        let ended = self.child.try_wait();
        if let Some(status) = ended.map_err(Error::io("look after redis-server"))? {
            let log = fs::read(dir.join("log")).unwrap_or_default();
            let log = String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_BYTES_MAX)..])
                .into_owned();
            return Err(Error::Options(format!(
                "redis-server ended with {status}; it said:\n{log}"
            )));
        }
        pong(self.address()).await
    }

    /// Waits until the node knows an owner of every slot, and a replica is linked to its master.
    async fn linked(&self) -> Result<()> {
        let deadline = Instant::now() + READY_WAIT;
        let mut connection = Connection::open(self.address()).await?;
        loop {
            let cluster = text(connection.ask(&[b"CLUSTER", b"INFO"]).await?)?;
            let own = text(connection.ask(&[b"INFO", b"replication"]).await?)?;
            let linked = own.contains("role:master") || own.contains("master_link_status:up");
            if cluster.contains("cluster_state:ok") && linked {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::Late("a Redis Cluster that is ok", READY_WAIT));
            }
            sleep(POLL).await;
        }
    }
}

impl Drop for RedisProcess {
    fn drop(&mut self) {
        // Either fails only if the process is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(answer: Answer) -> Result<String> {
    match answer {
        Answer::Bytes(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Answer::Refused(text) => Err(Error::Answer(text)),
        _ => Err(Error::Protocol("an answer is no text")),
    }
}
