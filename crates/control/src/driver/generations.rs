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
        this.tidy()?;
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

    /// Deletes what a crash left of other generations than the current one.
    fn tidy(&self) -> Result<(), StoreError> {
        let current = *self.current.lock();
        match &*self.source {
            StoreSource::Directories(_) => {
                for name in self.disk.list(&self.dir).map_err(disk_error)? {
                    let generation = name.strip_prefix("store-").and_then(|n| n.parse().ok());
                    if generation.is_some_and(|generation: u64| generation != current) {
                        Store::destroy(&self.dir.join(name))?;
                    }
                }
            }
            StoreSource::Simulated(stores) => stores.lock().retain(|it, _| *it == current),
        }
        Ok(())
    }

    /// Makes a staged store the current one. `old` is the one before: it is deleted when the
    /// last of its readers is done, or at the next start.
    pub(crate) fn switch(&self, to: u64, old: &Store) -> Result<(), StoreError> {
        let mut current = self.current.lock();
        self.disk
            .write_atomic(&self.dir.join(CURRENT), format!("{to}\n").as_bytes())
            .map_err(disk_error)?;
        *current = to;
        old.destroy_when_closed();
        Ok(())
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

#[cfg(test)]
mod tests {
    use atoll_world::disk;

    use super::*;

    fn open(dir: &std::path::Path) -> (Generations, Store) {
        let source = StoreSource::Directories(StoreOptions::default());
        Generations::open(disk::real(), dir.to_path_buf(), Arc::new(source)).expect("a store")
    }

    #[test]
    fn a_replaced_store_stays_until_its_readers_are_done() {
        let dir = tempfile::tempdir().expect("a directory");
        let (generations, old) = open(dir.path());
        let staged = generations.stage().expect("room for a second store");
        let reader = old.clone();
        generations
            .switch(staged.generation, &old)
            .expect("the disk takes it");
        drop(old);
        assert!(dir.path().join("store-0").exists(), "somebody reads it");
        assert_eq!(reader.get(APPLIED_TABLE, b"key").expect("a read"), None);
        drop(reader);
        assert!(!dir.path().join("store-0").exists());
        drop((generations, staged));
        open(dir.path());
        assert!(dir.path().join("store-1").exists());
    }

    #[test]
    fn what_a_crash_left_is_deleted_at_the_next_start() {
        let dir = tempfile::tempdir().expect("a directory");
        let (generations, old) = open(dir.path());
        let staged = generations.stage().expect("room for a second store");
        generations
            .switch(staged.generation, &old)
            .expect("the disk takes it");
        // The process dies before the old one is closed.
        std::mem::forget(old);
        drop((generations, staged));
        assert!(dir.path().join("store-0").exists());
        open(dir.path());
        assert!(!dir.path().join("store-0").exists());
        assert!(dir.path().join("store-1").exists());
    }
}
