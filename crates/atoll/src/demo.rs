//! `atoll demo`: three nodes under load, one of them killed, and a count of what was lost.

use clap::Args;

use crate::error::CliError;

/// Arguments of `atoll demo`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DemoArgs {
    /// How long the load runs.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(5..=86_400), value_name = "SECONDS")]
    pub(crate) duration_s: u64,
    /// How many clients write and read at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=10_000), value_name = "N")]
    pub(crate) clients: u64,
    /// How often the leader is killed.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=1_000), value_name = "N")]
    pub(crate) kills: u64,
    /// Leave the nodes' folders behind for looking at.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Runs the demonstration.
///
/// # Errors
/// A node cannot be started, or something acknowledged was lost.
pub(crate) async fn run(_args: DemoArgs) -> Result<(), CliError> {
    Err(CliError::failed("this build cannot run a node", ""))
}
