//! `atoll snapshot`: copies of the whole state.
#![allow(clippy::disallowed_methods)] // The command line is the edge: it writes its own files.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use atoll_control::proto::etcdserverpb::{SnapshotRequest, SnapshotResponse};
use clap::Subcommand;
use serde::Serialize;
use tonic::Streaming;

use crate::{
    cli::Global,
    client::{Client, Retry},
    error::CliError,
    output::{Format, Progress, View, bytes_for_people},
    restore, settings,
};

/// A snapshot holds every secret of the cluster that a node holds.
const FILE_MODE: u32 = 0o600;

/// What can be done with snapshots.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Write the whole state of the cluster, as of now, into a file.
    Save {
        /// The file. It is there as a whole or not at all.
        file: PathBuf,
    },
    /// Make a node's folder from a snapshot: the first node of a new cluster.
    Restore(restore::RestoreArgs),
}

/// Does it.
pub(crate) async fn run(command: SnapshotCommand, global: &Global) -> Result<(), CliError> {
    match command {
        SnapshotCommand::Save { file } => save(&global.client()?, global.output, &file).await,
        SnapshotCommand::Restore(args) => {
            let loaded = settings::load(global.config_file.as_deref(), &args.settings)?;
            restore::run(args, loaded.config, global.output).await
        }
    }
}

async fn save(client: &Client, output: Format, path: &Path) -> Result<(), CliError> {
    let stream = client
        .call(Retry::Safe, SnapshotRequest {}, |node, r| async move {
            node.maintenance().snapshot(r).await
        })
        .await?;
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let saved = receive(client, stream, &part).await;
    let bytes = match saved {
        Ok(bytes) => bytes,
        Err(error) => {
            // Half a snapshot is none, and must not be taken for one.
            let _ = fs::remove_file(&part);
            return Err(error);
        }
    };
    fs::rename(&part, path).map_err(|error| CliError::file("write", path, error))?;
    output.show(&Saved {
        file: path.display().to_string(),
        bytes,
    })
}

async fn receive(
    client: &Client,
    mut stream: Streaming<SnapshotResponse>,
    part: &Path,
) -> Result<u64, CliError> {
    let failed = |error: io::Error| CliError::file("write", part, error);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(part)
        .map_err(failed)?;
    let mut progress = Progress::new();
    let mut received = 0;
    loop {
        // Each piece has the time that an answer has; the whole may take as long as it takes.
        let next = tokio::time::timeout(client.timeout(), stream.message()).await;
        let piece = match next {
            Ok(Ok(Some(piece))) => piece,
            Ok(Ok(None)) => break,
            Ok(Err(status)) => return Err(status.into()),
            Err(_) => {
                return Err(CliError::failed(
                    "the node stopped sending",
                    "try again, or another --endpoint",
                ));
            }
        };
        file.write_all(&piece.blob).map_err(failed)?;
        received += piece.blob.len() as u64;
        progress.show(received, received.saturating_add(piece.remaining_bytes));
    }
    progress.end();
    // A node that breaks off says so; how much is to come was its estimate.
    if received == 0 {
        return Err(CliError::failed(
            "the node sent nothing",
            "try again, or another --endpoint",
        ));
    }
    file.sync_all().map_err(failed)?;
    Ok(received)
}

#[derive(Serialize)]
struct Saved {
    file: String,
    bytes: u64,
}

impl View for Saved {
    fn text(&self) -> String {
        format!("saved {} ({})", self.file, bytes_for_people(self.bytes))
    }
}
