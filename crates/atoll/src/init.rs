//! `atoll init`: make a cluster that others can reach.

use atoll_base::config::Config;
use clap::Args;

use crate::{error::CliError, settings::SettingFlags};

/// Arguments of `atoll init`.
#[derive(Clone, Debug, Args)]
pub(crate) struct InitArgs {
    /// The name or address that others reach this machine by; both listeners go there, on the
    /// ports that are set for them.
    #[arg(long, value_name = "HOST")]
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

impl InitArgs {
    /// The settings, with both listeners at `--listen` unless they were named themselves.
    pub(crate) fn settings(&self) -> SettingFlags {
        let host = match self.listen.parse::<std::net::Ipv6Addr>() {
            Ok(ip) => format!("[{ip}]"),
            Err(_) => self.listen.clone(),
        };
        let mut all = SettingFlags::default();
        all.push("listen.client", format!("{host}:{CLIENT_PORT}"));
        all.push("listen.peer", format!("{host}:{PEER_PORT}"));
        all.extend(&self.settings);
        all
    }
}

/// Makes the cluster.
///
/// # Errors
/// The folder holds a cluster already, or cannot be written.
pub(crate) async fn run(_args: InitArgs, _config: Config) -> Result<(), CliError> {
    Err(CliError::failed("this build cannot make a cluster", ""))
}
