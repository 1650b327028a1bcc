//! Who this node is, as its directory says: `node.json`, format version 1.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use atoll_base::id::{ClusterId, NodeId};
use atoll_world::disk::Disk;
use serde::{Deserialize, Serialize};

use crate::error::CliError;

const FILE: &str = "node.json";

/// The version that this code writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// A node's identity, and what it needs before it has heard from anybody.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    format: u32,
    /// The cluster.
    pub(crate) cluster: ClusterId,
    /// This node.
    pub(crate) node: NodeId,
    /// Counts the starts.
    pub(crate) boot: u64,
    /// It made the cluster (or was made its only member): an empty log is filled with a
    /// membership of itself.
    pub(crate) founder: bool,
    /// Clients have to log in: checked before a listener may leave loopback.
    pub(crate) auth: bool,
    /// Where the other members were when it joined.
    pub(crate) members: BTreeMap<NodeId, String>,
}

impl Record {
    /// A node that has not started yet.
    pub(crate) fn new(cluster: ClusterId, node: NodeId, founder: bool, auth: bool) -> Record {
        Record {
            format: FORMAT,
            cluster,
            node,
            boot: 0,
            founder,
            auth,
            members: BTreeMap::new(),
        }
    }

    /// Reads the record; none if the directory holds no node.
    ///
    /// # Errors
    /// It cannot be read, or a newer version wrote it.
    pub(crate) fn load(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Option<Record>, CliError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let path = dir.join(FILE);
        let bytes = match disk.read_all(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(CliError::failed(error.to_string(), "")),
        };
        let damaged = |error: serde_json::Error| {
            CliError::failed(
                format!("{} cannot be read: {error}", path.display()),
                "If it was damaged, remove the node from the cluster and join again with a new directory.",
            )
        };
        let Format { format } = serde_json::from_slice(&bytes).map_err(damaged)?;
        if format > FORMAT {
            return Err(CliError::failed(
                format!(
                    "{} has format {format}, this atoll reads up to {FORMAT}",
                    path.display()
                ),
                "A newer atoll wrote this directory: use that one, or a newer one.",
            ));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    /// Writes the record, atomically.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn save(&self, disk: &Arc<dyn Disk>, dir: &Path) -> Result<(), CliError> {
        let text = serde_json::to_vec_pretty(self).expect("a record is plain data");
        disk.write_atomic(&dir.join(FILE), &text).map_err(|error| {
            CliError::failed(
                error.to_string(),
                "Is the disk full, or the directory not writable?",
            )
        })
    }
}
