//! Which store is the current one.
//!
//! A node's state lies in one store, `store-N`. A received snapshot is filled into the next
//! one; the file `CURRENT`, replaced atomically, says which of them counts. So a crash at any
//! point leaves either the old state or the new one, whole.

use std::{path::PathBuf, sync::Arc};

use atoll_world::{
    disk::{Disk, DiskError},
    store::{SimStore, Store, StoreError, StoreOptions},
};
use parking_lot::Mutex;

use crate::{
    core::effects::Table,
    log::snapshot::{Staged, Staging},
};

/// Row tables of the machine, and one of our own for what was applied.
pub(crate) const APPLIED_TABLE: &str = "applied";

/// The file that names the current generation.
const CURRENT: &str = "CURRENT";

/// Where stores come from: directories, or the simulation's memory.
pub enum StoreSource {
    /// fjall, in directories beside the `CURRENT` file.
    Directories(StoreOptions),
    /// Simulated stores by generation; they outlive a simulated crash.
    Simulated(Mutex<std::collections::BTreeMap<u64, SimStore>>),
}

/// The generations of one node's store.
pub(crate) struct Generations {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    source: Arc<StoreSource>,
    current: Mutex<u64>,
}

fn tables() -> Vec<&'static str> {
    Table::ALL
        .iter()
        .map(|table| table.name())
        .chain([APPLIED_TABLE])
        .collect()
}

fn disk_error(error: DiskError) -> StoreError {
    StoreError::Disk {
        reason: error.to_string(),
        source: None,
    }
}

impl Generations {
    /// Opens the current store, making the first one if there is none.
    ///
    /// # Errors
    /// `CURRENT` is not a number, or the store cannot be opened.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        source: Arc<StoreSource>,
    ) -> Result<(Self, Store), StoreError> {
        let path = dir.join(CURRENT);
        let current = match disk.read_all(&path) {
            Ok(text) => std::str::from_utf8(&text)
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .ok_or_else(|| StoreError::Damaged {
                    reason: format!("{} does not name a generation", path.display()),
                })?,
            Err(error) if error.is_not_found() => {
                disk.write_atomic(&path, b"0\n").map_err(disk_error)?;
                0
            }
            Err(error) => return Err(disk_error(error)),
        };
        let this = Generations {
            disk,
            dir,
            source,
            current: Mutex::new(current),
        };
        let store = this.open_generation(current)?;
        Ok((this, store))
    }

    fn open_generation(&self, generation: u64) -> Result<Store, StoreError> {
        match &*self.source {
            StoreSource::Directories(options) => {
                Store::open(&self.path(generation), *options, &tables())
            }
            StoreSource::Simulated(stores) => {
                let store = stores.lock().entry(generation).or_default().clone();
                Ok(Store::simulated(&store, &tables()))
            }
        }
    }

    fn path(&self, generation: u64) -> PathBuf {
        self.dir.join(format!("store-{generation}"))
    }

    fn delete(&self, generation: u64) -> Result<(), StoreError> {
        match &*self.source {
            StoreSource::Directories(_) => Store::destroy(&self.path(generation)),
            StoreSource::Simulated(stores) => {
                stores.lock().remove(&generation);
                Ok(())
            }
        }
    }

    /// Makes a staged store the current one, and deletes the one before. The caller has
    /// dropped its handles of that one.
    pub(crate) fn switch(&self, to: u64) -> Result<(), StoreError> {
        let mut current = self.current.lock();
        let old = *current;
        self.disk
            .write_atomic(&self.dir.join(CURRENT), format!("{to}\n").as_bytes())
            .map_err(disk_error)?;
        *current = to;
        self.delete(old)
    }
}

impl Staging for Generations {
    fn stage(&self) -> Result<Staged, StoreError> {
        let generation = *self.current.lock() + 1;
        self.delete(generation)?;
        Ok(Staged {
            store: self.open_generation(generation)?,
            generation,
        })
    }
}
