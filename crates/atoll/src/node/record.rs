//! Who this node is, as its directory says: `node.json`.

mod format;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use atoll_base::id::{ClusterId, NodeId};
use atoll_world::disk::Disk;

use self::format::FormatError;
pub(crate) use self::format::Record;
use crate::error::CliError;

const FILE: &str = "node.json";

impl Record {
    /// A node that has not started yet.
    pub(crate) fn new(cluster: ClusterId, node: NodeId, founder: bool) -> Record {
        Record {
            cluster,
            node,
            boot: 0,
            founder,
            members: BTreeMap::new(),
        }
    }

    /// Reads the record; none if the directory holds no node.
    ///
    /// # Errors
    /// It cannot be read, or a newer version wrote it.
    pub(crate) fn load(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Option<Record>, CliError> {
        let path = dir.join(FILE);
        let bytes = match disk.read_all(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(CliError::failed(error.to_string(), "")),
        };
        format::decode(&bytes).map(Some).map_err(|error| {
            let next = match error {
                FormatError::Newer { .. } => {
                    "A newer atoll wrote this directory: use that one, or a newer one."
                }
                FormatError::Damaged(_) | FormatError::NoSuchFormat { .. } => {
                    "Remove the node from the cluster and join again with a new directory."
                }
            };
            CliError::failed(format!("{} cannot be read: {error}", path.display()), next)
        })
    }

    /// Writes the record, atomically.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn save(&self, disk: &Arc<dyn Disk>, dir: &Path) -> Result<(), CliError> {
        let text = format::encode(self);
        disk.write_atomic(&dir.join(FILE), &text).map_err(|error| {
            CliError::failed(
                error.to_string(),
                "Is the disk full, or the directory not writable?",
            )
        })
    }
}

#[cfg(test)]
#[path = "record/tests.rs"]
mod tests;
