//! `atoll init`: make a cluster that others can reach.

use std::time::Duration;

use atoll_base::config::{Address, Config};
use atoll_control::{
    api::ControlApi as _,
    core::error::Error,
    driver::system_identity,
    proto::{etcdserverpb as pb, internal::command::Op},
};
use atoll_world::{clock, pki, random};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args;

use crate::{
    context::{Context, Contexts},
    error::CliError,
    node::{self, Directory, Node, Origin, record::Record},
    output,
    settings::SettingFlags,
};

/// Arguments of `atoll init`.
#[derive(Clone, Debug, Args)]
pub(crate) struct InitArgs {
    /// The name or address that others reach this machine by, and the port for clients if it
    /// is not 2379. Other nodes come in on port 2380 of it.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) listen: String,
    /// The name of the context to write; the current one from then on.
    #[arg(long = "context-name", default_value = "default", value_name = "NAME")]
    pub(crate) context_name: String,
    #[command(flatten)]
    settings: SettingFlags,
}

/// The ports of listeners that a bare host is given.
const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;

/// Where Redis clients come in, and those of Redis Cluster.
const REDIS_PORT: u16 = 6379;
const REDIS_CLUSTER_PORT: u16 = 7379;

/// Where clients of the Kubernetes API come in.
const KUBERNETES_PORT: u16 = 6443;

impl InitArgs {
    /// The settings, with all listeners at `--listen` unless they were named themselves.
    pub(crate) fn settings(&self) -> SettingFlags {
        let address = self.listen.parse().unwrap_or(Address {
            host: self.listen.trim_matches(['[', ']']).to_owned(),
            port: CLIENT_PORT,
        });
        let at = |port| Address {
            port,
            ..address.clone()
        };
        let (peer, redis) = (at(PEER_PORT), at(REDIS_PORT));
        let redis_cluster = at(REDIS_CLUSTER_PORT);
        let mut all = SettingFlags::default();
        all.push("listen.client", address.to_string());
        all.push("listen.redis", redis.to_string());
        all.push("listen.redis_cluster", redis_cluster.to_string());
        all.push("listen.kubernetes", at(KUBERNETES_PORT).to_string());
        all.push("listen.peer", peer.to_string());
        all.extend(&self.settings);
        all
    }
}

/// How long the new cluster may take to answer for the first time.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// Random bytes in the first password.
const PASSWORD_BYTES: usize = 18;

/// Makes the cluster: the authority, the root user, authentication switched on; and a context
/// that later commands use.
///
/// # Errors
/// The folder holds a cluster already, or cannot be written.
pub(crate) async fn run(args: InitArgs, config: Config) -> Result<(), CliError> {
    let (record, password) = make(&config).await?;

    // On loopback alone clients need no TLS.
    let scheme = if config.leaves_loopback() {
        "https"
    } else {
        "http"
    };
    let client = format!(
        "{scheme}://{}:{}",
        advertised(&config),
        config.client_address().port
    );
    let keyring = pki::Keyring::open(&config.node.dir.join("pki")).map_err(node::pki_failed)?;
    let path = Contexts::path()?;
    let mut contexts = Contexts::load(&path)?;
    let context = Context {
        endpoints: vec![client.clone()],
        user: Some("root".into()),
        ca: Some(keyring.roots_pem()),
        ..Context::default()
    };
    contexts.put(&args.context_name, context);
    contexts.save(&path)?;
    output::print(&format!(
        "\
Cluster {cluster} is made, in {dir}.

  root password   {password}
                  (shown this once; `atoll user passwd root` changes it)
  context         {context}, in {path}: commands on this machine use it from now on
  start it        atoll start --dir {dir} {listeners}
  clients         {client}
",
        cluster = record.cluster,
        dir = config.node.dir.display(),
        context = args.context_name,
        path = path.display(),
        listeners = listeners(&config),
    ))
}

/// Makes the cluster and its root user; answers who its first node is, and root's password.
///
/// # Errors
/// The folder holds a node already, or cannot be written.
pub(crate) async fn make(config: &Config) -> Result<(Record, String), CliError> {
    let directory = Directory::open(&config.node.dir)?;
    if directory.record()?.is_some() {
        return Err(CliError::failed(
            format!("{} holds a node already", config.node.dir.display()),
            "Start it with `atoll start`, or choose another folder with --dir.",
        ));
    }
    let record = directory.found(&node::hosts(config))?;
    drop(directory);

    // The first start is on loopback, with any free ports: nobody else may come in before
    // there is a root user.
    let mut private = config.clone();
    private.listen.client = Address {
        host: "127.0.0.1".into(),
        port: 0,
    };
    private.listen.peer = private.listen.client.clone();
    private.listen.redis = private.listen.client.clone();
    private.listen.redis_cluster = private.listen.client.clone();
    private.listen.kubernetes = private.listen.client.clone();
    private.node.port_offset = 0;
    let first = Node::start(&private, Origin::Directory).await?;
    let password = new_password();
    let done = set_up(&first, &password).await;
    first.stop().await;
    done?;
    Ok((record, password))
}

fn listeners(config: &Config) -> String {
    format!(
        "--listen-client {} --listen-redis {} --listen-redis-cluster {} --listen-kubernetes {} --listen-peer {}",
        config.client_address(),
        config.redis_address(),
        config.redis_cluster_address(),
        config.kubernetes_address(),
        config.peer_address()
    )
}

fn advertised(config: &Config) -> String {
    let host = if config.listen.advertise_host.is_empty() {
        &config.listen.client.host
    } else {
        &config.listen.advertise_host
    };
    match host.as_str() {
        "0.0.0.0" | "::" => "127.0.0.1".into(),
        v6 if v6.contains(':') => format!("[{v6}]"),
        other => other.into(),
    }
}

fn new_password() -> String {
    let mut bytes = [0; PASSWORD_BYTES];
    random::fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Makes the user root, and switches logins on.
///
/// # Errors
/// The cluster does not answer.
pub(crate) async fn set_up(node: &Node, password: &str) -> Result<(), CliError> {
    let root = || "root".to_owned();
    let steps = [
        Op::RoleAdd(pb::AuthRoleAddRequest { name: root() }),
        Op::UserAdd(pb::AuthUserAddRequest {
            name: root(),
            password: password.to_owned(),
            ..Default::default()
        }),
        Op::UserGrantRole(pb::AuthUserGrantRoleRequest {
            user: root(),
            role: root(),
        }),
        Op::AuthEnable(pb::AuthEnableRequest {}),
    ];
    let failed = |error: Error| {
        CliError::failed(format!("the new cluster could not be set up: {error}"), "")
    };
    let ready = clock::timeout(READY_TIMEOUT, node.control.barrier()).await;
    ready.unwrap_or(Err(Error::Timeout)).map_err(failed)?;
    for step in steps {
        node.control
            .propose(system_identity(), step)
            .await
            .map_err(failed)?;
    }
    Ok(())
}
