//! `atoll snapshot restore`: a new node from a snapshot.

use std::path::PathBuf;

use atoll_base::config::Config;
use clap::Args;

use crate::{error::CliError, settings::SettingFlags};

/// Arguments of `atoll snapshot restore`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The snapshot, as `atoll snapshot save` wrote it.
    pub(crate) file: PathBuf,
    /// Accept a file whose checksum is missing, as one that was copied out of a data folder.
    #[arg(long)]
    pub(crate) skip_hash_check: bool,
    /// Raise every revision by so much, so that watchers who saw later ones notice.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) bump_revision: u64,
    /// Mark all revisions as compacted, so that watchers of old ones are told to read again.
    #[arg(long, requires = "bump_revision")]
    pub(crate) mark_compacted: bool,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

/// Makes the folder `config.node.dir` from the snapshot.
///
/// # Errors
/// The folder is not empty, or the file is no snapshot.
pub(crate) async fn run(_args: RestoreArgs, _config: Config) -> Result<(), CliError> {
    Err(CliError::failed("this build cannot restore a snapshot", ""))
}
