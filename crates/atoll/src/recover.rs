//! `atoll recover`: go on with one node after the majority is gone for good.

use atoll_base::config::Config;
use clap::Args;

use crate::{error::CliError, settings::SettingFlags};

/// Arguments of `atoll recover`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RecoverArgs {
    /// Do it, after having read what may be lost. Without it, it is only told.
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

/// Makes the node in `config.node.dir` the only one of its cluster.
///
/// # Errors
/// The folder holds no node, or the node is running.
pub(crate) async fn run(_args: RecoverArgs, _config: Config) -> Result<(), CliError> {
    Err(CliError::failed("this build cannot recover a node", ""))
}
