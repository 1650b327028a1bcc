//! `atoll token`: tokens with which nodes join.

use clap::Subcommand;

use crate::{client::Client, error::CliError, output::Format};

/// What can be done with tokens.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it, once.
    Create {
        /// How many nodes may join with it.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000), value_name = "N")]
        uses: u32,
        /// How long it is good for.
        #[arg(long, default_value_t = 3_600, value_parser = clap::value_parser!(u64).range(1..=31_536_000), value_name = "SECONDS")]
        ttl_s: u64,
    },
    /// The tokens there are: their ids, never themselves.
    List,
    /// Make a token useless.
    Revoke {
        /// Its id, as `atoll token list` shows it.
        id: String,
    },
}

/// Does it.
///
/// # Errors
/// The cluster refused, or no node answers.
pub(crate) async fn run(
    _command: TokenCommand,
    _client: &Client,
    _output: Format,
) -> Result<(), CliError> {
    Err(CliError::failed("this build cannot make tokens", ""))
}
