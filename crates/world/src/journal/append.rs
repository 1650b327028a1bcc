//! What callers do: place records, queue them, read them, free segments.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::{
    Durability, JournalError, Options, Position, QUEUE_BYTES_MAX, Writer,
    commit::Committer,
    format::{
        PAYLOAD_BYTES_MAX, RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, check_record,
        record_bytes,
    },
    recovery::{Recovered, Segment, Tail, damaged, segment_path},
};
use crate::disk::{Disk, DiskLock};

/// Every segment keeps room for the mark that proves its last record synced.
const MARK_BYTES: u64 = RECORD_HEADER_BYTES as u64;
/// What a read fetches at first: most records are shorter.
const READ_AHEAD_BYTES: usize = 4096;

pub(super) type Done = Box<dyn FnOnce(Result<(), JournalError>) + Send>;

/// What callers and the writer share.
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    pub(super) state: Mutex<State>,
    pub(super) segments: Mutex<BTreeMap<u64, Arc<Segment>>>,
    /// Held for a whole commit; callers never take it, but for closing.
    pub(super) committer: Mutex<Committer>,
    /// Wakes a writer that is a thread.
    pub(super) wake_thread: Condvar,
    /// Wakes a writer that is a task.
    pub(super) wake_task: Notify,
    pub(super) lock: Mutex<Option<Box<dyn DiskLock>>>,
}

/// Guarded by one short lock.
pub(super) struct State {
    next: Place,
    next_sequence: u64,
    /// Segments that records were placed in and that the writer has not made yet.
    pub(super) unmade_segments: u64,
    /// Records that are not written yet, oldest first.
    pub(super) queue: VecDeque<Queued>,
    pub(super) queued_bytes: u64,
    /// Whom to tell once everything up to a sequence is durable, oldest first.
    pub(super) waiting: VecDeque<(u64, Done)>,
    /// Records up to this sequence are synced whatever the durability.
    pub(super) sync_up_to: u64,
    pub(super) failure: Option<JournalError>,
    pub(super) closing: bool,
}

/// Where the next record goes.
#[derive(Clone, Copy)]
struct Place {
    segment: u64,
    offset: u64,
    /// The end of that segment; records that don't fit go to the next.
    limit: u64,
}

#[derive(Clone)]
pub(super) struct Queued {
    pub(super) position: Position,
    pub(super) sequence: u64,
    pub(super) payload: Bytes,
}

impl State {
    pub(super) fn has_work(&self) -> bool {
        self.failure.is_none() && !(self.queue.is_empty() && self.waiting.is_empty())
    }
}

impl Shared {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: Options,
        recovered: Recovered,
    ) -> Self {
        let next = match &recovered.tail {
            Some(Tail {
                segment,
                offset,
                limit,
            }) => Place {
                segment: *segment,
                offset: *offset,
                limit: *limit,
            },
            // Nothing fits into a segment of no length, so the first record begins the next.
            None => Place {
                segment: recovered.next_segment - 1,
                offset: 0,
                limit: 0,
            },
        };
        let current = recovered
            .tail
            .as_ref()
            .map(|tail| (tail.segment, Arc::clone(&recovered.segments[&tail.segment])));
        let state = State {
            next,
            next_sequence: recovered.next_sequence,
            unmade_segments: 0,
            queue: VecDeque::new(),
            queued_bytes: 0,
            waiting: VecDeque::new(),
            sync_up_to: 0,
            failure: None,
            closing: false,
        };
        Shared {
            disk,
            dir,
            options,
            state: Mutex::new(state),
            segments: Mutex::new(recovered.segments),
            committer: Mutex::new(Committer::new(
                current,
                recovered.next_sequence - 1,
                next.offset,
            )),
            wake_thread: Condvar::new(),
            wake_task: Notify::new(),
            lock: Mutex::new(Some(recovered.lock)),
        }
    }

    pub(super) fn append(
        &self,
        records: Vec<Bytes>,
        synced: bool,
        done: Done,
    ) -> Result<Vec<Position>, JournalError> {
        let bytes = self.check_sizes(&records)?;
        let mut state = self.state.lock();
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        if state.closing {
            return Err(JournalError::Closed);
        }
        if state.queued_bytes + bytes > QUEUE_BYTES_MAX {
            let queued_bytes = state.queued_bytes;
            return Err(JournalError::Full {
                queued_bytes,
                limit_bytes: QUEUE_BYTES_MAX,
            });
        }
        let (positions, next) = place(state.next, &records, self.options.segment_bytes);
        let new_segments = next.segment - state.next.segment;
        if new_segments > 0 {
            self.check_space(state.unmade_segments + new_segments)?;
        }
        state.unmade_segments += new_segments;
        state.next = next;
        state.queued_bytes += bytes;
        for (position, payload) in positions.iter().zip(records) {
            let sequence = state.next_sequence;
            state.next_sequence += 1;
            state.queue.push_back(Queued {
                position: *position,
                sequence,
                payload,
            });
        }
        let last = state.next_sequence - 1;
        if synced {
            state.sync_up_to = last;
        }
        state.waiting.push_back((last, done));
        // What others queued may have to be synced.
        let is_alone = state.queue.len() == positions.len();
        let is_short = is_alone && !synced && state.unmade_segments == 0;
        drop(state);
        if !is_short || !self.write_here() {
            self.wake();
        }
        Ok(positions)
    }

    /// Writes what is queued on the caller's thread, where that is all there is to do: handing it
    /// to another thread would take longer. Says whether it did; not while the writer writes.
    fn write_here(&self) -> bool {
        let is_enough = matches!(self.options.writer, Writer::Thread)
            && self.options.durability == Durability::None;
        let committer = is_enough.then(|| self.committer.try_lock()).flatten();
        let Some(mut committer) = committer else {
            return false;
        };
        if committer.begin(self) {
            committer.complete(self);
        }
        true
    }

    fn check_sizes(&self, records: &[Bytes]) -> Result<u64, JournalError> {
        let around = SEGMENT_HEADER_BYTES as u64 + MARK_BYTES;
        let segment_limit = self.options.segment_bytes - around;
        let record_limit = segment_limit.min(record_bytes(PAYLOAD_BYTES_MAX) as u64);
        let mut total = 0;
        for payload in records {
            let bytes = record_bytes(payload.len()) as u64;
            if bytes > record_limit {
                return Err(JournalError::TooLarge {
                    bytes,
                    limit_bytes: record_limit,
                });
            }
            total += bytes;
        }
        if total > QUEUE_BYTES_MAX {
            return Err(JournalError::TooLarge {
                bytes: total,
                limit_bytes: QUEUE_BYTES_MAX,
            });
        }
        Ok(total)
    }

    fn check_space(&self, segments: u64) -> Result<(), JournalError> {
        let free_bytes = self.disk.free_bytes(&self.dir)?;
        let needed_bytes = segments.saturating_mul(self.options.segment_bytes);
        let reserve_bytes = self.options.reserve_bytes;
        if free_bytes < needed_bytes.saturating_add(reserve_bytes) {
            return Err(JournalError::NoSpace {
                free_bytes,
                needed_bytes,
                reserve_bytes,
            });
        }
        Ok(())
    }

    pub(super) fn has_room(&self, bytes: u64) -> Result<bool, JournalError> {
        let (left_bytes, unmade_segments) = {
            let state = self.state.lock();
            let taken = state.next.offset + MARK_BYTES;
            (
                state.next.limit.saturating_sub(taken),
                state.unmade_segments,
            )
        };
        if bytes <= left_bytes {
            return Ok(true);
        }
        match self.check_space(unmade_segments + 1) {
            Ok(()) => Ok(true),
            Err(JournalError::NoSpace { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn wake(&self) {
        self.wake_thread.notify_one();
        self.wake_task.notify_one();
    }

    pub(super) fn stop(&self) {
        self.state.lock().closing = true;
        self.wake();
    }

    pub(super) fn read(&self, position: Position) -> Result<Bytes, JournalError> {
        {
            let state = self.state.lock();
            if let Ok(at) = state
                .queue
                .binary_search_by_key(&position, |queued| queued.position)
            {
                return Ok(state.queue[at].payload.clone());
            }
        }
        let missing = JournalError::NotFound { position };
        let segment = self
            .segments
            .lock()
            .get(&position.segment)
            .cloned()
            .ok_or(missing.clone())?;
        if position.offset < SEGMENT_HEADER_BYTES as u64 || position.offset >= segment.bytes {
            return Err(missing);
        }
        read_record(&segment, position)
    }

    pub(super) fn free_before(&self, position: Position) -> Result<(), JournalError> {
        loop {
            let first = {
                let segments = self.segments.lock();
                let first = segments.keys().next().copied();
                // The last one stays whatever the position: it says which sequence is next.
                first.filter(|it| *it < position.segment && segments.len() > 1)
            };
            let Some(first) = first else { return Ok(()) };
            // One at a time, each made durable, so that a crash leaves no gap.
            match self.disk.remove(&segment_path(&self.dir, first)) {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => self.disk.sync_dir(&self.dir)?,
            }
            self.segments.lock().remove(&first);
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.segments
            .lock()
            .values()
            .map(|segment| segment.bytes)
            .sum()
    }

    pub(super) fn queued_bytes(&self) -> u64 {
        self.state.lock().queued_bytes
    }
}

/// Where each record will lie, and where the one after them would.
fn place(mut next: Place, records: &[Bytes], segment_bytes: u64) -> (Vec<Position>, Place) {
    let mut positions = Vec::with_capacity(records.len());
    for payload in records {
        let bytes = record_bytes(payload.len()) as u64;
        if next.offset + bytes + MARK_BYTES > next.limit {
            let offset = SEGMENT_HEADER_BYTES as u64;
            next = Place {
                segment: next.segment + 1,
                offset,
                limit: segment_bytes,
            };
        }
        positions.push(Position {
            segment: next.segment,
            offset: next.offset,
        });
        next.offset += bytes;
    }
    (positions, next)
}

fn read_record(segment: &Segment, position: Position) -> Result<Bytes, JournalError> {
    let Position {
        segment: number,
        offset,
    } = position;
    let left = usize::try_from(segment.bytes - offset).unwrap_or(usize::MAX);
    let mut bytes = vec![0; READ_AHEAD_BYTES.min(left)];
    let mut filled = segment.file.read_at(offset, &mut bytes)?;
    if filled >= RECORD_HEADER_BYTES {
        let header = RecordHeader::decode(&bytes);
        let whole = RECORD_HEADER_BYTES + header.payload_bytes as usize;
        if header.is_plausible() && whole > filled && whole <= left {
            bytes.resize(whole, 0);
            filled += segment
                .file
                .read_at(offset + filled as u64, &mut bytes[filled..])?;
        }
    }
    bytes.truncate(filled);
    let (_, payload) =
        check_record(&bytes, segment.salt).map_err(|bad| damaged(number, offset, bad))?;
    Ok(Bytes::from(bytes).slice(payload))
}
