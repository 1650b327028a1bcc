//! A PostgreSQL server on loopback, for each test its own.
// Edge of the house: real processes.
#![allow(clippy::disallowed_methods)]

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use atoll_e2e::ports;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Environment variable that names the folder of initdb, postgres and psql.
pub const BIN: &str = "ATOLL_POSTGRES_BIN";
/// The user of every test.
pub const USER: &str = "atoll";
/// Its password, which must never be seen in a log.
pub const PASSWORD: &str = "pa55-of-the-tests";
/// PostgreSQL refuses root; it is nobody then.
const NOBODY: u32 = 65_534;
/// How long it may take to serve.
const READY_WAIT: Duration = Duration::from_secs(60);

/// A server; killed when it is dropped.
pub struct Postgres {
    child: Option<Child>,
    bin: PathBuf,
    dir: TempDir,
    port: u16,
    /// Nobody gets in without.
    by_tls: bool,
}

impl Postgres {
    /// A server with these databases.
    ///
    /// # Panics
    /// It does not come up.
    pub fn start(databases: &[&str]) -> Postgres {
        Postgres::start_with(databases, None)
    }

    /// The same, where nobody gets in without TLS; and its certificate, for the name localhost.
    ///
    /// # Panics
    /// It does not come up.
    pub fn start_by_tls(databases: &[&str]) -> (Postgres, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
        let made = made.expect("a certificate");
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let server = Postgres::start_with(databases, Some((&certificate, &key)));
        (server, certificate)
    }

    fn start_with(databases: &[&str], certificate: Option<(&str, &str)>) -> Postgres {
        let bin = std::env::var_os(BIN);
        let bin = bin.unwrap_or_else(|| panic!("{BIN} names the folder of initdb and postgres"));
        // Where the folder is itself: nobody may not follow a link that lies in root's home.
        let bin = Path::new(&bin).canonicalize();
        let dir = tempfile::Builder::new().prefix("atoll-postgres-").tempdir();
        let mut server = Postgres {
            child: None,
            bin: bin.unwrap_or_else(|error| panic!("{BIN}: {error}")),
            dir: dir.expect("a temporary folder"),
            port: ports::free_port(),
            by_tls: certificate.is_some(),
        };
        let secret = server.dir.path().join("password");
        fs::write(&secret, PASSWORD).expect("it is ours");
        if rustix::process::getuid().is_root() {
            for path in [server.dir.path(), &secret] {
                chown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
            }
        }
        let mut initdb = server.command("initdb");
        initdb.arg("--pgdata").arg(server.data());
        initdb.args([
            "--username",
            USER,
            "--auth",
            "scram-sha-256",
            "--encoding",
            "UTF8",
        ]);
        initdb
            .args(["--locale", "C", "--no-sync", "--pwfile"])
            .arg(&secret);
        let made = initdb.output().expect("initdb runs");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        if let Some((certificate, key)) = certificate {
            let only_tls = "hostssl all all samehost scram-sha-256\n";
            for (name, content) in [
                ("server.crt", certificate),
                ("server.key", key),
                ("pg_hba.conf", only_tls),
            ] {
                server.write_secret(name, content);
            }
        }
        server.run();
        for database in databases {
            server.psql("postgres", &format!("CREATE DATABASE {database}"));
        }
        server
    }

    /// A file among the server's data that only the server may read.
    fn write_secret(&self, name: &str, content: &str) {
        let path = self.data().join(name);
        fs::write(&path, content).expect("it is ours");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
        if rustix::process::getuid().is_root() {
            chown(&path, Some(NOBODY), Some(NOBODY)).expect("root may");
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.current_dir(self.dir.path()).env("TZ", "UTC");
        if rustix::process::getuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Runs the server, again if it was killed.
    ///
    /// # Panics
    /// It does not come up.
    pub fn run(&mut self) {
        let log = self.dir.path().join("log");
        let log = fs::OpenOptions::new().create(true).append(true).open(log);
        let log = log.expect("it is ours");
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .arg("-p")
            .arg(self.port.to_string());
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_prepared_transactions=64",
            "jit=off",
            "shared_buffers=16MB",
            "restart_after_crash=off",
        ] {
            command.args(["-c", setting]);
        }
        if self.by_tls {
            command.args(["-c", "ssl=on"]);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.child = Some(command.spawn().expect("postgres runs"));
        let deadline = Instant::now() + READY_WAIT;
        while self.try_psql("postgres", "SELECT 1").is_err() {
            assert!(
                Instant::now() < deadline,
                "it does not serve: {}",
                self.log()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it at once and in the middle of everything, as a crash would.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        // Killed without this, it would leave processes behind that keep it from starting again.
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.expect("a process has a number");
        kill_process(pid, Signal::QUIT).expect("it runs");
        child.wait().expect("it ran");
    }

    /// What it said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Where nodes find a database.
    pub fn url(&self, database: &str) -> String {
        let (host, mode) = match self.by_tls {
            true => ("localhost", "?sslmode=require"),
            false => ("127.0.0.1", ""),
        };
        let port = self.port;
        format!("postgresql://{USER}:{PASSWORD}@{host}:{port}/{database}{mode}")
    }

    /// A psql that is not run yet.
    pub fn psql_command(&self, database: &str, sql: &str) -> Command {
        let mut command = Command::new(self.bin.join("psql"));
        command.env("PGPASSWORD", PASSWORD);
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER]);
        command.args([
            "-d",
            database,
            "-X",
            "-A",
            "-t",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            sql,
        ]);
        command
    }

    /// What a statement prints, or why it does not.
    ///
    /// # Errors
    /// What psql said.
    pub fn try_psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let done = self.psql_command(database, sql).output();
        let done = done.map_err(|error| error.to_string())?;
        match done.status.success() {
            true => Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned()),
            false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
        }
    }

    /// What a statement prints.
    ///
    /// # Panics
    /// It is refused.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        match self.try_psql(database, sql) {
            Ok(printed) => printed,
            Err(error) => panic!("{sql}: {error}"),
        }
    }

    /// A file that tells nodes of these databases, by their own names.
    ///
    /// # Panics
    /// It can't be written.
    pub fn file(&self, folder: &Path, databases: &[&str]) -> PathBuf {
        let section = |name: &&str| format!("[{name}]\nurl = \"{}\"\n", self.url(name));
        let path = folder.join("databases.toml");
        let text: String = databases.iter().map(section).collect();
        fs::write(&path, text).expect("it is ours");
        path
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}
