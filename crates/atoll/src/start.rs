//! `atoll start`: run a node.

use atoll_base::config::Config;
use clap::Args;

use crate::{error::CliError, settings::SettingFlags};

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
pub(crate) async fn run(_args: StartArgs, _config: Config) -> Result<(), CliError> {
    Err(CliError::failed("this build cannot run a node", ""))
}
