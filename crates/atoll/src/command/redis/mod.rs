//! `atoll redis`: what belongs to hot data alone.

mod import;
mod large;
mod source;
mod tally;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::{cli::Global, error::CliError};

/// What can be done with hot data.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum RedisCommand {
    /// Read the keys of a file that Redis saved (RDB, up to Redis 7.4's) into the cluster.
    ///
    /// Every key is written as a whole or not at all, but for one that is too large for one
    /// request: that one grows piece by piece, and is removed again if a piece is refused. Keys
    /// that are there already are left as they are, so an import that was broken off can be run
    /// again. Functions and the data of modules are not imported.
    Import(ImportArgs),
}

/// What is imported, and where to.
#[derive(Clone, Debug, Args)]
pub(crate) struct ImportArgs {
    /// The file, as `dump.rdb`.
    pub(super) file: PathBuf,
    /// Where Redis clients come in; port 6379 of the endpoint's host if nobody says otherwise.
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) redis: Option<String>,
    /// Overwrite keys that are there already.
    #[arg(long)]
    pub(super) replace: bool,
}

/// Does it.
pub(crate) async fn run(command: RedisCommand, global: &Global) -> Result<(), CliError> {
    match command {
        RedisCommand::Import(args) => import::run(args, global).await,
    }
}
