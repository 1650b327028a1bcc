//! `atoll snapshot restore`: a new node from a snapshot.
//!
//! The folder becomes the first node of a *new* cluster: with a cluster id, a node id and an
//! authority of its own, so that no node or token of the old one is taken for its own. Keys,
//! revisions, leases, users and roles are the snapshot's; nobody is logged in.

use std::path::PathBuf;

use atoll_base::config::Config;
use atoll_control::driver::backup::{self, FormatError, RestoreError, RestoreOptions};
use clap::Args;
use serde::Serialize;

use crate::{
    error::CliError,
    node::{self, Directory},
    output::{Format, Progress, View},
    settings::SettingFlags,
};

/// Arguments of `atoll snapshot restore`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The snapshot, as `atoll snapshot save` wrote it.
    pub(crate) file: PathBuf,
    /// Accept a file whose checksum is missing or wrong, if it can be read to its end.
    #[arg(long)]
    pub(crate) skip_hash_check: bool,
    /// Go on with revisions so much higher, so that watchers who saw revisions that are not in
    /// the snapshot notice. Together with --mark-compacted.
    #[arg(long, requires = "mark_compacted", value_parser = clap::value_parser!(u64).range(1..=1 << 40), value_name = "N")]
    pub(crate) bump_revision: Option<u64>,
    /// Count everything up to that revision as compacted, so that watchers are told to read
    /// again. Together with --bump-revision.
    #[arg(long, requires = "bump_revision")]
    pub(crate) mark_compacted: bool,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

#[derive(Serialize)]
struct Restored {
    dir: String,
    cluster: String,
    node: String,
    from_cluster: String,
    revision: i64,
    keys: u64,
    auth: bool,
}

impl View for Restored {
    fn text(&self) -> String {
        let logins = if self.auth {
            "as in the old cluster: the same users and passwords, nobody logged in"
        } else {
            "none"
        };
        format!(
            "\
{dir} holds node {node} of the new cluster {cluster}, made from a snapshot of cluster {from}.

  keys      {keys}, at revision {revision}
  logins    {logins}
  start it  atoll start --dir {dir}
  grow it   atoll token create --uses 2, then `atoll start --join` with new folders:
            nodes of the old cluster do not fit to this one",
            dir = self.dir,
            node = self.node,
            cluster = self.cluster,
            from = self.from_cluster,
            keys = self.keys,
            revision = self.revision,
        )
    }
}

/// Makes the folder `config.node.dir` from the snapshot.
///
/// # Errors
/// The folder holds a node, or the file is no snapshot.
pub(crate) async fn run(args: RestoreArgs, config: Config, output: Format) -> Result<(), CliError> {
    let directory = Directory::open(&config.node.dir)?;
    if directory.record()?.is_some() {
        let error = RestoreError::NotEmpty(config.node.dir.display().to_string());
        return Err(told(error));
    }
    let record = directory.certify(&node::hosts(&config))?;
    let options = RestoreOptions {
        skip_checksum: args.skip_hash_check,
        raise_revisions: args.bump_revision,
    };
    let mut progress = Progress::new();
    let restored = backup::restore(
        directory.disk.clone(),
        &args.file,
        &directory.path,
        node::stores(&config),
        record.node,
        options,
        |done, total| progress.show(done, total),
    )
    .await;
    progress.end();
    let restored = restored.map_err(told)?;
    // Last: from here on the folder holds a node.
    record.save(&directory.disk, &directory.path)?;
    output.show(&Restored {
        dir: config.node.dir.display().to_string(),
        cluster: record.cluster.to_string(),
        node: record.node.to_string(),
        from_cluster: restored.cluster.to_string(),
        revision: restored.revision.0,
        keys: restored.keys,
        auth: restored.auth,
    })
}

fn told(error: RestoreError) -> CliError {
    let next = match error {
        RestoreError::NotEmpty(_) => "Choose a folder that does not exist yet with --dir.",
        RestoreError::Format(FormatError::Damaged(_)) => {
            "Take another snapshot. If there is none, --skip-hash-check reads what can be read."
        }
        _ => "",
    };
    CliError::failed(error.to_string(), next)
}
