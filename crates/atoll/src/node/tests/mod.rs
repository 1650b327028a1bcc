//! Whole nodes in this process, on real sockets and disks: who is let in, and who is not.

mod doors;
mod drains;
mod redis_users;
mod rotation;
mod tokens;
mod transactions;
mod users;

use std::{path::Path, time::Duration};

use atoll_base::config::{Config, Sources};
use atoll_control::proto::etcdserverpb as pb;
use atoll_world::{
    clock, journal, net,
    pki::{Authority, Identity, KeyRequest, Trust, files},
    random, task,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{Node, Origin};
use crate::{
    client::{Client, Login, Options, Retry},
    error::CliError,
    init,
    password::Secret,
    settings::{self, SettingFlags},
};

/// No answer takes longer, on a slow and busy machine.
const WAIT: Duration = Duration::from_secs(30);

/// Settings of a node whose listeners others can reach, on any free ports.
pub(super) fn settings(dir: &Path, more: &[(&str, &str)]) -> Config {
    let mut flags = SettingFlags::default();
    flags.push("node.dir", dir.display().to_string());
    flags.push("listen.client", "0.0.0.0:0".into());
    flags.push("listen.redis", "127.0.0.1:0".into());
    flags.push("listen.redis_cluster", "127.0.0.1:0".into());
    flags.push("listen.kubernetes", "127.0.0.1:0".into());
    flags.push("listen.peer", "127.0.0.1:0".into());
    for (path, value) in more {
        flags.push(path, (*value).to_owned());
    }
    settings::load(None, &flags).unwrap().config
}

/// A node and everything that it runs, so that its folder is free when it has stopped.
pub(crate) struct Life {
    pub(super) node: Node,
    runtime: Runtime,
}

impl Life {
    /// Starts a node. A folder is free a moment after its last node has stopped, when the
    /// thread that writes the journal has seen it.
    pub(super) async fn start(config: &Config, origin: Origin) -> Result<Life, CliError> {
        let deadline = clock::now() + WAIT;
        loop {
            let (config, origin) = (config.clone(), origin.clone());
            let (runtime, started) = alive(async move { Node::start(&config, origin).await }).await;
            match started {
                Ok(node) => return Ok(Life { node, runtime }),
                Err(error) => {
                    end(runtime).await;
                    if !error.to_string().contains("open elsewhere") || clock::now() > deadline {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Stops it in order.
    pub(crate) async fn stop(self) {
        let Life { node, runtime } = self;
        runtime.spawn(node.stop()).await.unwrap();
        end(runtime).await;
    }
}

/// Does something in a runtime of its own.
async fn alive<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> (Runtime, T) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let done = runtime.spawn(work).await.unwrap();
    (runtime, done)
}

/// Returns when nothing of it runs any more.
async fn end(runtime: Runtime) {
    task::blocking(move || drop(runtime)).await;
}

/// A cluster of one node that clients reach by TLS.
pub(crate) struct Lone {
    pub(super) dir: TempDir,
    pub(crate) life: Life,
    pub(super) password: String,
}

impl Lone {
    pub(crate) async fn start(more: &[(&str, &str)]) -> Lone {
        let dir = TempDir::new().unwrap();
        let config = settings(dir.path(), more);
        let made = config.clone();
        let (runtime, made) = alive(async move { init::make(&made).await }).await;
        end(runtime).await;
        let life = Life::start(&config, Origin::Directory).await.unwrap();
        Lone {
            dir,
            life,
            password: made.unwrap().1,
        }
    }

    pub(crate) fn node(&self) -> &Node {
        &self.life.node
    }

    pub(super) fn authority(&self) -> Authority {
        let authority =
            files::load_authority(&self.dir.path().join("pki"), files::Which::Current).unwrap();
        authority.unwrap()
    }

    pub(super) fn trust(&self) -> Trust {
        self.authority().trust()
    }

    pub(crate) fn root(&self) -> Client {
        self.client(Some("root"), None)
    }

    /// How root reaches it.
    pub(crate) fn options(&self) -> Options {
        let login = Some(("root", &*self.password));
        options_of(self.node(), &self.trust(), login, None)
    }

    /// A client that logs in by password or by certificate, or not at all.
    pub(super) fn client(&self, user: Option<&str>, identity: Option<&Identity>) -> Client {
        client_of(
            self.node(),
            &self.trust(),
            user.map(|user| (user, &*self.password)),
            identity,
        )
    }
}

pub(super) fn client_of(
    node: &Node,
    trust: &Trust,
    login: Option<(&str, &str)>,
    identity: Option<&Identity>,
) -> Client {
    Client::new(options_of(node, trust, login, identity))
}

fn options_of(
    node: &Node,
    trust: &Trust,
    login: Option<(&str, &str)>,
    identity: Option<&Identity>,
) -> Options {
    let login = login.map(|(user, password)| Login {
        user: user.to_owned(),
        password: Secret(password.to_owned()),
    });
    Options {
        endpoints: vec![node.client_url.clone()],
        ca: Some(atoll_world::pki::certificates_to_pem(&trust.roots)),
        identity: identity.map(|it| (it.chain_pem(), Secret(it.key_pem().to_owned()))),
        login,
        timeout: WAIT,
    }
}

pub(super) async fn put(client: &Client, key: &str) -> Result<pb::PutResponse, CliError> {
    let request = pb::PutRequest {
        key: key.to_owned().into(),
        ..pb::PutRequest::default()
    };
    client
        .call(Retry::Safe, request, |node, r| async move {
            node.kv().put(r).await
        })
        .await
}

pub(super) fn key_request() -> KeyRequest {
    KeyRequest::new().unwrap()
}

/// Does something at a date that is long past, as a simulation would.
pub(super) fn long_ago<T>(work: impl FnOnce() -> T) -> T {
    random::seed_thread(1);
    let done = work();
    random::unseed_thread();
    done
}

/// Looks until there is an answer.
pub(super) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = clock::now() + WAIT;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(clock::now() < deadline, "not within {WAIT:?}: {what}");
        clock::sleep(Duration::from_millis(20)).await;
    }
}

/// A port that nothing listens on.
pub(super) async fn free_port() -> u16 {
    let listener = net::listen("127.0.0.1:0").await.unwrap();
    listener.local_address().port()
}

/// What the settings let through, the journal takes: it asserts its bounds.
#[test]
fn segments_are_of_a_size_that_the_journal_takes() {
    let is_taken = |bytes: u64| {
        let flag = ("journal.segment_bytes".to_owned(), bytes.to_string());
        let sources = Sources {
            flags: vec![flag],
            ..Default::default()
        };
        sources.load().is_ok()
    };
    assert!(is_taken(journal::SEGMENT_BYTES_MAX));
    assert!(!is_taken(journal::SEGMENT_BYTES_MAX + 1));
    assert!(!is_taken(journal::SEGMENT_BYTES_MIN - 1));
}
