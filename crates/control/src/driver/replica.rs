//! This node's copy of the replicated state: the machine in memory, its rows in the store.
//!
//! Committed entries are applied to the machine under its lock; what they write is gathered
//! and flushed to the store in the background, in one atomic batch together with the log id
//! it goes up to. Until then the journal is the truth: after a crash the log is applied again
//! from where the store stands. So acknowledging a write never waits for the store.
//!
//! Invariants: the store is always the state as of exactly one entry; revisions not yet in
//! the store are served from the machine's overlay; a reader's revision is pinned until it is
//! done.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering},
    },
};

use atoll_world::{
    store::{Store, StoreError},
    task, watch,
};
use bytes::Bytes;
use futures_util::{FutureExt as _, future::BoxFuture};
use openraft::{EntryPayload, entry::RaftEntry as _};
use parking_lot::{Mutex, RwLock};
use prost::Message as _;
use tokio::sync::Notify;

use super::{
    flush::{self, Pending},
    generations::{APPLIED_TABLE, Generations},
    history::ReplicaHistory,
    leases::LeaseKeeper,
    propose::Waiters,
    watch::{Permit, WatchConfig, WatchHub, WatchStream},
};
use crate::{
    api::{Applied, Watches},
    core::{
        auth::Need,
        effects::{Effects, Space, Table, ValueError, Values},
        error::Error,
        level::{FeatureLevel, LevelError, LevelRange},
        machine::{LEVEL_ROW, Machine},
        restore::RestoreError,
    },
    log::{
        machine::Replica,
        snapshot::{Outgoing, Staged},
        types::{self, Entry, LogId, Members, SnapshotMeta, StoredMembership},
    },
    proto::{
        etcdserverpb as etcd,
        internal::{Batch, Identity, Origin},
        raft as pb,
    },
};

/// The row that says up to where the store goes.
pub(crate) const APPLIED_KEY: &[u8] = b"applied";

/// Why a replica could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store cannot be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row of the store is not what it should be.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The cluster is at a feature level that this node does not serve.
    #[error(transparent)]
    Level(#[from] LevelError),
    /// The row that says up to where the store goes cannot be read.
    #[error("the store's state cannot be used: {0}")]
    Applied(String),
}

/// The state, and what belongs to it.
pub(crate) struct State {
    pub(crate) machine: Machine,
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
    /// The last entry whose effects are in the store.
    pub(crate) stored: Option<LogId>,
    /// What was applied and not yet flushed.
    pub(crate) pending: Pending,
}

/// This node's copy of the replicated state.
pub(crate) struct Replicated {
    state: RwLock<State>,
    store: RwLock<Store>,
    generations: Arc<Generations>,
    /// One flush, snapshot or replacement at a time.
    pub(crate) flushing: tokio::sync::Mutex<()>,
    pub(crate) flush_wanted: Notify,
    pub(crate) flushed: Notify,
    applied: watch::Sender<u64>,
    /// What every request asks for, kept where no lock is needed.
    facts: Facts,
    /// Revisions that readers hold on to.
    pins: Mutex<BTreeMap<(Space, i64), usize>>,
    pub(crate) reclaim_wanted: Notify,
    waiters: Arc<Waiters>,
    levels: LevelRange,
    /// How often a received snapshot took the state's place.
    replacements: AtomicU64,
    hub: OnceLock<WatchHub>,
    /// It holds this replica; the other way it must not, or neither would ever be let go.
    leases: OnceLock<Weak<LeaseKeeper>>,
}

/// What every request asks for.
#[derive(Default)]
struct Facts {
    revision: AtomicI64,
    auth: AtomicBool,
    level: AtomicU32,
}

impl Facts {
    fn note(&self, machine: &Machine) {
        self.revision
            .store(machine.keyspace(Space::User).revision(), Ordering::Release);
        self.auth
            .store(machine.auth().is_enabled(), Ordering::Release);
        self.level
            .store(machine.feature_level().0, Ordering::Release);
    }
}

/// Reads revisions from a store.
pub(crate) struct StoreValues(pub(crate) Store);

impl Values for StoreValues {
    fn get(&self, space: Space, main: i64, sub: u32) -> Result<Option<Bytes>, ValueError> {
        let key = crate::core::effects::revision_key(main, sub);
        self.0
            .get(space.table().name(), &key)
            .map_err(|error| ValueError(error.to_string()))
    }
}

/// Every member and the feature levels it has announced.
pub(crate) fn levels_of(members: &Members) -> BTreeMap<u64, Option<LevelRange>> {
    let announced = |(id, node): (&u64, &pb::Node)| (*id, LevelRange::announced(node));
    members.nodes().map(announced).collect()
}

/// The cluster's feature level, as of a store; none where the store is empty. Asked before its
/// rows are read, which may be of a later version.
fn level_in(store: &Store) -> Result<Option<FeatureLevel>, OpenError> {
    if store.get(APPLIED_TABLE, APPLIED_KEY)?.is_none() {
        return Ok(None);
    }
    let Some(row) = store.get(Table::Meta.name(), LEVEL_ROW)? else {
        return Ok(Some(FeatureLevel::FIRST));
    };
    let level = row[..]
        .try_into()
        .map_err(|_| RestoreError::garbled(Table::Meta, LEVEL_ROW))?;
    Ok(Some(FeatureLevel(u32::from_be_bytes(level))))
}

/// Reads a machine, and up to where it goes, from a store.
pub(crate) fn load(store: &Store, levels: LevelRange) -> Result<State, OpenError> {
    if let Some(level) = level_in(store)? {
        levels.admit(level)?;
    }
    let row = store.get(APPLIED_TABLE, APPLIED_KEY)?;
    let applied = row
        .map(pb::Applied::decode)
        .transpose()
        .map_err(|error| OpenError::Applied(error.to_string()))?
        .unwrap_or_default();
    let meta = types::applied_from_proto(applied)
        .map_err(|error| OpenError::Applied(error.to_string()))?;
    let snapshot = store.snapshot();
    let applied_id = meta.last_log_id;
    let index = applied_id.as_ref().map_or(0, |id| id.index);
    let mut machine = Machine::restore(index, |table: Table| {
        snapshot
            .scan(table.name(), ..)
            .map(|row| row.map_err(|error| ValueError(error.to_string())))
    })?;
    machine.restore_members(levels_of(meta.last_membership.membership()));
    Ok(State {
        machine,
        stored: applied_id,
        applied: applied_id,
        membership: meta.last_membership,
        pending: Pending::default(),
    })
}

impl Replicated {
    pub(crate) fn open(
        generations: Arc<Generations>,
        store: Store,
        waiters: Arc<Waiters>,
        watch: WatchConfig,
        levels: LevelRange,
    ) -> Result<Arc<Self>, OpenError> {
        let state = load(&store, levels)?;
        let (applied, _) = watch::channel(state.applied.as_ref().map_or(0, |id| id.index));
        let facts = Facts::default();
        facts.note(&state.machine);
        let replica = Arc::new(Replicated {
            facts,
            state: RwLock::new(state),
            store: RwLock::new(store),
            generations,
            flushing: tokio::sync::Mutex::new(()),
            flush_wanted: Notify::new(),
            flushed: Notify::new(),
            applied,
            pins: Mutex::default(),
            reclaim_wanted: Notify::new(),
            waiters,
            levels,
            replacements: AtomicU64::new(0),
            hub: OnceLock::new(),
            leases: OnceLock::new(),
        });
        let history = Arc::new(ReplicaHistory::default());
        history.of(&replica);
        assert!(
            replica.hub.set(WatchHub::new(history, watch)).is_ok(),
            "a replica has one hub"
        );
        Ok(replica)
    }

    /// Who is told about changes of leases; set once.
    pub(crate) fn tell_leases(&self, leases: &Arc<LeaseKeeper>) {
        assert!(
            self.leases.set(Arc::downgrade(leases)).is_ok(),
            "leases have one keeper"
        );
    }

    pub(crate) fn hub(&self) -> &WatchHub {
        self.hub
            .get()
            .expect("the hub is set when the replica is made")
    }

    /// Opens a stream of watches; what the identity may see is asked for each watch.
    pub(crate) fn open_watch(self: &Arc<Self>, identity: Identity) -> ControlWatches {
        ControlWatches {
            stream: self.hub().stream(self.permit(identity)),
            replica: self.clone(),
        }
    }

    fn permit(self: &Arc<Self>, identity: Identity) -> Permit {
        let replica = self.clone();
        Box::new(move |key, range_end| {
            replica.with(|machine| {
                machine
                    .auth()
                    .require(&identity, Need::Read, key, range_end)
            })
        })
    }

    /// Looks at the machine. Nothing waits meanwhile but the next entries to apply: be brief.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&Machine) -> R) -> R {
        look(&self.state.read().machine)
    }

    /// Changes something of the machine that is not replicated.
    pub(crate) fn with_mut<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state.write())
    }

    /// Looks at the machine, with the values that are already in the store.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Machine, &StoreValues) -> R) -> R {
        let state = self.state.read();
        // Taken under the lock: a replacement changes both.
        let values = StoreValues(self.store());
        look(&state.machine, &values)
    }

    /// What was applied and waits to be written to the store, in bytes.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.state.read().pending.bytes()
    }

    /// The current store.
    pub(crate) fn store(&self) -> Store {
        self.store.read().clone()
    }

    /// Revision of the users' keyspace.
    pub(crate) fn revision(&self) -> i64 {
        self.facts.revision.load(Ordering::Acquire)
    }

    /// Whether authentication is on.
    pub(crate) fn auth_enabled(&self) -> bool {
        self.facts.auth.load(Ordering::Acquire)
    }

    /// Where the cluster stands.
    pub(crate) fn feature_level(&self) -> FeatureLevel {
        FeatureLevel(self.facts.level.load(Ordering::Acquire))
    }

    /// How often a received snapshot took the state's place. Does not change under the
    /// state's lock.
    pub(crate) fn replacements(&self) -> u64 {
        self.replacements.load(Ordering::Acquire)
    }

    /// What this node serves.
    pub(crate) fn levels(&self) -> LevelRange {
        self.levels
    }

    /// Index of the last entry applied; changes wake whoever waits.
    pub(crate) fn applied_index(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Returns once the entry is applied.
    pub(crate) async fn wait_applied(&self, index: u64) -> Result<(), Error> {
        let mut applied = self.applied.subscribe();
        applied
            .wait_for(|applied| *applied >= index)
            .await
            .map_err(|_| Error::Stopped)
    }

    /// Keeps a revision from being reclaimed while the pin lives.
    pub(crate) fn pin(self: &Arc<Self>, space: Space, revision: i64) -> Pin {
        *self.pins.lock().entry((space, revision)).or_default() += 1;
        Pin {
            replica: self.clone(),
            space,
            revision,
        }
    }

    /// Waits while more is applied, or reclaimed, than written to the store, by too much.
    pub(crate) async fn room_in_memory(&self) {
        loop {
            let flushed = self.flushed.notified();
            if !self.state.read().pending.is_full() {
                return;
            }
            self.flush_wanted.notify_one();
            flushed.await;
        }
    }

    /// The oldest revision that somebody holds on to.
    pub(crate) fn oldest_pin(&self, space: Space) -> Option<i64> {
        self.pins
            .lock()
            .keys()
            .filter(|(pinned, _)| *pinned == space)
            .map(|(_, revision)| *revision)
            .min()
    }

    fn apply_entry(
        &self,
        state: &mut State,
        entry: Entry,
        effects: &mut Effects,
        answers: &mut Vec<(Origin, Result<Applied, Error>)>,
    ) -> Result<(), io::Error> {
        let id = entry.log_id();
        match entry.payload {
            EntryPayload::Blank => state.machine.skip(id.index),
            EntryPayload::Normal(batch) => {
                self.apply_batch(state, id.index, batch.0, effects, answers)?
            }
            EntryPayload::Membership(members) => {
                let levels = levels_of(&members);
                state.machine.members_changed(id.index, levels, effects);
                state.membership = StoredMembership::new(Some(id), members);
            }
        }
        state.applied = Some(id);
        Ok(())
    }

    /// Applies one entry's commands; what they answered is told once watchers know of them.
    fn apply_batch(
        &self,
        state: &mut State,
        index: u64,
        batch: Bytes,
        effects: &mut Effects,
        answers: &mut Vec<(Origin, Result<Applied, Error>)>,
    ) -> Result<(), io::Error> {
        let batch = Batch::decode(batch).map_err(io::Error::other)?;
        let values = StoreValues(self.store());
        let outcomes = state
            .machine
            .apply_batch(index, &batch, &values, effects)
            .map_err(io::Error::other)?;
        for (command, outcome) in batch.commands.iter().zip(outcomes) {
            if let (Some(answer), Some(origin)) = (outcome, command.origin) {
                answers.push((origin, answer));
            }
        }
        Ok(())
    }

    fn tell(&self, effects: &mut Effects) {
        for (space, revision, events) in effects.events.drain(..) {
            self.hub().publish(space, revision, events.into());
        }
        for (space, revision) in effects.compacted.drain(..) {
            self.hub().compacted(space, revision);
            self.reclaim_wanted.notify_one();
        }
        if !effects.leases.is_empty() {
            if let Some(leases) = self.leases.get().and_then(Weak::upgrade) {
                leases.apply(&effects.leases);
            }
            effects.leases.clear();
        }
        effects.alarms_changed = false;
        effects.auth_changed = false;
    }
}

/// One client's stream of watches, with the rights of whoever asks last.
pub struct ControlWatches {
    stream: WatchStream,
    replica: Arc<Replicated>,
}

impl Watches for ControlWatches {
    fn identify(&mut self, identity: Identity) {
        self.stream.set_permit(self.replica.permit(identity));
    }

    fn has_room(&self) -> bool {
        self.stream.has_room()
    }

    async fn request(&mut self, request: etcd::WatchRequest) -> Result<(), Error> {
        self.stream.request(request).await
    }

    async fn next(&mut self) -> etcd::WatchResponse {
        self.stream.next().await
    }
}

/// Holds a revision; see [`Replicated::pin`].
pub(crate) struct Pin {
    replica: Arc<Replicated>,
    space: Space,
    revision: i64,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.replica.pins.lock();
        let count = pins
            .get_mut(&(self.space, self.revision))
            .expect("a pin is counted");
        *count -= 1;
        if *count == 0 {
            pins.remove(&(self.space, self.revision));
        }
    }
}

impl Replica for Replicated {
    fn applied(&self) -> (Option<LogId>, StoredMembership) {
        let state = self.state.read();
        (state.applied, state.membership.clone())
    }

    fn apply(&self, entries: Vec<Entry>) -> Result<(), io::Error> {
        let mut effects = Effects::default();
        let mut answers = Vec::new();
        let mut state = self.state.write();
        let (mut index, mut outcome) = (0, Ok(()));
        for entry in entries {
            let whole = effects.writes.len();
            index = entry.log_id().index;
            outcome = self.apply_entry(&mut state, entry, &mut effects, &mut answers);
            if outcome.is_err() {
                effects.writes.truncate(whole);
                break;
            }
            // What follows may be of a kind that this node does not know.
            let level = state.machine.feature_level();
            outcome = self.levels.admit(level).map_err(io::Error::other);
            if outcome.is_err() {
                break;
            }
        }
        // Also when this node has to end: a flush may come first, and it writes the whole of
        // what counts as applied or nothing.
        state.pending.extend(effects.writes.drain(..));
        outcome?;
        self.facts.note(&state.machine);
        // Under the lock, so that watchers hear of revisions in order.
        self.tell(&mut effects);
        let wanted = state.pending.is_due();
        drop(state);
        for (origin, answer) in answers {
            self.waiters.applied(&origin, answer);
        }
        self.applied.send_replace(index);
        if wanted {
            self.flush_wanted.notify_one();
        }
        Ok(())
    }

    fn room(&self) -> BoxFuture<'_, Result<(), io::Error>> {
        async move {
            self.room_in_memory().await;
            Ok(())
        }
        .boxed()
    }

    fn persist(&self) -> BoxFuture<'_, Result<(SnapshotMeta, Outgoing), io::Error>> {
        async move {
            let _one = self.flushing.lock().await;
            let meta = flush::write_pending(self).await.map_err(io::Error::other)?;
            let store = self.store();
            let (view, bytes) = task::blocking(move || {
                store.persist()?;
                Ok::<_, StoreError>((store.snapshot(), store.disk_bytes()?))
            })
            .await
            .map_err(io::Error::other)?;
            Ok((meta, Outgoing::new(view, bytes)))
        }
        .boxed()
    }

    fn install(&self, meta: SnapshotMeta, staged: Staged) -> BoxFuture<'_, Result<(), io::Error>> {
        async move {
            let _one = self.flushing.lock().await;
            let Staged { store, generation } = staged;
            let applied = types::applied_to_proto(meta.last_log_id.as_ref(), &meta.last_membership);
            let levels = self.levels;
            let (store, fresh) = task::blocking(move || {
                let mut batch = atoll_world::store::Batch::default();
                batch.put(APPLIED_TABLE, APPLIED_KEY, applied.encode_to_vec());
                store.write(batch)?;
                store.persist()?;
                let fresh = load(&store, levels)?;
                Ok::<_, OpenError>((store, fresh))
            })
            .await
            .map_err(io::Error::other)?;
            let index = fresh.applied.as_ref().map_or(0, |id| id.index);
            let old = {
                let mut state = self.state.write();
                let mut current = self.store.write();
                self.generations
                    .switch(generation, &current)
                    .map_err(io::Error::other)?;
                let old = std::mem::replace(&mut *current, store);
                *state = fresh;
                self.replacements.fetch_add(1, Ordering::Release);
                let machine = &state.machine;
                self.facts.note(machine);
                self.waiters.replaced(|origin| machine.has_applied(origin));
                old
            };
            // Closing a store takes its time, and deletes its files.
            task::blocking(move || drop(old)).await;
            self.reclaim_wanted.notify_one();
            self.hub().restored(Space::User);
            self.hub().restored(Space::System);
            self.applied.send_replace(index);
            Ok(())
        }
        .boxed()
    }
}
