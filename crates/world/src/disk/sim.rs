//! A disk in memory that forgets, tears and rots by a seed.
//!
//! Files are kept by sector. A sector written since the file's last sync remembers what the
//! platter still holds; at [`SimDisk::crash`] each such sector is kept, lost, or torn (a new
//! head on an old tail), and each directory's unsynced names are all kept or all lost. A sync
//! that fails dooms what it should have saved: later syncs don't bring it back, as on Linux.
//! A handle belongs to one life of its machine; after a crash it and its files only fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Disk, DiskError, DiskFile, DiskLock, Open};

/// What is kept, lost or torn as one, in bytes.
pub const SECTOR_BYTES: usize = 512;

type Sector = Box<[u8; SECTOR_BYTES]>;

/// A simulated disk. Clones are handles to the same disk, in the same life.
#[derive(Clone)]
pub struct SimDisk {
    life: u64,
    state: Arc<Mutex<State>>,
}

#[derive(Clone)]
struct State {
    life: u64,
    random: u64,
    capacity_bytes: u64,
    tear_bytes: usize,
    /// Counts down to the sync that fails.
    syncs_until_failure: Option<u64>,
    syncs: u64,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    dirs: BTreeSet<PathBuf>,
    files: BTreeMap<u64, Content>,
    next_file: u64,
    locks: BTreeMap<PathBuf, Weak<()>>,
}

/// A file's content. Sectors that are absent are zeros.
#[derive(Clone, Default)]
struct Content {
    len_bytes: u64,
    durable_len_bytes: u64,
    sectors: BTreeMap<u64, Sector>,
    unsynced: BTreeMap<u64, Unsynced>,
}

/// What the platter holds of a sector that was written since.
#[derive(Clone)]
struct Unsynced {
    old: Option<Sector>,
    /// A failed sync dropped the new content: no later sync saves it.
    doomed: bool,
}

struct SimFile {
    disk: SimDisk,
    path: PathBuf,
    id: u64,
}

struct SimLock {
    _held: Arc<()>,
}

impl DiskLock for SimLock {}

impl SimDisk {
    /// An empty disk; what its crashes do follows from the seed.
    pub fn new(seed: u64) -> Self {
        let state = State {
            life: 0,
            random: seed,
            capacity_bytes: u64::MAX,
            tear_bytes: 1,
            syncs_until_failure: None,
            syncs: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            dirs: BTreeSet::new(),
            files: BTreeMap::new(),
            next_file: 0,
            locks: BTreeMap::new(),
        };
        SimDisk {
            life: 0,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The machine loses power. Returns the disk that the next life finds; this handle, its
    /// clones and their files only fail from now on.
    pub fn crash(&self) -> SimDisk {
        let mut state = self.state.lock();
        state.lose_power();
        self.next_life(&mut state)
    }

    /// The process is killed, and the machine stays up: everything written is still there.
    pub fn kill(&self) -> SimDisk {
        let mut state = self.state.lock();
        self.next_life(&mut state)
    }

    /// Another disk that holds what this one holds now, as an image of a running machine does.
    pub fn image(&self) -> SimDisk {
        let state = SimDisk {
            life: self.life,
            state: Arc::new(Mutex::new(self.state.lock().clone())),
        };
        state.kill()
    }

    fn next_life(&self, state: &mut State) -> SimDisk {
        state.life += 1;
        state.locks.clear();
        SimDisk {
            life: state.life,
            state: Arc::clone(&self.state),
        }
    }

    /// Lets the n-th sync from now (1: the next one) fail.
    pub fn fail_sync(&self, nth: u64) {
        assert!(nth > 0, "syncs are counted from 1");
        self.state.lock().syncs_until_failure = Some(nth);
    }

    /// Sets how many bytes the disk holds.
    pub fn set_capacity_bytes(&self, bytes: u64) {
        self.state.lock().capacity_bytes = bytes;
    }

    /// Says how many bytes a torn sector keeps together: its head is a multiple of them. 1 if
    /// nobody says otherwise, which is more than disks do.
    ///
    /// # Panics
    /// A sector is no multiple of them.
    pub fn set_tear_bytes(&self, bytes: usize) {
        assert!(
            bytes > 0 && SECTOR_BYTES.is_multiple_of(bytes),
            "a sector has {SECTOR_BYTES} bytes"
        );
        self.state.lock().tear_bytes = bytes;
    }

    /// How many syncs of files there have been.
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// Flips one bit of a byte of a file, on the platter too. False if there is no such byte.
    pub fn rot(&self, path: &Path, offset: u64, bit: u8) -> bool {
        let mut state = self.state.lock();
        let Some(id) = state.names.get(path).copied() else {
            return false;
        };
        let content = state.content(id);
        if offset >= content.len_bytes {
            return false;
        }
        let (sector, within) = place(offset);
        let flip = 1 << (bit % 8);
        content.sectors.entry(sector).or_insert_with(blank)[within] ^= flip;
        if let Some(unsynced) = content.unsynced.get_mut(&sector) {
            unsynced.old.get_or_insert_with(blank)[within] ^= flip;
        }
        true
    }

    fn alive(
        &self,
        operation: &'static str,
        path: &Path,
    ) -> Result<parking_lot::MutexGuard<'_, State>, DiskError> {
        let state = self.state.lock();
        if state.life == self.life {
            Ok(state)
        } else {
            Err(DiskError::new(
                operation,
                path,
                io::Error::other("the machine has crashed"),
            ))
        }
    }
}

fn blank() -> Sector {
    Box::new([0; SECTOR_BYTES])
}

fn place(offset: u64) -> (u64, usize) {
    (
        offset / SECTOR_BYTES as u64,
        (offset % SECTOR_BYTES as u64) as usize,
    )
}

fn not_found(operation: &'static str, path: &Path) -> DiskError {
    DiskError::new(operation, path, io::ErrorKind::NotFound.into())
}

fn full(operation: &'static str, path: &Path) -> DiskError {
    DiskError::new(operation, path, io::ErrorKind::StorageFull.into())
}

impl State {
    /// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): small, and the same everywhere.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn content(&mut self, id: u64) -> &mut Content {
        self.files
            .get_mut(&id)
            .expect("an open or named file has content")
    }

    fn used_bytes(&self) -> u64 {
        self.files.values().map(|content| content.len_bytes).sum()
    }

    fn has_room(&self, more_bytes: u64) -> bool {
        self.used_bytes().saturating_add(more_bytes) <= self.capacity_bytes
    }

    fn lose_power(&mut self) {
        self.lose_names();
        for id in self.files.keys().copied().collect::<Vec<_>>() {
            let mut content = self.files.remove(&id).expect("the key was just listed");
            let tear_bytes = self.tear_bytes;
            content.lose_unsynced(tear_bytes, || self.draw());
            self.files.insert(id, content);
        }
        self.forget_unnamed();
        self.syncs_until_failure = None;
    }

    fn lose_names(&mut self) {
        for dir in self.dirs.clone() {
            if self.draw().is_multiple_of(2) {
                self.sync_names(&dir);
            }
        }
        self.names = self.durable_names.clone();
    }

    fn sync_names(&mut self, dir: &Path) {
        self.durable_names
            .retain(|path, _| path.parent() != Some(dir));
        for (path, id) in &self.names {
            if path.parent() == Some(dir) {
                self.durable_names.insert(path.clone(), *id);
            }
        }
    }

    /// Drops the content of files that no name leads to, live or durable. Open files of such
    /// content fail afterwards, which only a dead life or a removed file can notice.
    fn forget_unnamed(&mut self) {
        let named: BTreeSet<u64> = self
            .names
            .values()
            .chain(self.durable_names.values())
            .copied()
            .collect();
        self.files.retain(|id, _| named.contains(id));
    }

    fn fails_sync(&mut self) -> bool {
        self.syncs += 1;
        let Some(left) = self.syncs_until_failure else {
            return false;
        };
        self.syncs_until_failure = (left > 1).then(|| left - 1);
        left == 1
    }
}

impl Content {
    fn touch(&mut self, sector: u64) -> &mut Sector {
        let old = self.sectors.get(&sector).cloned();
        let unsynced = self
            .unsynced
            .entry(sector)
            .or_insert(Unsynced { old, doomed: false });
        unsynced.doomed = false;
        self.sectors.entry(sector).or_insert_with(blank)
    }

    fn write(&mut self, offset: u64, mut bytes: &[u8]) {
        let mut at = offset;
        while !bytes.is_empty() {
            let (sector, within) = place(at);
            let (now, rest) = bytes.split_at(bytes.len().min(SECTOR_BYTES - within));
            self.touch(sector)[within..within + now.len()].copy_from_slice(now);
            at += now.len() as u64;
            bytes = rest;
        }
        self.len_bytes = self.len_bytes.max(at);
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> usize {
        let there = self.len_bytes.saturating_sub(offset).min(into.len() as u64) as usize;
        let mut filled = 0;
        while filled < there {
            let (sector, within) = place(offset + filled as u64);
            let now = (SECTOR_BYTES - within).min(there - filled);
            let part = &mut into[filled..filled + now];
            match self.sectors.get(&sector) {
                Some(held) => part.copy_from_slice(&held[within..within + now]),
                None => part.fill(0),
            }
            filled += now;
        }
        there
    }

    fn set_len(&mut self, bytes: u64) {
        if bytes < self.len_bytes {
            let (last, within) = place(bytes);
            let beyond: Vec<u64> = self
                .sectors
                .range(last..)
                .map(|(sector, _)| *sector)
                .collect();
            for sector in beyond {
                let from = if sector == last { within } else { 0 };
                self.touch(sector)[from..].fill(0);
            }
        }
        self.len_bytes = bytes;
    }

    fn sync(&mut self) {
        self.unsynced.retain(|_, unsynced| unsynced.doomed);
        self.durable_len_bytes = self.len_bytes;
    }

    fn doom(&mut self) {
        for unsynced in self.unsynced.values_mut() {
            unsynced.doomed = true;
        }
    }

    fn lose_unsynced(&mut self, tear_bytes: usize, mut draw: impl FnMut() -> u64) {
        for (sector, unsynced) in std::mem::take(&mut self.unsynced) {
            let old = unsynced.old.unwrap_or_else(blank);
            let kept_bytes = match draw() % 5 {
                _ if unsynced.doomed => 0,
                0 | 1 => SECTOR_BYTES,
                2 | 3 => 0,
                _ => (draw() % SECTOR_BYTES as u64) as usize / tear_bytes * tear_bytes,
            };
            let live = self.sectors.entry(sector).or_insert_with(blank);
            live[kept_bytes..].copy_from_slice(&old[kept_bytes..]);
        }
        if self.len_bytes != self.durable_len_bytes && draw().is_multiple_of(2) {
            self.len_bytes = self.durable_len_bytes;
        }
        self.durable_len_bytes = self.len_bytes;
        let end = self.len_bytes.div_ceil(SECTOR_BYTES as u64);
        self.sectors.retain(|sector, _| *sector < end);
    }
}

impl Disk for SimDisk {
    fn create_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        let mut state = self.alive("create directory", dir)?;
        state.dirs.extend(dir.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError> {
        let state = self.alive("list", dir)?;
        if !state.dirs.contains(dir) {
            return Err(not_found("list", dir));
        }
        let names: BTreeSet<String> = state
            .names
            .keys()
            .chain(&state.dirs)
            .filter(|path| path.parent() == Some(dir))
            .filter_map(|path| path.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        Ok(names.into_iter().collect())
    }

    fn open(&self, path: &Path, open: Open) -> Result<Box<dyn DiskFile>, DiskError> {
        let mut state = self.alive("open", path)?;
        let id = match open {
            Open::Existing => *state
                .names
                .get(path)
                .ok_or_else(|| not_found("open", path))?,
            Open::Create { preallocate_bytes } => {
                if !path.parent().is_some_and(|dir| state.dirs.contains(dir)) {
                    return Err(not_found("open", path));
                }
                if !state.has_room(preallocate_bytes) {
                    return Err(full("reserve space for", path));
                }
                let id = state.next_file;
                state.next_file += 1;
                let content = Content {
                    len_bytes: preallocate_bytes,
                    ..Content::default()
                };
                state.files.insert(id, content);
                state.names.insert(path.to_path_buf(), id);
                id
            }
        };
        Ok(Box::new(SimFile {
            disk: self.clone(),
            path: path.to_path_buf(),
            id,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let mut state = self.alive("rename", from)?;
        let id = state
            .names
            .remove(from)
            .ok_or_else(|| not_found("rename", from))?;
        state.names.insert(to.to_path_buf(), id);
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        let mut state = self.alive("remove", path)?;
        state
            .names
            .remove(path)
            .map(drop)
            .ok_or_else(|| not_found("remove", path))
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        let mut state = self.alive("sync directory", dir)?;
        state.sync_names(dir);
        state.forget_unnamed();
        Ok(())
    }

    fn free_bytes(&self, dir: &Path) -> Result<u64, DiskError> {
        let state = self.alive("measure", dir)?;
        Ok(state.capacity_bytes.saturating_sub(state.used_bytes()))
    }

    fn read_all(&self, path: &Path) -> Result<Bytes, DiskError> {
        let mut state = self.alive("read", path)?;
        let id = *state
            .names
            .get(path)
            .ok_or_else(|| not_found("read", path))?;
        let content = state.content(id);
        let mut bytes = vec![0; content.len_bytes as usize];
        content.read(0, &mut bytes);
        Ok(bytes.into())
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn DiskLock>, DiskError> {
        let mut state = self.alive("lock", path)?;
        if state
            .locks
            .get(path)
            .is_some_and(|held| held.strong_count() > 0)
        {
            return Err(DiskError::new(
                "lock",
                path,
                io::ErrorKind::WouldBlock.into(),
            ));
        }
        let held = Arc::new(());
        state
            .locks
            .insert(path.to_path_buf(), Arc::downgrade(&held));
        Ok(Box::new(SimLock { _held: held }))
    }
}

impl SimFile {
    fn with<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Content) -> T,
    ) -> Result<T, DiskError> {
        let mut state = self.disk.alive(operation, &self.path)?;
        let content = state.files.get_mut(&self.id);
        content
            .map(work)
            .ok_or_else(|| not_found(operation, &self.path))
    }

    /// Refuses a file that would grow beyond the disk.
    fn grow(&self, operation: &'static str, to_bytes: u64) -> Result<(), DiskError> {
        let state = self.disk.alive(operation, &self.path)?;
        let now_bytes = state
            .files
            .get(&self.id)
            .map_or(0, |content| content.len_bytes);
        if to_bytes > now_bytes && !state.has_room(to_bytes - now_bytes) {
            return Err(full(operation, &self.path));
        }
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.grow("write", offset + bytes.len() as u64)?;
        self.with("write", |content| content.write(offset, bytes))
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError> {
        self.with("read", |content| content.read(offset, into))
    }

    fn len_bytes(&self) -> Result<u64, DiskError> {
        self.with("measure", |content| content.len_bytes)
    }

    fn set_len(&self, bytes: u64) -> Result<(), DiskError> {
        self.grow("set the length of", bytes)?;
        self.with("set the length of", |content| content.set_len(bytes))
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        let fails = self.disk.alive("sync", &self.path)?.fails_sync();
        self.with("sync", |content| {
            if fails {
                content.doom();
                return Err(DiskError::new(
                    "sync",
                    &self.path,
                    io::Error::other("injected"),
                ));
            }
            content.sync();
            Ok(())
        })?
    }
}
