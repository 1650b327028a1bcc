//! The journal that a node's partitions share, read again when the node starts.
//!
//! A partition begins with the first checkpoint of it that is there, and goes on with what comes
//! after; what is before belongs to segments of which the rest was freed. Checkpoints that come
//! later tell nothing new, unless the partition has moved away in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use atoll_base::id::PartitionId;
use atoll_world::{
    clock,
    disk::{Disk, DiskError, Open},
    journal::{self, Journal, JournalError, Position as Place},
    task,
};

use super::{
    Setup, StartError,
    eventual::{Found, Recovery},
    progress::Meter,
    snapshots::Files,
};
use crate::core::{
    eventual::bundle::RoomId,
    machine::Machine,
    partition::State,
    paxos::{Durable, Forgotten, LogIndex, Record, Snapshot},
    wire::{self, Checkpoint, FileMark, Logged},
};

/// The folder of the journal, in that of hot data.
const FOLDER: &str = "journal";
/// The clock is looked at after so many records.
const LOOK_RECORDS: u64 = 1_024;

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
    /// Partitions of eventual keyspaces.
    pub(super) eventual: BTreeMap<RoomId, Found>,
    pub(super) journal: Journal,
    pub(super) files: Files,
}

/// Opens the journal and puts together what each partition knew.
pub(super) fn open(setup: &Setup) -> Result<Recovered, StartError> {
    let begin = clock::now();
    let dir = setup.dir.join(FOLDER);
    let files = Files::open(setup.disk.clone(), &setup.dir)?;
    let segments = Segments::look(setup.disk.as_ref(), &dir)?;
    let bytes_total = segments.bytes() + files.bytes()?;
    let meter = Meter::new(bytes_total, setup.progress.clone(), begin);
    let mut records: u64 = 0;
    let mut told: BTreeMap<PartitionId, Told> = BTreeMap::new();
    let mut forgotten: BTreeMap<PartitionId, (Forgotten, Place)> = BTreeMap::new();
    let mut headless: BTreeSet<PartitionId> = BTreeSet::new();
    let mut eventual = Recovery::default();
    let mut fault = None;
    let mut visit = |sequence: journal::Sequence, place, payload| {
        if fault.is_some() {
            return Ok::<(), JournalError>(());
        }
        records += 1;
        if records.is_multiple_of(LOOK_RECORDS) {
            meter.reach(clock::now(), |progress| {
                progress.records = records;
                progress.bytes = segments.bytes_before(place);
            });
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
            (_, Logged::Noted(keyspace, noted)) => {
                let room = RoomId {
                    keyspace,
                    partition,
                };
                if eventual.take(room, noted, place).is_err() {
                    fault = Some(astray);
                }
            }
            (_, Logged::Forgotten(it)) => {
                told.remove(&partition);
                headless.remove(&partition);
                forgotten.insert(partition, (it, place));
            }
            // A crash cut off the beginning: what it was to carry does not come, and what was before
            // it is gone. A later one says all of it again.
            (Some(told), Logged::Checkpoint(checkpoint)) if told.carried_to.is_some() => {
                *told = Told::new(checkpoint, place);
            }
            (Some(cut), logged)
                if cut.carried_to.is_some() && !matches!(logged, Logged::Carried { .. }) =>
            {
                told.remove(&partition);
                headless.insert(partition);
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
    let (journal, recovery) = Journal::open(disk, dir, setup.journal.clone(), &mut visit)?;
    if let Some(fault) = fault {
        return Err(fault);
    }
    if recovery.maybe_acknowledged {
        return Err(StartError::MaybeForgetful);
    }
    let unfinished = told.iter().find(|(_, told)| told.carried_to.is_some());
    let headless = headless.first().or(unfinished.map(|(id, _)| id)).copied();
    if let Some(partition) = headless.or(eventual.headless()) {
        return Err(StartError::Headless { partition });
    }
    let snapshot_of = |id: &PartitionId, told: &Told| {
        let base = told.durable.log.base();
        (base.index > LogIndex::default()).then(|| files.path(*id, base.index))
    };
    let paths = told.iter().filter_map(|(id, told)| snapshot_of(id, told));
    let bytes_total = segments.bytes() + bytes_of(setup.disk.as_ref(), paths)?;
    meter.reach(clock::now(), |progress| {
        progress.records = records;
        progress.partitions_total = Some(told.len());
        progress.bytes = segments.bytes();
        progress.bytes_total = bytes_total;
    });
    let load = |(partition, told): (PartitionId, Told)| -> Result<_, StartError> {
        let base = told.durable.log.base();
        let (state, snapshot_bytes) = match snapshot_of(&partition, &told) {
            None => (State::new(Machine::default()), 0),
            Some(file) => {
                let loaded = files.load(partition, base, told.mark);
                loaded.map_err(|reason| StartError::Snapshot {
                    partition,
                    file,
                    reason,
                })?
            }
        };
        meter.reach(clock::now(), |progress| {
            progress.partitions += 1;
            progress.snapshots += usize::from(snapshot_bytes > 0);
            progress.bytes += snapshot_bytes;
        });
        let one = Held {
            durable: told.durable,
            state,
            snapshot_bytes,
            head: told.head,
        };
        Ok((partition, one))
    };
    let told: Vec<_> = told.into_iter().collect();
    let held: BTreeMap<_, _> = task::each(told, setup.shards.max(1), load)?
        .into_iter()
        .collect();
    let eventual = eventual.load(&files, setup.boot)?;
    let names = held
        .iter()
        .map(|(partition, one)| Files::name(*partition, one.durable.log.base().index));
    let names = names.chain(
        eventual
            .iter()
            .filter_map(|(room, one)| one.file_name(*room)),
    );
    files.keep_only(&names.collect())?;
    let progress = meter.done();
    tracing::info!(
        records = progress.records,
        partitions = progress.partitions,
        bytes = progress.bytes,
        took_ms = begin.elapsed().as_millis(),
        "hot data was read"
    );
    Ok(Recovered {
        held,
        forgotten,
        eventual,
        journal,
        files,
    })
}

/// How long the journal's segments are.
struct Segments(BTreeMap<u64, u64>);

impl Segments {
    fn look(disk: &dyn Disk, dir: &Path) -> Result<Segments, DiskError> {
        let mut lengths = BTreeMap::new();
        for (number, path) in journal::segments(disk, dir)? {
            lengths.insert(number, bytes_of(disk, [path].into_iter())?);
        }
        Ok(Segments(lengths))
    }

    fn bytes(&self) -> u64 {
        self.0.values().sum()
    }

    /// What lies before a place.
    fn bytes_before(&self, place: Place) -> u64 {
        let before: u64 = self.0.range(..place.segment).map(|(_, bytes)| bytes).sum();
        before + place.offset
    }
}

/// The lengths of some files together. One that is not there has none: whoever wants to read it
/// says so.
pub(super) fn bytes_of(
    disk: &dyn Disk,
    paths: impl Iterator<Item = PathBuf>,
) -> Result<u64, DiskError> {
    let mut bytes = 0;
    for path in paths {
        let length = disk.open(&path, Open::Existing);
        bytes += match length.and_then(|file| file.len_bytes()) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => 0,
            Err(error) => return Err(error),
        };
    }
    Ok(bytes)
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
            // The second is none of what follows a beginning: it is one. The last is of others.
            Logged::Checkpoint(_) | Logged::Forgotten(_) | Logged::Noted(..) => {}
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
