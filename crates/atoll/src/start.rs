//! `atoll start`: run a node.

use atoll_base::config::Config;
use atoll_world::process::EndRequests;
use clap::Args;

use crate::{
    error::CliError,
    node::{Node, Origin},
    output,
    settings::SettingFlags,
};

/// Arguments of `atoll start`.
#[derive(Args)]
pub(crate) struct StartArgs {
    /// A node of the cluster to join (its peer listener).
    #[arg(long, value_name = "HOST:PORT", requires = "token")]
    pub(crate) join: Option<String>,
    /// The token to join with (`atoll token create` makes one).
    #[arg(
        long,
        env = "ATOLL_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub(crate) token: Option<String>,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

impl std::fmt::Debug for StartArgs {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StartArgs")
            .field("join", &self.join)
            .finish_non_exhaustive()
    }
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// It cannot start, or ends with an error.
pub(crate) async fn run(args: StartArgs, config: Config) -> Result<(), CliError> {
    let origin = match (args.join, args.token) {
        (Some(address), Some(token)) => Origin::Join { address, token },
        _ => Origin::Directory,
    };
    let mut ends = EndRequests::new()
        .map_err(|error| CliError::failed(format!("cannot listen for signals: {error}"), ""))?;
    let node = tokio::select! {
        biased;
        _ = ends.next() => return Ok(()),
        started = Node::start(&config, origin) => started?,
    };
    output::print(&welcome(&node, &config))?;
    ends.next().await;
    output::note("atoll: stopping");
    // Somebody who asks twice does not want to wait.
    tokio::select! {
        biased;
        () = node.stop() => Ok(()),
        _ = ends.next() => Err(CliError::failed("stopped before everything was in order", "Nothing acknowledged is lost.")),
    }
}

/// What listens where, and one line to try for each.
fn welcome(node: &Node, config: &Config) -> String {
    let url = &node.client_url;
    let etcdctl = if url.starts_with("https") {
        "atoll key put hello world".to_string()
    } else {
        format!("etcdctl --endpoints {url} put hello world")
    };
    format!(
        "\
Atoll node {id} of cluster {cluster} is up, its data is in {dir}.

  etcd API   {url}
             try: {etcdctl}
  HTTP       {url}/health, /metrics, /version, /v3/kv/range
             try: curl {url}/version
  Redis      {redis}
             try: redis-cli -h {redis_host} -p {redis_port} set hello world
             for cluster clients: {redis_cluster} (redis-cli -c -p {redis_cluster_port})
  Kubernetes {kubernetes}
             try: atoll kubeconfig{dir_flag} --out kubeconfig, then
             kubectl --kubeconfig kubeconfig get nodes
  peers      {peer} (mutual TLS)
             add a node: atoll token create, then on the other machine
             atoll start --join {peer} --token TOKEN

Ctrl-C stops it; starting it again finds everything.
",
        id = node.record.node,
        cluster = node.record.cluster,
        dir = config.node.dir.display(),
        peer = node.peer_address,
        redis = node.redis_address,
        kubernetes = node.kubernetes_url,
        dir_flag = dir_flag(config),
        redis_host = node.redis_address.ip(),
        redis_port = node.redis_address.port(),
        redis_cluster = node.redis_cluster_address,
        redis_cluster_port = node.redis_cluster_address.port(),
    )
}

/// What has to be said to name a node's folder; nothing where it is where everybody looks.
fn dir_flag(config: &Config) -> String {
    match config.node.dir.to_str() {
        Some("./atoll-data") => String::new(),
        _ => format!(" --dir {}", config.node.dir.display()),
    }
}
