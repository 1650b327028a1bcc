//! A PostgreSQL server for one turn.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use atoll_e2e::ports;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, NoTls};

use super::load::EACH;
use crate::error::{Error, Result};

/// PostgreSQL refuses root; it is nobody then.
const NOBODY: u32 = 65_534;
/// How long it may take to serve.
const READY_WAIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// A server with a table of accounts; it ends when it is dropped. Only its own machine may log in,
/// without a password.
pub(super) struct Postgres {
    child: Child,
    port: u16,
    dir: TempDir,
}

fn command(folder: &Path, name: &str, dir: &Path) -> Command {
    let mut command = Command::new(folder.join(name));
    command
        .current_dir(dir)
        .env("TZ", "UTC")
        .stdin(Stdio::null());
    if rustix::process::getuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn refused(error: &tokio_postgres::Error) -> Error {
    Error::Answer(error.to_string())
}

impl Postgres {
    /// Settings are its own, but for the room that its accounts need: what is committed is on
    /// disk.
    pub(super) async fn start(folder: &Path, disk: &Path, accounts: u64) -> Result<Postgres> {
        let folder = folder
            .canonicalize()
            .map_err(Error::io(&format!("find {}", folder.display())))?;
        let dir = tempfile::Builder::new()
            .prefix("bench-postgres-")
            .tempdir_in(disk);
        let dir = dir.map_err(Error::io("make a folder"))?;
        if rustix::process::getuid().is_root() {
            chown(dir.path(), Some(NOBODY), Some(NOBODY)).map_err(Error::io("give a folder"))?;
        }
        let data = dir.path().join("data");
        let made = command(&folder, "initdb", dir.path())
            .arg("--pgdata")
            .arg(&data)
            .args(["--username", "bench", "--auth", "trust", "--locale", "C"])
            .args(["--encoding", "UTF8"])
            .output()
            .map_err(Error::io("run initdb"))?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stderr).into_owned();
            return Err(Error::Ended("initdb", said));
        }
        let log = fs::File::create(dir.path().join("log")).map_err(Error::io("make a log"))?;
        let port = ports::free_port();
        let mut server = command(&folder, "postgres", dir.path());
        server.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=600",
            "shared_buffers=256MB",
        ] {
            server.args(["-c", setting]);
        }
        let child = server.stdout(Stdio::null()).stderr(log).spawn();
        let child = child.map_err(Error::io("run postgres"))?;
        let server = Postgres { child, port, dir };
        let deadline = Instant::now() + READY_WAIT;
        let client = loop {
            match server.client().await {
                Ok(client) => break client,
                Err(error) if Instant::now() > deadline => {
                    eprintln!("{error}");
                    return Err(Error::Ended("postgres", server.log()));
                }
                Err(_) => sleep(POLL).await,
            }
        };
        let last = accounts.saturating_sub(1);
        let sum = EACH * i64::try_from(accounts).unwrap_or(i64::MAX);
        let setup = format!(
            "CREATE TABLE account (id bigint PRIMARY KEY, held bigint NOT NULL);\
             CREATE TABLE account_sum (held bigint NOT NULL);\
             INSERT INTO account SELECT id, {EACH} FROM generate_series(0, {last}) AS id;\
             INSERT INTO account_sum VALUES ({sum});"
        );
        client
            .batch_execute(&setup)
            .await
            .map_err(|error| refused(&error))?;
        let settle = client.batch_execute("VACUUM ANALYZE account").await;
        settle.map_err(|error| refused(&error))?;
        Ok(server)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// A new connection.
    pub(super) async fn client(&self) -> Result<Client> {
        let address = format!(
            "host=127.0.0.1 port={} user=bench dbname=postgres",
            self.port
        );
        let connected = tokio_postgres::connect(&address, NoTls).await;
        let (client, connection) = connected.map_err(|error| refused(&error))?;
        // It ends with its client.
        tokio::spawn(connection);
        Ok(client)
    }

    /// All its processes: one for each connection, and its helpers.
    pub(super) fn pids(&self) -> Result<Vec<u32>> {
        let own = self.child.id();
        let mut pids = vec![own];
        let listed = fs::read_dir("/proc").map_err(Error::io("/proc"))?;
        for entry in listed.filter_map(std::result::Result::ok) {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let stat: PathBuf = entry.path().join("stat");
            // It may have ended by now.
            let stat = fs::read_to_string(stat).unwrap_or_default();
            let parent = stat.rsplit_once(')').and_then(|(_, rest)| {
                let parent = rest.split_whitespace().nth(1)?;
                parent.parse::<u32>().ok()
            });
            if parent == Some(own) {
                pids.push(pid);
            }
        }
        Ok(pids)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT ends its helpers, too; SIGKILL would leave them.
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid
            && kill_process(pid, Signal::QUIT).is_ok()
        {
            let _ = self.child.wait();
        }
    }
}
