//! Processes of Debian's redis-server: one, or a Redis Cluster.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use atoll_e2e::{node::run, ports};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{
    options::Keeping,
    servers::{POLL, READY_WAIT, Running, pong},
    wire::{Answer, Connection},
};
use crate::error::{Error, Result};

/// How often a server that stops is looked at.
const STOP_POLL: Duration = Duration::from_millis(10);
/// What a failed redis-server said last.
const LOG_BYTES_MAX: usize = 2_000;

/// Redis processes and the directory they share.
#[derive(Debug)]
pub(crate) struct RedisServers {
    processes: Vec<RedisProcess>,
    // After the processes: they are killed before their directory goes.
    dir: TempDir,
}

impl RedisServers {
    pub(super) async fn one(path: &Path, keeping: Keeping, disk: &Path) -> Result<Running> {
        let dir = directory(disk)?;
        let process = RedisProcess::start(path, dir.path(), keeping, false).await?;
        Ok(Running::Redis(Self {
            processes: vec![process],
            dir,
        }))
    }

    pub(super) async fn cluster(path: &Path, keeping: Keeping, disk: &Path) -> Result<Running> {
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
        Ok(Running::Redis(Self { processes, dir }))
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.processes.iter().map(RedisProcess::address).collect()
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(|it| it.child.id()).collect()
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(super) async fn stop(&mut self) -> Result<()> {
        for process in &mut self.processes {
            process.stop().await?;
        }
        Ok(())
    }

    pub(super) fn kill(&mut self) {
        self.processes.iter_mut().for_each(RedisProcess::kill);
    }

    pub(super) fn spawn_again(&mut self) -> Result<()> {
        for process in &mut self.processes {
            process.child = spawn(&mut process.command)?;
        }
        Ok(())
    }

    pub(super) fn look(&mut self) -> Result<()> {
        self.processes.iter_mut().try_for_each(RedisProcess::look)
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
    command: Command,
    child: Child,
    dir: PathBuf,
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
        command
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        let child = spawn(&mut command)?;
        let mut process = Self {
            command,
            child,
            dir,
            port,
        };
        process.ready().await?;
        Ok(process)
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    async fn ready(&mut self) -> Result<()> {
        // A server that ended would be asked in vain.
        sleep(POLL).await;
        self.look()?;
        pong(self.address()).await
    }

    fn look(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(_) => Err(Error::Ended("redis-server", self.log_tail())),
        }
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let ended = self.child.try_wait();
        ended.map_err(Error::io("look after redis-server"))
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.dir.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_BYTES_MAX)..]).into_owned()
    }

    async fn stop(&mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)
            .map_err(|error| Error::io("stop redis-server")(error.into()))?;
        let deadline = Instant::now() + READY_WAIT;
        loop {
            match self.ended()? {
                Some(status) if status.success() => return Ok(()),
                Some(_) => return Err(Error::Ended("redis-server", self.log_tail())),
                None if Instant::now() > deadline => {
                    return Err(Error::Late("end of redis-server", READY_WAIT));
                }
                None => sleep(STOP_POLL).await,
            }
        }
    }

    fn kill(&mut self) {
        // Either fails only if the process is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
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
        self.kill();
    }
}

fn spawn(command: &mut Command) -> Result<Child> {
    let program = command.get_program().display().to_string();
    let child = command.spawn();
    child.map_err(Error::io(&format!("start {program}")))
}

fn text(answer: Answer) -> Result<String> {
    match answer {
        Answer::Bytes(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Answer::Refused(text) => Err(Error::Answer(text)),
        _ => Err(Error::Protocol("an answer is no text")),
    }
}
