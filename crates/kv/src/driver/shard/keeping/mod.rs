//! What of a shard's partitions is on disk: records on their way to the journal, snapshots, and
//! the part of the journal that is still needed.
//!
//! A partition's beginning in the journal is a checkpoint: everything its replica knows, its
//! log's entries included (see [`wire::encode_checkpoint`]). When the journal has grown by some
//! segments, the more the more data there is, partitions that begin in an old one begin anew in the newest; when that is as
//! durable as it has to be, the old segments are freed. Logs that would make long checkpoints are
//! cut by a snapshot first.
//!
//! What has to be so, in this order:
//! - a snapshot's file is durable before the journal is told of it, be it one's own or another
//!   replica's; records of the same partition that follow wait until then;
//! - the journal's record of it is durable before the file before it is removed;
//! - a checkpoint is durable before the segment with the one before it is freed;
//! - that a partition has moved away is durable before its files are removed.
//!
//! Where the journal is not synced at once, "durable" means that a later segment has begun, which
//! has the ones before it synced.

mod cutting;
mod saving;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, OnceLock},
};

use atoll_base::id::PartitionId;
use atoll_world::{
    disk::DiskError,
    journal::{Durability, JournalError, Position as Place},
};
use bytes::Bytes;

use super::{Shard, Urgent, leaving::Left};
use crate::{
    core::{
        eventual::bundle::RoomId,
        machine::Machine,
        partition::State,
        paxos::{LogIndex, Position, Record, Snapshot},
        wire,
    },
    driver::{
        Setup, SnapshotSettings, eventual::Settling, journal::Held, needs::Needs, snapshots::Files,
    },
};

/// So many bytes go to the journal at once, or one record: less than it has queued at a time, and
/// little enough that some of it fits where all of it does not.
const SLICE_BYTES_MAX: usize = 4 << 20;
/// A checkpoint's records have no more bytes than this, or one entry.
const CARRY_RECORD_BYTES_MAX: u64 = 256 << 10;

/// What a shard has to do with its disk.
pub(super) struct Keeping {
    settings: SnapshotSettings,
    shard: usize,
    /// Whether the journal is synced before it says that it wrote.
    syncs: bool,
    record_bytes_max: usize,
    files: Files,
    needs: Needs,
    /// Records for the journal, each with what it settles once it is durable.
    records: Vec<(Bytes, Option<Settles>)>,
    /// Whether more than entries is among them, which is synced whatever the node was told.
    has_promised: bool,
    /// Whether some of them are of eventual partitions, whose answers wait for that.
    has_eventual: bool,
    /// Where checkpoints begin whose ends are not durable yet.
    begun: BTreeMap<PartitionId, Place>,
    /// What waits until the journal is durable up to a place.
    settling: VecDeque<(Place, Settles)>,
    /// Where the partitions begin in the journal.
    heads: BTreeSet<(Place, PartitionId)>,
    /// Partitions to be snapshotted.
    due: VecDeque<PartitionId>,
    saves: usize,
    /// What could not be saved is tried again then.
    retries: BTreeSet<(u64, PartitionId)>,
    house_at_ms: u64,
}

/// What of a partition is on disk, or on its way there.
#[derive(Default)]
pub(super) struct Kept {
    /// Where the journal begins to tell of it; none until that is durable.
    head: Option<Place>,
    /// A checkpoint is on its way to the journal.
    is_moving: bool,
    /// It is to begin anew once it was snapshotted, however long its log is then.
    moves_next: bool,
    /// Its snapshots on disk, by the last entry.
    files: BTreeSet<LogIndex>,
    /// The length of the last one.
    snapshot_bytes: u64,
    /// Whether it waits for its turn to be snapshotted.
    is_due: bool,
    /// Whether a snapshot of its own is on its way to the disk.
    is_saving: bool,
    /// Records that wait for the file of another replica's snapshot; the first of each is the
    /// one that installs it.
    gates: VecDeque<Gate>,
    /// The number of the last record that the replica handed out.
    written: u64,
    /// What stays of a replica that was let go.
    pub(in crate::driver::shard) left: Option<Left>,
    /// States of snapshots that the replica is about to install.
    pub(super) restored: BTreeMap<LogIndex, State<Machine>>,
}

/// Records that wait for a file.
struct Gate {
    snapshot: Snapshot,
    is_saved: bool,
    is_saving: bool,
    records: Vec<(Bytes, Option<Settles>)>,
    /// The number of the last of the records.
    written: u64,
}

/// What is so once a record is durable.
#[derive(Clone, Copy, Debug)]
pub(super) enum Settles {
    /// The partition begins here, once what follows is there, too.
    Begins(PartitionId),
    /// The partition begins where that was, or here if there is none.
    Head(PartitionId),
    /// The partition's snapshots before this one are not needed.
    Base(PartitionId, LogIndex),
    /// The partition has moved away, and here it says so.
    Left(PartitionId),
    /// Of a partition of an eventual keyspace.
    Eventual(RoomId, Settling),
}

impl Settles {
    /// Whether the journal is needed from here on.
    fn is_beginning(self) -> bool {
        match self {
            Settles::Begins(_) | Settles::Head(_) | Settles::Left(_) | Settles::Eventual(..) => {
                true
            }
            Settles::Base(..) => false,
        }
    }
}

/// What came of saving a snapshot.
pub(in crate::driver) struct Saved {
    partition: PartitionId,
    base: Position,
    bytes: u64,
    is_own: bool,
    result: Result<(), DiskError>,
}

/// How many of records of these lengths go to the journal at once: at least one, if there is any.
fn slice_of(lengths: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let fitting = lengths.enumerate().take_while(|(at, length)| {
        bytes += length;
        *at == 0 || bytes <= SLICE_BYTES_MAX
    });
    fitting.count()
}

#[cfg(test)]
#[test]
fn a_slice_is_small_and_never_nothing() {
    let slice = |lengths: &[usize]| slice_of(lengths.iter().copied());
    let half = SLICE_BYTES_MAX / 2;
    assert_eq!(slice(&[]), 0);
    assert_eq!(slice(&[1, 2, 3]), 3);
    assert_eq!(slice(&[half, half, 1]), 2);
    assert_eq!(slice(&[2 * SLICE_BYTES_MAX, 1]), 1);
}

impl Keeping {
    pub(super) fn new(setup: &Setup, shard: usize, files: Files, needs: Needs) -> Keeping {
        let bytes_max = (setup.journal.segment_bytes / 4).min(CARRY_RECORD_BYTES_MAX);
        Keeping {
            settings: setup.snapshots,
            shard,
            syncs: setup.journal.durability == Durability::Always,
            record_bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX),
            files,
            needs,
            records: Vec::new(),
            has_promised: false,
            has_eventual: false,
            begun: BTreeMap::new(),
            settling: VecDeque::new(),
            heads: BTreeSet::new(),
            due: VecDeque::new(),
            saves: 0,
            retries: BTreeSet::new(),
            house_at_ms: 0,
        }
    }

    pub(super) fn put(&mut self, record: Bytes, settles: Settles) {
        self.records.push((record, Some(settles)));
    }

    /// How many records go to the journal next.
    fn slice(&self) -> usize {
        let records = self.records.iter();
        slice_of(records.map(|(record, _)| record.len()))
    }

    /// The shard's number.
    pub(super) fn number(&self) -> usize {
        self.shard
    }

    pub(super) fn files(&self) -> Files {
        self.files.clone()
    }
}

impl Kept {
    /// Whether a snapshot is on its way to the disk, the replica's own or another's.
    pub(super) fn is_saving(&self) -> bool {
        self.is_saving || !self.gates.is_empty()
    }

    /// The number of the last record that the replica handed out.
    pub(super) fn last_written(&self) -> u64 {
        self.written
    }

    /// The files that the replica leaves.
    pub(super) fn take_files(&mut self) -> BTreeSet<LogIndex> {
        std::mem::take(&mut self.files)
    }

    /// Whether it may begin anew in the journal; then it does.
    pub(super) fn moves_head(&mut self) -> bool {
        !std::mem::replace(&mut self.is_moving, true)
    }

    /// Another replica begins where one may have been before. Files of that one may still be
    /// there.
    pub(super) fn begin_anew(&mut self) {
        *self = Kept {
            head: self.head,
            files: self.take_files(),
            ..Kept::default()
        };
    }

    /// Whether records put another state in the place of the replica's.
    pub(super) fn installs(&self, records: &[Record]) -> bool {
        let mut records = records.iter();
        records.any(|record| matches!(record, Record::Install(_)))
    }
}

impl Shard {
    /// Goes on with what the journal told of a partition.
    pub(super) fn keep_recovered(&mut self, id: PartitionId, held: &Held) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        let base = held.durable.log.base().index;
        room.kept.snapshot_bytes = held.snapshot_bytes;
        room.kept
            .files
            .extend((base > LogIndex::default()).then_some(base));
        self.begins_at(id, held.head);
    }

    /// Here the journal begins to tell of a partition.
    pub(super) fn begins_at(&mut self, id: PartitionId, head: Place) {
        if let Some(room) = self.rooms.get_mut(id) {
            room.kept.head = Some(head);
            self.keeping.heads.insert((head, id));
            self.keeping.needs.wrote(head);
        }
    }

    /// Has the record written that a replica was let go, after all of its own.
    pub(super) fn put_last_record(&mut self, id: PartitionId, record: Bytes, number: u64) {
        self.keeping.due.retain(|it| *it != id);
        self.keeping.put(record, Settles::Left(id));
        self.written.push((id, number));
    }

    /// Has a replica's records written, those that install a snapshot after its file.
    pub(super) fn put_records(
        &mut self,
        id: PartitionId,
        kept: &mut Kept,
        records: Vec<Record>,
        written: u64,
    ) {
        let first = written + 1 - records.len() as u64;
        kept.written = written;
        for (number, record) in (first..).zip(records) {
            let encoded = wire::encode_record(id, &record);
            let settles = match &record {
                Record::Install(Snapshot { base, .. }) | Record::Compact(base) => {
                    Some(Settles::Base(id, base.index))
                }
                Record::Promise(_) | Record::Configure(_) | Record::Append { .. } => None,
            };
            self.keeping.has_promised |= !matches!(record, Record::Append { .. });
            if let Record::Install(snapshot) = record {
                kept.gates.push_back(Gate {
                    snapshot,
                    is_saved: false,
                    is_saving: false,
                    records: Vec::new(),
                    written: 0,
                });
                self.save_gates(id, kept);
            }
            match kept.gates.back_mut() {
                Some(gate) => {
                    gate.records.push((encoded, settles));
                    gate.written = number;
                }
                None => {
                    self.keeping.records.push((encoded, settles));
                    self.written.push((id, number));
                }
            }
        }
    }

    /// Has the records of eventual partitions written with all others.
    pub(super) fn put_eventual(&mut self) {
        let taken = self.eventual.take_records();
        self.keeping.has_promised |= !taken.is_empty();
        self.keeping.has_eventual |= !taken.is_empty();
        let records = taken.into_iter().map(|(record, settles)| {
            let settles = settles.map(|(room, settling)| Settles::Eventual(room, settling));
            (record, settles)
        });
        self.keeping.records.extend(records);
    }

    /// Hands records to the journal, in slices: what is too much at once goes in as there is room.
    pub(super) fn write(&mut self) {
        if !self.keeping.has_eventual {
            self.eventual.not_appended();
        }
        if self.keeping.records.is_empty() {
            return;
        }
        let now_ms = self.now_ms();
        if self.journal_retry_at_ms.is_some_and(|at_ms| now_ms < at_ms) {
            return;
        }
        self.journal_retry_at_ms = None;
        while self.keeping.slice() > 0 {
            if let Err(error) = self.write_slice() {
                if matches!(error, JournalError::NoSpace { .. }) {
                    self.space.is_stuck = true;
                }
                tracing::debug!(%error, "hot data waits for its journal");
                self.journal_retry_at_ms = Some(now_ms + super::JOURNAL_RETRY_MS);
                return;
            }
        }
        self.space.is_stuck = false;
        self.keeping.has_promised = false;
        self.keeping.has_eventual = false;
        self.eventual.appended();
        self.written.clear();
    }

    /// Hands the first slice of the records to the journal.
    fn write_slice(&mut self) -> Result<(), JournalError> {
        let count = self.keeping.slice();
        let is_last = count == self.keeping.records.len();
        // What waits for records waits for the last of them.
        let (numbers, append) = match is_last {
            true => (self.written.clone(), self.eventual.next_append()),
            false => (Vec::new(), self.eventual.last_append()),
        };
        let urgent = self.urgent.clone();
        // It may be written before this task knows where; it reads that when it hears of it.
        let end = Arc::new(OnceLock::new());
        let up_to = end.clone();
        let done = move |result: Result<(), JournalError>| {
            // A failed sync ends the process; see the journal's options.
            if result.is_ok() {
                let _ = urgent.send(Urgent::Synced {
                    numbers,
                    append,
                    up_to,
                });
            }
        };
        let records: Vec<Bytes> = self
            .keeping
            .records
            .iter()
            .take(count)
            .map(|(record, _)| record.clone())
            .collect();
        // What a replica promised holds even where entries are not synced: it would take part in
        // two majorities.
        let places = match self.keeping.has_promised {
            true => self.journal.append_synced(records, done),
            false => self.journal.append(records, done),
        }?;
        if let Some(last) = places.last().copied() {
            self.keeping.needs.wrote(last);
            let _ = end.set(last);
        }
        let written = self.keeping.records.drain(..count);
        for (place, (_, settles)) in places.into_iter().zip(written) {
            let Some(settles) = settles else {
                continue;
            };
            // It may be long before that is durable, and what begins here be freed.
            if settles.is_beginning() {
                self.keeping.needs.begins(self.keeping.shard, place);
            }
            self.keeping.settling.push_back((place, settles));
        }
        Ok(())
    }

    /// The journal is written up to a place, and durable as far as it promises to be.
    pub(super) fn settle(&mut self, up_to: &OnceLock<Place>) {
        let Some(up_to) = up_to.get().copied() else {
            return;
        };
        if self.keeping.syncs {
            self.settle_where(|place| place <= up_to);
        } else {
            self.keeping.needs.reached(up_to.segment);
            self.settle_synced();
        }
    }

    /// Where the journal is not synced at once: all before the segment that anybody has reached is
    /// durable, though this shard may have written nothing since.
    pub(super) fn settle_synced(&mut self) {
        let reached = self.keeping.needs.reached_segment();
        self.settle_where(|place| place.segment < reached);
    }

    fn settle_where(&mut self, is_durable: impl Fn(Place) -> bool) {
        let mut has_moved = false;
        while let Some((place, settles)) = self.keeping.settling.front().copied()
            && is_durable(place)
        {
            self.keeping.settling.pop_front();
            match settles {
                Settles::Begins(id) => {
                    self.keeping.begun.insert(id, place);
                }
                Settles::Head(id) => {
                    has_moved = true;
                    let head = self.keeping.begun.remove(&id);
                    self.moved(id, head.unwrap_or(place));
                }
                Settles::Base(id, base) => self.remove_before(id, base),
                Settles::Left(id) => {
                    has_moved = true;
                    self.moved(id, place);
                    self.empty(id);
                }
                Settles::Eventual(room, settling) => {
                    has_moved |= self.eventual.settled(room, settling, place);
                }
            }
        }
        if has_moved {
            self.free();
        }
    }
}
