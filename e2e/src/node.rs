//! One server process and its directory.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::{
    command::{Entry, Layout, Place, Server},
    ports, probe,
};

/// How long a node may take to serve, on a slow and busy machine.
pub const READY_WAIT: Duration = Duration::from_secs(60);
/// How long a node may take to stop when asked.
pub const STOP_WAIT: Duration = Duration::from_secs(30);
/// How often a condition is looked at again.
pub const POLL: Duration = Duration::from_millis(10);
/// How much of a server's log a failed test prints.
const LOG_LINES_MAX: usize = 80;

/// Why a node didn't do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("{what}: {source}")]
    Os {
        /// What was asked of it.
        what: String,
        /// Its answer.
        source: io::Error,
    },
    /// The process ended instead of serving.
    #[error("{name} ended with {status} before it served; it said:\n{log}")]
    Ended {
        /// The node.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// It neither served nor ended, or didn't stop.
    #[error("{name}: not {what} within {wait:?}; it said:\n{log}")]
    Late {
        /// The node.
        name: String,
        /// What it was to be.
        what: &'static str,
        /// How long was waited.
        wait: Duration,
        /// The end of its log.
        log: String,
    },
    /// A command of the binary failed.
    #[error("{command} ended with {status}:\n{output}")]
    Command {
        /// The command.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it printed on both streams.
        output: String,
    },
    /// A command of the binary printed something else than was expected.
    #[error("no join token in what `token create` printed:\n{0}")]
    NoToken(String),
    /// The same.
    #[error("not what {command} prints for programs:\n{printed}")]
    Unfit {
        /// The command.
        command: String,
        /// What it printed.
        printed: String,
    },
}

/// A server process; killed when dropped, its directory is its maker's.
#[derive(Debug)]
pub struct Node {
    server: Server,
    layout: Layout,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

impl Node {
    /// A node that isn't running yet, with a directory of its own below `parent` and free ports.
    ///
    /// # Errors
    /// The directory can't be made.
    pub fn new(server: Server, parent: &Path, name: &str) -> Result<Self, Error> {
        Self::new_at(server, parent, name, Place::default())
    }

    /// The same, at a place of its own.
    ///
    /// # Errors
    /// The directory can't be made.
    pub fn new_at(server: Server, parent: &Path, name: &str, place: Place) -> Result<Self, Error> {
        let dir = parent.join(name);
        fs::create_dir_all(&dir).map_err(os("make a node's directory"))?;
        let layout = Layout {
            name: name.to_owned(),
            dir,
            place,
            client_port: ports::free_port(),
            peer_port: ports::free_port(),
            redis_port: ports::free_port(),
            redis_cluster_port: ports::free_port(),
            kubernetes_port: ports::free_port(),
        };
        Ok(Self {
            server,
            layout,
            environment: Vec::new(),
            child: None,
        })
    }

    /// What the node is told about itself.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Variables for the next starts, instead of those set before.
    pub fn set_environment(&mut self, environment: &[(&str, &str)]) {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.environment = environment.iter().map(owned).collect();
    }

    /// The server this node runs.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// `http://HOST:PORT` for clients.
    pub fn endpoint(&self) -> String {
        format!(
            "http://{}:{}",
            self.layout.place.host, self.layout.client_port
        )
    }

    /// A command of the binary that asks this node (Atoll only).
    pub fn atoll(&self, words: &[&str]) -> Command {
        let mut command = self.server.command();
        command.args(["--endpoint", &self.endpoint()]).args(words);
        command
    }

    /// What such a command answers to a program.
    ///
    /// # Errors
    /// It fails, or prints no JSON.
    pub fn told(&self, words: &[&str]) -> Result<Value, Error> {
        let mut command = self.atoll(words);
        command.args(["--output", "json"]);
        let printed = run(&mut command)?;
        serde_json::from_str(&printed).map_err(|_| Error::Unfit {
            command: words.join(" "),
            printed,
        })
    }

    /// Posts JSON to the client port; the answer's status, and its JSON if it is any.
    ///
    /// # Errors
    /// The node can't be reached, or answers with no HTTP.
    pub async fn post(&self, path: &str, body: &Value) -> Result<(u16, Value), Error> {
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut answer = String::new();
        let asked = async {
            let layout = self.layout();
            let address = (layout.place.host, layout.client_port);
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(request.as_bytes()).await?;
            stream.read_to_string(&mut answer).await
        };
        asked.await.map_err(|source| Error::Os {
            what: format!("POST {path}"),
            source,
        })?;
        let parts = answer.split_once("\r\n\r\n").and_then(|(head, body)| {
            let code = head.split(' ').nth(1)?.parse().ok()?;
            Some((code, serde_json::from_str(body).unwrap_or(Value::Null)))
        });
        parts.ok_or_else(|| Error::Unfit {
            command: format!("POST {path}"),
            printed: answer,
        })
    }

    /// The node's id, as commands name it: on one machine all nodes have one name.
    ///
    /// # Errors
    /// It can't be asked, or does not tell of itself.
    pub fn id(&self) -> Result<String, Error> {
        let list = self.told(&["node", "list"])?;
        let endpoint = self.endpoint();
        let is_own = |it: &&Value| {
            let urls = it["client_urls"].as_array();
            urls.is_some_and(|urls| urls.iter().any(|url| *url == endpoint))
        };
        let own = list.as_array().and_then(|nodes| nodes.iter().find(is_own));
        let id = own.and_then(|node| node["id"].as_str());
        id.map(str::to_owned).ok_or_else(|| Error::Unfit {
            command: "node list".to_owned(),
            printed: list.to_string(),
        })
    }

    /// Whether every partition has so many replicas and none is on its way.
    ///
    /// # Errors
    /// The node can't be asked.
    pub fn is_placed(&self, replicas: usize) -> Result<bool, Error> {
        let hot = &self.told(&["status"])?["hot"];
        Ok(hot["moving"] == 0 && hot["waiting"] == 0 && hot["replicas_min"] == replicas)
    }

    /// The process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether the process was started and has not ended.
    pub fn is_running(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Starts the process and returns once it serves.
    ///
    /// # Errors
    /// It can't be started, ends, or doesn't serve within [`READY_WAIT`].
    pub async fn start(&mut self, entry: &Entry) -> Result<(), Error> {
        self.spawn(entry)?;
        self.ready().await
    }

    /// Starts the process and returns at once.
    ///
    /// # Errors
    /// It can't be started.
    ///
    /// # Panics
    /// When it already runs.
    pub fn spawn(&mut self, entry: &Entry) -> Result<(), Error> {
        assert!(self.child.is_none(), "{} already runs", self.layout.name);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .map_err(os("open a node's log"))?;
        let errors = log.try_clone().map_err(os("open a node's log"))?;
        let mut command = self.server.start(&self.layout, entry);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let child = command
            .current_dir(&self.layout.dir)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(os(&format!("start {}", self.server.path.display())))?;
        self.child = Some(child);
        Ok(())
    }

    /// Returns once the node serves clients.
    ///
    /// # Errors
    /// It ends, or doesn't serve within [`READY_WAIT`].
    pub async fn ready(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + READY_WAIT;
        loop {
            let answer = probe::get_at(
                self.layout.place.host,
                self.layout.client_port,
                self.server.ready_path(),
            )
            .await;
            if matches!(answer, Ok((200, _))) {
                return Ok(());
            }
            let child = self.child.as_mut().expect("a started node");
            if let Some(status) = child.try_wait().map_err(os("look after a node"))? {
                self.child = None;
                return Err(Error::Ended {
                    name: self.layout.name.clone(),
                    status,
                    log: self.log_tail(),
                });
            }
            if Instant::now() > deadline {
                return Err(self.late("serving", READY_WAIT));
            }
            sleep(POLL).await;
        }
    }

    /// `kill -9`, and waits for the process to be gone. Nothing happens if it isn't running.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Either fails only if the process is gone already, which is what is wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, and waits for a clean end.
    ///
    /// # Errors
    /// It ends with a failure, or not within [`STOP_WAIT`] (then it is killed).
    ///
    /// # Panics
    /// When it isn't running.
    pub async fn stop(&mut self) -> Result<(), Error> {
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + STOP_WAIT;
        loop {
            let child = self.child.as_mut().expect("a started node");
            if let Some(status) = child.try_wait().map_err(os("look after a node"))? {
                self.child = None;
                // etcd hands SIGTERM back to itself at the end.
                if status.success() || self.server.kind == crate::command::Kind::Etcd {
                    return Ok(());
                }
                return Err(Error::Ended {
                    name: self.layout.name.clone(),
                    status,
                    log: self.log_tail(),
                });
            }
            if Instant::now() > deadline {
                self.kill();
                return Err(self.late("stopped", STOP_WAIT));
            }
            sleep(POLL).await;
        }
    }

    /// Stops the process where it stands (SIGSTOP): it keeps its connections and answers nothing.
    ///
    /// # Errors
    /// The operating system refuses.
    ///
    /// # Panics
    /// When it isn't running.
    pub fn pause(&self) -> Result<(), Error> {
        self.signal(Signal::STOP)
    }

    /// Lets a paused process go on.
    ///
    /// # Errors
    /// The operating system refuses.
    ///
    /// # Panics
    /// When it isn't running.
    pub fn resume(&self) -> Result<(), Error> {
        self.signal(Signal::CONT)
    }

    /// The end of what the process wrote on both streams, over all its starts.
    pub fn log_tail(&self) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n")
    }

    fn log_path(&self) -> PathBuf {
        self.layout.dir.join("node.log")
    }

    fn late(&self, what: &'static str, wait: Duration) -> Error {
        Error::Late {
            name: self.layout.name.clone(),
            what,
            wait,
            log: self.log_tail(),
        }
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        let child = self.child.as_ref().expect("a started node");
        kill_process(Pid::from_child(child), signal)
            .map_err(|error| os("signal a node")(io::Error::from(error)))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- {} said:\n{}", self.layout.name, self.log_tail());
        }
    }
}

/// Runs a command of a server's binary to its end and answers what it printed on stdout.
///
/// # Errors
/// It can't be started, or fails.
pub fn run(command: &mut Command) -> Result<String, Error> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(os(&format!("start {command:?}")))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    Err(Error::Command {
        command: format!("{command:?}"),
        status: output.status,
        output: stdout + &String::from_utf8_lossy(&output.stderr),
    })
}

pub(crate) fn os(what: &str) -> impl FnOnce(io::Error) -> Error + use<> {
    let what = what.to_owned();
    move |source| Error::Os { what, source }
}
