//! The endpoints, and Atoll, HAProxy and nginx in front of them, each set up to do the same:
//! requests go to three endpoints in turn, on connections that are kept, with the client's
//! address in X-Forwarded-For; nothing is logged.

use std::{
    fmt::Write as _,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use atoll_base::id::NodeId;
use atoll_e2e::{
    cluster::Cluster,
    command::{Kind, Place, Server},
    ports,
};
use atoll_world::pki::{Authority, Identity, LEAF_LIFE};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

use super::options::{CONNECTIONS_MAX, CompareProxyOptions, binary};
use crate::error::{Error, Result};

const ENDPOINTS: usize = 3;
/// How long a program may take until it listens, or until it has ended.
const WAIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// What a failed program said last.
const LOG_BYTES_MAX: usize = 2_000;
/// Those of clients and those to endpoints; a process may have 20,000 files on some machines.
const OPEN_MAX: usize = 4 * CONNECTIONS_MAX;
/// Requests on one connection: as many as anybody likes.
const REQUESTS_MAX: u64 = 1_000_000_000;

/// Who passes requests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proxy {
    Atoll,
    Haproxy,
    Nginx,
}

impl Proxy {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Atoll => "atoll",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }
}

/// A program that runs until this is dropped.
#[derive(Debug)]
struct Program {
    name: &'static str,
    child: Child,
    dir: PathBuf,
}

impl Program {
    async fn start(
        name: &'static str,
        command: &mut Command,
        dir: &Path,
        ports: &[u16],
    ) -> Result<Self> {
        let log = File::create(dir.join("log")).map_err(Error::io("make a log"))?;
        let errors = log.try_clone().map_err(Error::io("make a log"))?;
        let command = command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = command
            .spawn()
            .map_err(Error::io(&format!("start {name}")))?;
        let mut program = Self {
            name,
            child,
            dir: dir.to_owned(),
        };
        for port in ports {
            program.listens(*port).await?;
        }
        Ok(program)
    }

    async fn listens(&mut self, port: u16) -> Result<()> {
        let deadline = Instant::now() + WAIT;
        while !is_open(port).await {
            let ended = self.child.try_wait();
            if ended.map_err(Error::io("look after a program"))?.is_some() {
                let log = fs::read(self.dir.join("log")).unwrap_or_default();
                let last = &log[log.len().saturating_sub(LOG_BYTES_MAX)..];
                let said = String::from_utf8_lossy(last).into_owned();
                return Err(Error::Ended(self.name, said));
            }
            if Instant::now() > deadline {
                return Err(Error::Late("listening of a proxy", WAIT));
            }
            sleep(POLL).await;
        }
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Each fails only if the process is gone already, which is what is wanted.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let end = std::time::Instant::now() + WAIT;
        while matches!(self.child.try_wait(), Ok(None)) && std::time::Instant::now() < end {
            std::thread::sleep(POLL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn is_open(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect(address).await.is_ok()
}

pub(super) fn directory(disk: &Path, name: &str) -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    let made = builder
        .prefix(&format!("atoll-bench-{name}-"))
        .tempdir_in(disk);
    made.map_err(Error::io("make a directory"))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Error::io(&format!("write {}", path.display())))
}

/// What answers behind the proxies: one nginx, under three addresses.
#[derive(Debug)]
pub(super) struct Endpoints {
    ports: [u16; ENDPOINTS],
    // Before its directory: it ends first.
    _nginx: Program,
    _dir: TempDir,
}

impl Endpoints {
    pub(super) async fn start(options: &CompareProxyOptions) -> Result<Self> {
        let dir = directory(&options.disk, "endpoints")?;
        let ports = [(); ENDPOINTS].map(|()| ports::free_port());
        let mut listens = String::new();
        for port in ports {
            let _ = writeln!(listens, "listen 127.0.0.1:{port};");
        }
        for bytes in &options.body_bytes {
            write(&dir.path().join(bytes.to_string()), &"x".repeat(*bytes))?;
        }
        let root = dir.path().display();
        let server = format!(
            "open_file_cache max=100;
             server {{ {listens} root {root}; keepalive_requests {REQUESTS_MAX}; }}"
        );
        let nginx = nginx(options, dir.path(), &server, &ports).await?;
        Ok(Self {
            ports,
            _nginx: nginx,
            _dir: dir,
        })
    }

    /// One for each, with its number.
    fn lines(&self, line: impl Fn(usize, u16) -> String) -> String {
        let lines = self.ports.iter().enumerate();
        lines.map(|(at, port)| line(at, *port) + "\n").collect()
    }
}

/// The path of a body of so many bytes.
pub(super) fn path(body_bytes: usize) -> String {
    format!("/{body_bytes}")
}

/// One process, so that all of its CPU time is in one place.
async fn nginx(
    options: &CompareProxyOptions,
    dir: &Path,
    servers: &str,
    ports: &[u16],
) -> Result<Program> {
    let at = dir.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|of| format!("{of}_temp_path {at}/{of};"))
        .concat();
    let text = format!(
        "daemon off; master_process off; user root;
         pid {at}/pid; error_log stderr;
         events {{ worker_connections {OPEN_MAX}; }}
         http {{ access_log off; sendfile on; tcp_nopush on; {temporary} {servers} }}"
    );
    let file = dir.join("nginx.conf");
    write(&file, &text)?;
    let mut command = Command::new(options.tool("nginx")?);
    command
        .arg("-e")
        .arg("stderr")
        .arg("-p")
        .arg(dir)
        .arg("-c")
        .arg(&file);
    Program::start("nginx", &mut command, dir, ports).await
}

/// A proxy that runs until this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    // They end before their directory goes.
    processes: Processes,
    _dir: TempDir,
}

#[derive(Debug)]
enum Processes {
    Atoll(Cluster),
    Program(Program),
}

impl Running {
    pub(super) fn pids(&self) -> Vec<u32> {
        match &self.processes {
            Processes::Atoll(cluster) => cluster.pids(),
            Processes::Program(program) => vec![program.child.id()],
        }
    }
}

impl Proxy {
    pub(super) async fn start(
        self,
        options: &CompareProxyOptions,
        endpoints: &Endpoints,
    ) -> Result<Running> {
        let dir = directory(&options.disk, self.name())?;
        let identity = certificate()?;
        write(&dir.path().join("cert.pem"), &identity.chain_pem())?;
        write(&dir.path().join("key.pem"), identity.key_pem())?;
        let both = identity.chain_pem() + identity.key_pem();
        write(&dir.path().join("both.pem"), &both)?;
        let ports = [ports::free_port(), ports::free_port()];
        let processes = match self {
            Self::Atoll => Processes::Atoll(atoll(options, dir.path(), endpoints, ports).await?),
            Self::Haproxy => {
                Processes::Program(haproxy(options, dir.path(), endpoints, ports).await?)
            }
            Self::Nginx => {
                let servers = nginx_proxy(dir.path(), endpoints, ports);
                Processes::Program(nginx(options, dir.path(), &servers, &ports).await?)
            }
        };
        let [http, https] = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Ok(Running {
            http,
            https,
            processes,
            _dir: dir,
        })
    }
}

/// The same for all: ECDSA with P-256.
fn certificate() -> Result<Identity> {
    let told = |_| Error::Protocol("no certificate for the proxies could be made");
    let authority = Authority::create().map_err(told)?;
    let names = ["127.0.0.1".to_owned()];
    authority
        .issue_node(NodeId(1), &names, LEAF_LIFE)
        .map_err(told)
}

async fn atoll(
    options: &CompareProxyOptions,
    dir: &Path,
    endpoints: &Endpoints,
    [http, https]: [u16; 2],
) -> Result<Cluster> {
    let addresses = endpoints.lines(|_, port| format!("{{ address = \"127.0.0.1:{port}\" }},"));
    let text = format!(
        "[listeners.http]
         address = \"127.0.0.1:{http}\"
         protocol = \"http\"
         [listeners.https]
         address = \"127.0.0.1:{https}\"
         protocol = \"http\"
         tls = {{ certificates = [{{ cert = \"cert.pem\", key = \"key.pem\" }}] }}
         [backends.all]
         balancer = \"round-robin\"
         endpoints = [
         {addresses}]
         [[routes]]
         backend = \"all\"\n"
    );
    let file = dir.join("gateway.toml");
    write(&file, &text)?;
    let server = Server {
        kind: Kind::Atoll,
        path: binary(&options.atoll)?,
    };
    let file = file.display().to_string();
    let environment = [("ATOLL_GATEWAY_FILE", file.as_str())];
    let cluster = Cluster::start_at(&server, &[Place::default()], dir, &environment).await?;
    let deadline = Instant::now() + WAIT;
    while !(is_open(http).await && is_open(https).await) {
        if Instant::now() > deadline {
            return Err(Error::Ended("atoll", cluster.nodes[0].log_tail()));
        }
        sleep(POLL).await;
    }
    Ok(cluster)
}

async fn haproxy(
    options: &CompareProxyOptions,
    dir: &Path,
    endpoints: &Endpoints,
    [http, https]: [u16; 2],
) -> Result<Program> {
    let servers = endpoints.lines(|at, port| format!("    server s{at} 127.0.0.1:{port}"));
    let both = dir.join("both.pem");
    let text = format!(
        "global
    nbthread 1
    maxconn {OPEN_MAX}
defaults
    mode http
    option forwardfor
    http-reuse always
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend all
    bind 127.0.0.1:{http}
    bind 127.0.0.1:{https} ssl crt {} alpn h2,http/1.1
    default_backend all
backend all
    balance roundrobin
{servers}",
        both.display()
    );
    let file = dir.join("haproxy.cfg");
    write(&file, &text)?;
    let mut command = Command::new(options.tool("haproxy")?);
    // In the foreground.
    command.args(["-db", "-f"]).arg(&file);
    Program::start("haproxy", &mut command, dir, &[http, https]).await
}

fn nginx_proxy(dir: &Path, endpoints: &Endpoints, [http, https]: [u16; 2]) -> String {
    let servers = endpoints.lines(|_, port| format!("server 127.0.0.1:{port};"));
    let at = dir.display();
    // Answers are passed on in memory.
    format!(
        "upstream all {{ {servers} keepalive 1024; keepalive_requests {REQUESTS_MAX}; }}
         server {{
             listen 127.0.0.1:{http} backlog=4096;
             listen 127.0.0.1:{https} ssl http2 backlog=4096;
             ssl_certificate {at}/cert.pem;
             ssl_certificate_key {at}/key.pem;
             keepalive_requests {REQUESTS_MAX};
             location / {{
                 proxy_pass http://all;
                 proxy_http_version 1.1;
                 proxy_set_header Connection \"\";
                 proxy_set_header Host $host;
                 proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                 proxy_buffers 16 16k;
                 proxy_max_temp_file_size 0;
             }}
         }}"
    )
}
