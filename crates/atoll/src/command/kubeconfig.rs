//! `atoll kubeconfig`: a configuration for kubectl and everything that reads the same file.
//!
//! Who can read a node's folder holds the cluster's authority, and is given a certificate of root
//! by it. Anybody else logs in, and is given one of that user.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use atoll_control::core::auth::ROOT_USER;
use atoll_world::{
    disk,
    pki::{self, Identity, KeyRequest, Keyring},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    cli::Global,
    command::certificate,
    error::CliError,
    node::{API_FILE, PKI_DIR, pki_failed},
    output,
    settings::{self, SettingFlags},
};

/// Where the API is if nobody says otherwise.
pub(crate) const PORT: u16 = 6443;

/// Arguments of `atoll kubeconfig`.
#[derive(Clone, Debug, Args)]
pub(crate) struct KubeconfigArgs {
    /// Log in over the network and have a certificate of this user, even if this machine holds
    /// a node's folder.
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,
    /// Where the Kubernetes API is; the node's own address if it is left away.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The name of cluster, user and context in the file.
    #[arg(long, default_value = "atoll", value_name = "NAME")]
    context_name: String,
    /// The namespace to begin with.
    #[arg(long, default_value = "default", value_name = "NAMESPACE")]
    namespace: String,
    /// How long the certificate is good for; a year if it is left away.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=315_360_000), value_name = "SECONDS")]
    ttl_s: Option<u64>,
    /// Write it here, readable for this user alone, instead of to standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingFlags,
}

/// What it takes to be served.
pub(crate) struct Access {
    /// The API, as URL.
    pub(crate) server: String,
    /// Whom to trust.
    pub(crate) roots_pem: String,
    /// The certificate and its key.
    pub(crate) identity: Identity,
    user: String,
}

/// What is to be made.
pub(crate) struct Wanted<'a> {
    /// For this user.
    pub(crate) user: Option<&'a str>,
    /// Where the API is.
    pub(crate) server: Option<&'a str>,
    /// How long it is to be good for.
    pub(crate) ttl_s: Option<u64>,
}

impl Wanted<'_> {
    /// How long a certificate is to be good for.
    pub(crate) fn life(&self) -> Duration {
        self.ttl_s.map_or(pki::LEAF_LIFE, Duration::from_secs)
    }
}

/// Writes the configuration.
///
/// # Errors
/// There is neither a folder nor a login, or the file can't be written.
pub(crate) async fn run(args: KubeconfigArgs, global: &Global) -> Result<(), CliError> {
    let config = settings::load(global.config_file.as_deref(), &args.settings)?.config;
    let folder = &config.node.dir;
    let is_here = args.user.is_none() && folder.join(API_FILE).exists();
    let wanted = Wanted {
        user: args.user.as_deref(),
        server: args.server.as_deref(),
        ttl_s: args.ttl_s,
    };
    let access = match is_here {
        true => from_folder(folder, wanted.server, wanted.life())?,
        false => from_cluster(&wanted, global).await?,
    };
    // JSON is YAML, and what reads one reads the other.
    let text = format!("{:#}\n", kubeconfig(&args, &access));
    match &args.out {
        None => output::print(&text),
        Some(path) => {
            write_private(path, &text)?;
            output::note(&format!(
                "{} is written: kubectl --kubeconfig {} get nodes",
                path.display(),
                path.display()
            ));
            Ok(())
        }
    }
}

/// As root, by the authority that a node's folder holds; at that node, unless another server is
/// named.
///
/// # Errors
/// The folder can't be read.
pub(crate) fn from_folder(
    folder: &Path,
    server: Option<&str>,
    life: Duration,
) -> Result<Access, CliError> {
    let keyring = Keyring::open(&folder.join(PKI_DIR)).map_err(pki_failed)?;
    let key = KeyRequest::new().map_err(pki_failed)?;
    let chain = keyring
        .sign_client(key.csr_pem(), ROOT_USER, life)
        .map_err(pki_failed)?;
    Ok(Access {
        server: match server {
            Some(server) => server.to_owned(),
            None => server_in(folder)?,
        },
        roots_pem: keyring.roots_pem(),
        identity: key.certified(&chain).map_err(pki_failed)?,
        user: ROOT_USER.to_owned(),
    })
}

/// Where the node of a folder has served the API last.
fn server_in(folder: &Path) -> Result<String, CliError> {
    let path = folder.join(API_FILE);
    let read = disk::real().read_all(&path);
    let bytes = read.map_err(|error| CliError::failed(error.to_string(), ""))?;
    let text = String::from_utf8_lossy(&bytes);
    match text.trim().split_once(' ') {
        Some(("v1", url)) => Ok(url.to_owned()),
        _ => Err(CliError::failed(
            format!("{} can't be read: it is of another version", path.display()),
            "Say where the API is with --server.",
        )),
    }
}

/// A certificate of who logs in.
///
/// # Errors
/// Nobody does, or it is refused.
pub(crate) async fn from_cluster(wanted: &Wanted<'_>, global: &Global) -> Result<Access, CliError> {
    let client = global.client()?;
    let user = wanted.user.map(str::to_owned).or_else(|| client.user());
    let Some(user) = user else {
        return Err(CliError::usage(
            "nobody is logged in, and there is no node's folder here",
            "Name the folder with --dir, or log in with --user NAME.",
        ));
    };
    let (identity, answer) = certificate::issue(&client, &user, wanted.ttl_s).await?;
    let endpoint = client.endpoints().first().cloned().unwrap_or_default();
    Ok(Access {
        server: match wanted.server {
            Some(server) => server.to_owned(),
            None => beside(&endpoint),
        },
        identity,
        roots_pem: answer.roots_pem,
        user,
    })
}

/// The API at the host of another listener.
fn beside(endpoint: &str) -> String {
    let host = endpoint.split("://").last().unwrap_or_default();
    let host = host.split('/').next().unwrap_or_default();
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    };
    format!("https://{host}:{PORT}")
}

fn kubeconfig(args: &KubeconfigArgs, access: &Access) -> Value {
    let data = |pem: &str| STANDARD.encode(pem);
    let user = format!("{}@{}", access.user, args.context_name);
    json!({
        "apiVersion": "v1", "kind": "Config", "preferences": {},
        "clusters": [{"name": args.context_name, "cluster": {
            "server": access.server,
            "certificate-authority-data": data(&access.roots_pem),
        }}],
        "users": [{"name": user, "user": {
            "client-certificate-data": data(&access.identity.chain_pem()),
            "client-key-data": data(access.identity.key_pem()),
        }}],
        "contexts": [{"name": args.context_name, "context": {
            "cluster": args.context_name, "user": user, "namespace": args.namespace,
        }}],
        "current-context": args.context_name,
    })
}

/// Writes a file that holds a key.
fn write_private(path: &Path, text: &str) -> Result<(), CliError> {
    let written = atoll_world::tree::write_file(path, text.as_bytes(), 0o600);
    written.map_err(|error| CliError::failed(error.to_string(), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_beside_other_listeners() {
        assert_eq!(beside("https://10.0.0.1:2379"), "https://10.0.0.1:6443");
        assert_eq!(beside("http://host/"), "https://host:6443");
        assert_eq!(beside("https://[::1]:2379"), "https://[::1]:6443");
    }
}
