//! The journal that a node's partitions share, read again when the node starts.
//!
//! A partition begins with the first checkpoint of it that is there, and goes on with what comes
//! after; what is before belongs to segments of which the rest was freed. Checkpoints that come
//! later tell nothing new, unless the partition has moved away in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use atoll_base::id::PartitionId;
use atoll_world::journal::{Journal, JournalError, Position as Place};

use super::{Setup, StartError, snapshots::Files};
use crate::core::{
    machine::Machine,
    partition::State,
    paxos::{Durable, Forgotten, LogIndex, Record, Snapshot},
    wire::{self, Checkpoint, FileMark, Logged},
};

/// The folder of the journal, in that of hot data.
const FOLDER: &str = "journal";
/// Progress is told after so many records.
const TELL_RECORDS: u64 = 100_000;

/// How far the start has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Records of the journal that were read.
    pub records: u64,
    /// Snapshots that were read.
    pub snapshots: usize,
    /// Snapshots that there are to read; known once the journal was read.
    pub snapshots_total: usize,
}

/// Hears how far the start has got, now and then.
pub type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// What a partition knew.
pub(super) struct Held {
    pub(super) durable: Durable,
    /// The state of the log's base.
    pub(super) state: State<Machine>,
    /// The length of its snapshot.
    pub(super) snapshot_bytes: u64,
    /// Where the journal begins to tell of it.
    pub(super) head: Place,
}

/// What the journal told of a partition so far.
struct Told {
    durable: Durable,
    head: Place,
    /// Up to where entries that are carried after the checkpoint are still to come.
    carried_to: Option<LogIndex>,
    /// Of the base's file.
    mark: Option<FileMark>,
}

/// What can't follow what came before.
struct Astray;

/// Everything that was read.
pub(super) struct Recovered {
    pub(super) held: BTreeMap<PartitionId, Held>,
    /// Partitions that have moved away, and where the journal tells so.
    pub(super) forgotten: BTreeMap<PartitionId, (Forgotten, Place)>,
    pub(super) journal: Journal,
    pub(super) files: Files,
}

/// Opens the journal and puts together what each partition knew.
pub(super) fn open(setup: &Setup) -> Result<Recovered, StartError> {
    let mut progress = Progress::default();
    let mut told: BTreeMap<PartitionId, Told> = BTreeMap::new();
    let mut forgotten: BTreeMap<PartitionId, (Forgotten, Place)> = BTreeMap::new();
    let mut headless: BTreeSet<PartitionId> = BTreeSet::new();
    let mut fault = None;
    let mut visit = |sequence: atoll_world::journal::Sequence, place, payload| {
        if fault.is_some() {
            return Ok::<(), JournalError>(());
        }
        progress.records += 1;
        if progress.records.is_multiple_of(TELL_RECORDS) {
            tracing::info!(
                records = progress.records,
                "reading the journal of hot data"
            );
            (setup.progress)(progress);
        }
        let (partition, logged) = match wire::decode_record(payload) {
            Ok(record) => record,
            Err(reason) => {
                fault = Some(StartError::Record {
                    sequence: sequence.0,
                    reason,
                });
                return Ok(());
            }
        };
        let astray = StartError::Astray {
            sequence: sequence.0,
            partition,
        };
        match (told.get_mut(&partition), logged) {
            (_, Logged::Forgotten(it)) => {
                told.remove(&partition);
                headless.remove(&partition);
                forgotten.insert(partition, (it, place));
            }
            (Some(told), logged) => {
                if told.take(logged).is_err() {
                    fault = Some(astray);
                }
            }
            (None, Logged::Checkpoint(checkpoint)) => {
                let before = forgotten.remove(&partition);
                let may_begin =
                    |(it, _): &(Forgotten, Place)| it.lets_begin_in(&checkpoint.configuration);
                if before.as_ref().is_some_and(|it| !may_begin(it)) {
                    fault = Some(astray);
                }
                told.insert(partition, Told::new(checkpoint, place));
                headless.remove(&partition);
            }
            (None, _) if forgotten.contains_key(&partition) => fault = Some(astray),
            // Of a segment whose older ones are gone; a checkpoint has to come.
            (None, _) => {
                headless.insert(partition);
            }
        }
        Ok(())
    };
    let disk = setup.disk.clone();
    let dir = setup.dir.join(FOLDER);
    let (journal, recovery) = Journal::open(disk, dir, setup.journal.clone(), &mut visit)?;
    if let Some(fault) = fault {
        return Err(fault);
    }
    if recovery.maybe_acknowledged {
        return Err(StartError::MaybeForgetful);
    }
    let unfinished = told.iter().find(|(_, told)| told.carried_to.is_some());
    if let Some(partition) = headless.first().or(unfinished.map(|(id, _)| id)).copied() {
        return Err(StartError::Headless { partition });
    }
    let files = Files::open(setup.disk.clone(), &setup.dir)?;
    let has_snapshot = |told: &Told| told.durable.log.base().index > LogIndex::default();
    progress.snapshots_total = told.values().filter(|told| has_snapshot(told)).count();
    let mut held = BTreeMap::new();
    for (partition, told) in told {
        let base = told.durable.log.base();
        let (state, snapshot_bytes) = if has_snapshot(&told) {
            (setup.progress)(progress);
            progress.snapshots += 1;
            let loaded = files.load(partition, base, told.mark);
            loaded.map_err(|reason| StartError::Snapshot {
                partition,
                file: files.path(partition, base.index),
                reason,
            })?
        } else {
            (State::new(Machine::default()), 0)
        };
        let one = Held {
            durable: told.durable,
            state,
            snapshot_bytes,
            head: told.head,
        };
        held.insert(partition, one);
    }
    let bases = held
        .iter()
        .map(|(partition, one)| (*partition, one.durable.log.base().index));
    files.keep_only(bases)?;
    tracing::info!(
        records = progress.records,
        snapshots = progress.snapshots,
        partitions = held.len(),
        "hot data was read"
    );
    (setup.progress)(progress);
    Ok(Recovered {
        held,
        forgotten,
        journal,
        files,
    })
}

impl Told {
    fn new(checkpoint: Checkpoint, head: Place) -> Told {
        let mut durable = Durable::new(checkpoint.configuration);
        durable.apply(Record::Promise(checkpoint.promised));
        durable.apply(Record::Compact(checkpoint.base));
        let carries = checkpoint.last > checkpoint.base.index;
        Told {
            durable,
            head,
            carried_to: carries.then_some(checkpoint.last),
            mark: None,
        }
    }

    /// Goes on with a record.
    fn take(&mut self, logged: Logged) -> Result<(), Astray> {
        match logged {
            // The second is none of what follows a beginning: it is one.
            Logged::Checkpoint(_) | Logged::Forgotten(_) => {}
            Logged::Carried { after, entries } => {
                // Those of a later checkpoint are known.
                if let Some(end) = self.carried_to {
                    self.append(after, entries)?;
                    self.carried_to = self.carried_to.filter(|_| self.last() < end);
                }
            }
            Logged::Record(Record::Append { after, entries }) => {
                self.expect_carried()?;
                self.append(after, entries)?;
            }
            Logged::Record(Record::Compact(base)) => {
                self.expect_carried()?;
                if base.index < self.durable.log.base().index || base.index > self.last() {
                    return Err(Astray);
                }
                self.durable.apply(Record::Compact(base));
                self.mark = None;
            }
            Logged::Record(record) => {
                self.expect_carried()?;
                self.durable.apply(record);
            }
            Logged::Installed { base, mark } => {
                self.expect_carried()?;
                self.durable.apply(Record::Install(Snapshot {
                    base,
                    state: bytes::Bytes::new(),
                }));
                self.mark = Some(mark);
            }
        }
        Ok(())
    }

    fn last(&self) -> LogIndex {
        self.durable.log.last().index
    }

    /// Nothing else comes between a checkpoint and its entries.
    fn expect_carried(&self) -> Result<(), Astray> {
        match self.carried_to {
            None => Ok(()),
            Some(_) => Err(Astray),
        }
    }

    fn append(
        &mut self,
        after: LogIndex,
        entries: Vec<crate::core::paxos::Entry>,
    ) -> Result<(), Astray> {
        if after < self.durable.log.base().index || after > self.last() {
            return Err(Astray);
        }
        self.durable.apply(Record::Append { after, entries });
        Ok(())
    }
}
