//! One commit: many queued records, one write, one sync. Used by whoever the writer is.
//!
//! `begin` writes, `complete` syncs and tells; between the two a simulated disk takes its time.

use std::sync::Arc;

use super::{
    BATCH_BYTES_MAX, Durability, JournalError,
    append::{Done, Queued, Shared},
    format::{SEGMENT_HEADER_BYTES, SegmentHeader, encode_mark, encode_record, record_bytes},
    recovery::{Segment, segment_path},
};
use crate::disk::{DiskError, Open};

/// A write buffer that has grown beyond this is given back, in bytes.
const BUFFER_KEPT_BYTES_MAX: usize = 8 << 20;

/// The writer's side of a journal.
pub(super) struct Committer {
    current: Option<(u64, Arc<Segment>)>,
    /// Where the next record or mark goes in the current segment.
    end: u64,
    written_sequence: u64,
    synced_sequence: u64,
    in_flight: Option<InFlight>,
    buffer: Vec<u8>,
}

struct InFlight {
    records: usize,
    bytes: u64,
    waiting: Vec<Done>,
}

impl Committer {
    pub(super) fn new(current: Option<(u64, Arc<Segment>)>, last_sequence: u64, end: u64) -> Self {
        Committer {
            current,
            end,
            written_sequence: last_sequence,
            synced_sequence: last_sequence,
            in_flight: None,
            buffer: Vec::new(),
        }
    }

    /// Whether something is written that no sync has covered.
    pub(super) fn is_unsynced(&self) -> bool {
        self.written_sequence > self.synced_sequence
    }

    /// Takes what is queued and writes it. False if there was nothing to take.
    pub(super) fn begin(&mut self, shared: &Shared) -> bool {
        assert!(self.in_flight.is_none(), "one commit at a time");
        let Some((batch, in_flight)) = take(shared) else {
            return false;
        };
        self.in_flight = Some(in_flight);
        if let Err(error) = self.write(shared, &batch) {
            self.fail(shared, error);
        }
        true
    }

    /// Makes what `begin` wrote as durable as the options demand, and tells who waits.
    pub(super) fn complete(&mut self, shared: &Shared) {
        if self.in_flight.is_none() {
            return;
        }
        let has_to_sync = shared.options.durability == Durability::Always
            || self.synced_sequence < shared.state.lock().sync_up_to;
        if has_to_sync && let Err(error) = self.sync() {
            return self.fail(shared, error);
        }
        let Some(in_flight) = self.in_flight.take() else {
            return;
        };
        let idle = {
            let mut state = shared.state.lock();
            state.queue.drain(..in_flight.records);
            state.queued_bytes -= in_flight.bytes;
            state.queue.is_empty()
        };
        // Before anyone is told, so that what was acknowledged is always proven: by the mark,
        // or by the records that come next.
        if idle && let Err(error) = self.mark() {
            self.in_flight = Some(InFlight {
                records: 0,
                bytes: 0,
                ..in_flight
            });
            return self.fail(shared, error);
        }
        for done in in_flight.waiting {
            done(Ok(()));
        }
    }

    /// Syncs and marks what was written under a weaker durability.
    pub(super) fn sync_all(&mut self, shared: &Shared) {
        if shared.state.lock().failure.is_some() {
            return;
        }
        if let Err(error) = self.sync().and_then(|()| self.mark()) {
            self.fail(shared, error);
        }
    }

    /// Leaves everything durable, the mark too.
    pub(super) fn finish(&mut self, shared: &Shared) {
        self.complete(shared);
        while self.begin(shared) {
            self.complete(shared);
        }
        self.sync_all(shared);
        if shared.state.lock().failure.is_none()
            && let Some((_, segment)) = &self.current
            && let Err(error) = segment.file.sync_data()
        {
            self.fail(shared, error);
        }
        self.current = None;
    }

    fn write(&mut self, shared: &Shared, batch: &[Queued]) -> Result<(), DiskError> {
        for run in batch.chunk_by(|a, b| a.position.segment == b.position.segment) {
            let first = &run[0];
            if self.current.as_ref().map(|(number, _)| *number) != Some(first.position.segment) {
                self.roll(shared, first)?;
            }
            let (_, segment) = self.current.as_ref().expect("a segment was just begun");
            self.buffer.clear();
            for queued in run {
                let synced = self.synced_sequence;
                encode_record(
                    &mut self.buffer,
                    segment.salt,
                    queued.sequence,
                    synced,
                    &queued.payload,
                );
            }
            segment.file.write_at(first.position.offset, &self.buffer)?;
            let last = &run[run.len() - 1];
            self.written_sequence = last.sequence;
            self.end = last.position.offset + record_bytes(last.payload.len()) as u64;
            if self.buffer.capacity() > BUFFER_KEPT_BYTES_MAX {
                self.buffer = Vec::new();
            }
        }
        Ok(())
    }

    /// Syncs the segment that ends and makes the one that a record begins.
    fn roll(&mut self, shared: &Shared, first: &Queued) -> Result<(), DiskError> {
        self.sync()?;
        let number = first.position.segment;
        let header = SegmentHeader {
            segment: number,
            first_sequence: first.sequence,
            salt: (shared.options.salt)(),
            weak: shared.options.durability != Durability::Always,
        };
        let bytes = shared.options.segment_bytes;
        let path = segment_path(&shared.dir, number);
        let file = shared.disk.open(
            &path,
            Open::Create {
                preallocate_bytes: bytes,
            },
        )?;
        file.write_at(0, &header.encode())?;
        file.sync_data()?;
        shared.disk.sync_dir(&shared.dir)?;
        let segment = Arc::new(Segment {
            file,
            salt: header.salt,
            bytes,
        });
        shared.segments.lock().insert(number, Arc::clone(&segment));
        shared.state.lock().unmade_segments -= 1;
        self.current = Some((number, segment));
        self.end = SEGMENT_HEADER_BYTES as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        if self.is_unsynced()
            && let Some((_, segment)) = &self.current
        {
            segment.file.sync_data()?;
            self.synced_sequence = self.written_sequence;
        }
        Ok(())
    }

    /// Writes, without a sync, that everything is synced.
    fn mark(&mut self) -> Result<(), DiskError> {
        let Some((_, segment)) = &self.current else {
            return Ok(());
        };
        if self.synced_sequence == 0 || self.is_unsynced() {
            return Ok(());
        }
        self.buffer.clear();
        encode_mark(&mut self.buffer, segment.salt, self.synced_sequence);
        segment.file.write_at(self.end, &self.buffer)
    }

    /// Ends all writing, and tells everyone who waits.
    fn fail(&mut self, shared: &Shared, error: DiskError) {
        let failure = JournalError::SyncFailed {
            source: Arc::new(error),
        };
        let in_flight = self.in_flight.take();
        let rest: Vec<(u64, Done)> = {
            let mut state = shared.state.lock();
            state.failure = Some(failure.clone());
            state.waiting.drain(..).collect()
        };
        (shared.options.fatal)(&failure);
        let first = in_flight.into_iter().flat_map(|it| it.waiting);
        for done in first.chain(rest.into_iter().map(|(_, done)| done)) {
            done(Err(failure.clone()));
        }
    }
}

/// Copies a batch off the queue, where it stays readable until it is written.
fn take(shared: &Shared) -> Option<(Vec<Queued>, InFlight)> {
    let mut state = shared.state.lock();
    if !state.has_work() {
        return None;
    }
    let mut bytes = 0;
    let mut batch = Vec::new();
    for queued in &state.queue {
        if bytes >= BATCH_BYTES_MAX {
            break;
        }
        bytes += record_bytes(queued.payload.len()) as u64;
        batch.push(queued.clone());
    }
    let told = match batch.last() {
        Some(last) => {
            let beyond = state
                .waiting
                .iter()
                .position(|(sequence, _)| *sequence > last.sequence);
            beyond.unwrap_or(state.waiting.len())
        }
        None => state.waiting.len(),
    };
    let waiting = state.waiting.drain(..told).map(|(_, done)| done).collect();
    let in_flight = InFlight {
        records: batch.len(),
        bytes,
        waiting,
    };
    Some((batch, in_flight))
}
