//! The command lines of the servers under test. Whoever renames a flag changes it here.

use std::{
    env,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Environment variable that names a finished Atoll binary; unset, it is built.
pub const ATOLL_BIN: &str = "ATOLL_BIN";
/// Environment variable that names an etcd binary to run the tests against instead of Atoll.
pub const ETCD_BIN: &str = "ATOLL_E2E_ETCD";
/// etcd's space quota; its default of 2 GiB is less than a long measurement writes.
const ETCD_QUOTA_BYTES: u64 = 8 << 30;

/// Which server a binary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// This workspace's.
    Atoll,
    /// The one it is compared with.
    Etcd,
}

/// A server's binary.
#[derive(Clone, Debug)]
pub struct Server {
    /// Which command line it understands.
    pub kind: Kind,
    /// Where it is.
    pub path: PathBuf,
}

/// Where on the network a node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The address that its listeners bind.
    pub host: Ipv4Addr,
    /// The network namespace it is started in (`ip netns`), instead of the machine's own.
    pub namespace: Option<String>,
}

impl Default for Place {
    /// On loopback.
    fn default() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST,
            namespace: None,
        }
    }
}

/// What a node is told about itself.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Human name.
    pub name: String,
    /// Its directory; the server's data are below.
    pub dir: PathBuf,
    /// Where it runs.
    pub place: Place,
    /// Port for clients.
    pub client_port: u16,
    /// Port for other nodes.
    pub peer_port: u16,
    /// Where Redis clients come in, if the server has such a door.
    pub redis_port: u16,
    /// Where clients of Redis Cluster come in.
    pub redis_cluster_port: u16,
    /// Where clients of the Kubernetes API come in.
    pub kubernetes_port: u16,
}

/// How a node comes into its cluster.
#[derive(Clone, Debug)]
pub enum Entry {
    /// Makes a cluster of one.
    Found,
    /// Makes a cluster together with these (etcd only: name and peer port of each).
    FoundTogether(Vec<(String, u16)>),
    /// Joins through a node's listener with a token (Atoll only).
    Join {
        /// `HOST:PORT` of a node that is already there.
        host: String,
        /// What `token create` printed.
        token: String,
    },
    /// Finds everything in its directory.
    Again,
}

impl Server {
    /// The server that tests run against: Atoll, unless [`ETCD_BIN`] names an etcd.
    ///
    /// # Panics
    /// When Atoll must be built and the build fails.
    pub fn under_test() -> Self {
        match env::var_os(ETCD_BIN) {
            Some(path) => Self {
                kind: Kind::Etcd,
                path: path.into(),
            },
            None => Self {
                kind: Kind::Atoll,
                path: atoll_path().to_path_buf(),
            },
        }
    }

    /// The binary, without the variables that are meant for the tests: a node refuses
    /// settings that it does not know.
    pub fn command(&self) -> Command {
        self.command_at(&Place::default())
    }

    /// The same, run in a node's place. `ip netns exec` becomes the program that it starts, so
    /// the process is the server itself.
    fn command_at(&self, place: &Place) -> Command {
        let mut command = match &place.namespace {
            None => Command::new(&self.path),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(&self.path);
                command
            }
        };
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("ATOLL_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// The command that starts a node.
    pub fn start(&self, node: &Layout, entry: &Entry) -> Command {
        let mut command = self.command_at(&node.place);
        match self.kind {
            Kind::Atoll => atoll_start(&mut command, node, entry),
            Kind::Etcd => etcd_start(&mut command, node, entry),
        }
        command
    }

    /// The path that answers 200 once the server serves.
    pub fn ready_path(&self) -> &'static str {
        match self.kind {
            Kind::Atoll => "/readyz",
            // 3.4 and early 3.5 have no /readyz.
            Kind::Etcd => "/health",
        }
    }

    /// The command that prints a fresh join token for `uses` nodes (Atoll only).
    pub fn token_create(&self, node: &Layout, uses: usize) -> Command {
        let mut command = self.command();
        command
            .args(["token", "create", "--uses"])
            .arg(uses.to_string())
            .arg("--endpoint")
            .arg(format!("http://{}:{}", node.place.host, node.client_port));
        command
    }

    /// Finds the token in what [`Server::token_create`] printed.
    pub fn token_from(stdout: &str) -> Option<String> {
        stdout
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.contains(char::is_whitespace))
            .map(str::to_owned)
    }

    /// The command that makes a data directory from a snapshot file.
    pub fn restore(&self, node: &Layout, snapshot: &Path) -> Command {
        match self.kind {
            Kind::Atoll => {
                let mut command = self.command();
                command
                    .args(["snapshot", "restore"])
                    .arg(snapshot)
                    .arg("--dir")
                    .arg(data_dir(node));
                command
            }
            Kind::Etcd => {
                // etcdctl 3.4 and 3.5 restore; it lies beside the server.
                let mut command = Command::new(self.path.with_file_name("etcdctl"));
                let peer = format!("http://127.0.0.1:{}", node.peer_port);
                command
                    .env("ETCDCTL_API", "3")
                    .args(["snapshot", "restore"])
                    .arg(snapshot)
                    .arg("--data-dir")
                    .arg(data_dir(node))
                    .args(["--name", &node.name])
                    .args(["--initial-advertise-peer-urls", &peer])
                    .args(["--initial-cluster", &format!("{}={peer}", node.name)]);
                command
            }
        }
    }
}

/// Where a node's server keeps its data.
pub fn data_dir(node: &Layout) -> PathBuf {
    node.dir.join("data")
}

fn atoll_start(command: &mut Command, node: &Layout, entry: &Entry) {
    let host = node.place.host;
    command
        .arg("start")
        .arg("--dir")
        .arg(data_dir(node))
        .arg("--listen-client")
        .arg(format!("{host}:{}", node.client_port))
        .arg("--listen-peer")
        .arg(format!("{host}:{}", node.peer_port))
        .arg("--listen-redis")
        .arg(format!("{host}:{}", node.redis_port))
        .arg("--listen-redis-cluster")
        .arg(format!("{host}:{}", node.redis_cluster_port))
        .arg("--listen-kubernetes")
        .arg(format!("{host}:{}", node.kubernetes_port));
    match entry {
        Entry::Found | Entry::Again => {}
        Entry::Join { host, token } => {
            command.args(["--join", host, "--token", token]);
        }
        Entry::FoundTogether(_) => panic!("Atoll's nodes join one after the other"),
    }
}

fn etcd_start(command: &mut Command, node: &Layout, entry: &Entry) {
    let client = format!("http://127.0.0.1:{}", node.client_port);
    let peer = format!("http://127.0.0.1:{}", node.peer_port);
    let members = match entry {
        Entry::FoundTogether(members) => members
            .iter()
            .map(|(name, port)| format!("{name}=http://127.0.0.1:{port}"))
            .collect::<Vec<_>>()
            .join(","),
        Entry::Found | Entry::Again => format!("{}={peer}", node.name),
        Entry::Join { .. } => panic!("etcd's members are added, they don't join with a token"),
    };
    command
        .args(["--name", &node.name])
        .arg("--data-dir")
        .arg(data_dir(node))
        .args(["--listen-client-urls", &client])
        .args(["--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer])
        .args(["--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &members])
        .args(["--logger", "zap", "--log-level", "warn"])
        .args(["--quota-backend-bytes", &ETCD_QUOTA_BYTES.to_string()]);
}

/// The Atoll binary: [`ATOLL_BIN`], or built now, once a process, in the profile of this one.
///
/// # Panics
/// When it can't be built.
pub fn atoll_path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match env::var_os(ATOLL_BIN) {
        Some(path) => path.into(),
        None => build_atoll(),
    })
}

fn build_atoll() -> PathBuf {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Not `--package atoll`: with the features of that alone, everything would be built anew.
    cargo
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["build", "--quiet", "--bin", "atoll"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "building atoll failed: {status}");
    // target/PROFILE/deps/test-hash or target/PROFILE/bench: the binary lies in target/PROFILE.
    let own = env::current_exe().expect("the path of this program");
    own.ancestors()
        .skip(1)
        .map(|dir| dir.join("atoll"))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("no atoll near {}; name it in {ATOLL_BIN}", own.display()))
}
