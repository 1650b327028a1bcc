//! Reads a journal as it was left: which records are there, and whether what is missing at
//! the tail may have been acknowledged. Changes nothing, but makes durable what it found.
//!
//! A bad place in the last segment is one of three things. If something whole behind it
//! proves that it had been synced, and records are among that, it is damage. If the proof is
//! only a mark, the last acknowledged record has rotted: it is cut, and said so. Without a
//! proof it is what a crash leaves of an unfinished commit, if it looks so.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    Durability, JournalError, Position, Sequence,
    format::{
        self, Bad, FORMAT_VERSION, HeaderError, Records, SEGMENT_HEADER_BYTES, SegmentHeader,
    },
};
use crate::disk::{Disk, DiskError, DiskFile, DiskLock, Open};

const SUFFIX: &str = ".wal";
const LOCK_NAME: &str = "lock";

/// What was found when a journal was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// How many records were shown.
    pub records: u64,
    /// The last of them; none in an empty journal.
    pub last_sequence: Option<Sequence>,
    /// The segments that are there.
    pub segments: u64,
    /// What was cut off at the tail.
    pub cut: Option<Cut>,
    /// A record that had been acknowledged may be missing at the tail. The owner must then
    /// come back as one who may have forgotten (a learner), and must have made that durable,
    /// here or elsewhere, before it forgets this: the next opening says the same until the
    /// first record after this one is durable.
    ///
    /// Under [`Durability::Always`] this is decided by what is on disk, see [`Cut`]. Under the
    /// weaker ones a loss of power can take acknowledged records without any trace, so `false`
    /// then means only that there is no trace.
    pub maybe_acknowledged: bool,
}

impl Recovery {
    /// Whether something was cut off at the tail.
    pub fn is_torn(&self) -> bool {
        self.cut.is_some()
    }
}

/// A tail that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Where it begins.
    pub position: Position,
    /// Bytes up to the last that is not zero.
    pub bytes: u64,
    /// What is wrong where it begins.
    pub reason: String,
    /// A mark behind it proves that it had been synced, so it had been acknowledged.
    pub proven_synced: bool,
    /// It looks as if a sector had not been written. An unfinished commit looks so; a record
    /// that was written whole and has rotted does not.
    pub looks_torn: bool,
}

/// An open segment.
pub(super) struct Segment {
    pub(super) file: Box<dyn DiskFile>,
    pub(super) salt: u64,
    pub(super) bytes: u64,
}

/// Where the next record goes, in a segment that has begun.
pub(super) struct Tail {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) limit: u64,
}

/// What the journal goes on from.
pub(super) struct Recovered {
    pub(super) recovery: Recovery,
    pub(super) segments: BTreeMap<u64, Arc<Segment>>,
    /// None where the next record must begin a segment.
    pub(super) tail: Option<Tail>,
    pub(super) next_segment: u64,
    pub(super) next_sequence: u64,
    pub(super) lock: Box<dyn DiskLock>,
}

pub(super) fn segment_path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:016x}{SUFFIX}"))
}

pub(super) fn damaged(segment: u64, offset: u64, reason: impl ToString) -> JournalError {
    JournalError::Damaged {
        segment,
        offset,
        reason: reason.to_string(),
    }
}

/// The segments of the journal in `dir`, by their numbers; none where there is no journal. What
/// is in them is not looked at.
///
/// # Errors
/// What the disk says.
pub fn segments(disk: &dyn Disk, dir: &Path) -> Result<BTreeMap<u64, PathBuf>, DiskError> {
    let names = match disk.list(dir) {
        Ok(names) => names,
        Err(error) if error.is_not_found() => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let numbers = numbers_of(&names).into_iter();
    Ok(numbers
        .map(|number| (number, segment_path(dir, number)))
        .collect())
}

pub(super) fn segment_numbers(disk: &dyn Disk, dir: &Path) -> Result<Vec<u64>, JournalError> {
    Ok(numbers_of(&disk.list(dir)?))
}

fn numbers_of(names: &[String]) -> Vec<u64> {
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| name.strip_suffix(SUFFIX))
        .filter(|digits| digits.len() == 16)
        .filter_map(|digits| u64::from_str_radix(digits, 16).ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

type Visit<'a> = dyn FnMut(Sequence, Position, Bytes) -> Result<(), JournalError> + 'a;

pub(super) fn recover(
    disk: &dyn Disk,
    dir: &Path,
    durability: Durability,
    visit: &mut Visit<'_>,
) -> Result<Recovered, JournalError> {
    disk.create_dir_all(dir)?;
    let lock = disk
        .lock(&dir.join(LOCK_NAME))
        .map_err(|error| match error.is_locked() {
            true => JournalError::InUse {
                dir: dir.display().to_string(),
            },
            false => error.into(),
        })?;
    let numbers = segment_numbers(disk, dir)?;
    let mut reader = Reader {
        weak: durability != Durability::Always,
        visit,
        recovery: Recovery::default(),
        segments: BTreeMap::new(),
        tail: None,
        end: None,
        next_segment: numbers.first().copied().unwrap_or(1),
        next_sequence: None,
    };
    // The last segment that holds records, and all of it that was shown.
    let mut last = None;
    for number in &numbers {
        let path = segment_path(dir, *number);
        let bytes = disk.read_all(&path)?;
        let is_last = Some(number) == numbers.last();
        if let Some(salt) = reader.read(*number, &bytes, is_last)? {
            let file = disk.open(&path, Open::Existing)?;
            let segment = Segment {
                file,
                salt,
                bytes: bytes.len() as u64,
            };
            reader.segments.insert(*number, Arc::new(segment));
            if let Some(end) = reader
                .end
                .filter(|end| end.offset > SEGMENT_HEADER_BYTES as u64)
            {
                let shown = usize::try_from(end.offset).unwrap_or(usize::MAX);
                last = Some((*number, bytes.slice(..shown.min(bytes.len()))));
            }
        }
    }
    make_durable(&reader.segments, last)?;
    if !reader.segments.is_empty() {
        disk.sync_dir(dir)?;
    }
    let next_sequence = reader.next_sequence.unwrap_or(1);
    let mut recovery = reader.recovery;
    recovery.segments = reader.segments.len() as u64;
    recovery.last_sequence = (next_sequence > 1).then(|| Sequence(next_sequence - 1));
    Ok(Recovered {
        recovery,
        segments: reader.segments,
        tail: reader.tail,
        next_segment: reader.next_segment,
        next_sequence,
        lock,
    })
}

struct Reader<'a, 'v> {
    weak: bool,
    visit: &'a mut Visit<'v>,
    recovery: Recovery,
    segments: BTreeMap<u64, Arc<Segment>>,
    tail: Option<Tail>,
    /// Where the records of the segment before ended.
    end: Option<Position>,
    next_segment: u64,
    next_sequence: Option<u64>,
}

impl Reader<'_, '_> {
    /// Reads one segment; its salt, or none where the segment was never begun.
    fn read(
        &mut self,
        number: u64,
        bytes: &[u8],
        is_last: bool,
    ) -> Result<Option<u64>, JournalError> {
        if number != self.next_segment {
            return Err(damaged(self.next_segment, 0, "the segment is missing"));
        }
        let (header, mut records) = match format::parse_segment(bytes) {
            Ok(parsed) => parsed,
            Err(HeaderError::Newer { found }) => {
                return Err(JournalError::NewerFormat {
                    found,
                    supported: FORMAT_VERSION,
                });
            }
            // The header is synced before any record is written: nothing was lost here.
            Err(HeaderError::Broken) if is_last && never_begun(bytes) => return Ok(None),
            Err(error @ HeaderError::Broken) => return Err(damaged(number, 0, error)),
        };
        self.check_header(number, &header)?;
        let bad = self.visit_all(number, &mut records)?;
        if let Some(bad) = bad {
            self.cut(number, &header, &records, bad, is_last)?;
        }
        // A segment with a cut is left as it is, and so is one whose records promise more
        // than the ones to come.
        let goes_on = bad.is_none() && header.weak == self.weak;
        self.tail = goes_on.then(|| Tail {
            segment: number,
            offset: records.offset(),
            limit: bytes.len() as u64,
        });
        self.end = Some(Position {
            segment: number,
            offset: records.offset(),
        });
        self.next_segment = number + 1;
        self.next_sequence = Some(records.next_sequence());
        Ok(Some(header.salt))
    }

    fn check_header(&self, number: u64, header: &SegmentHeader) -> Result<(), JournalError> {
        if header.segment != number {
            let reason = format!("the segment says that it is {:016x}", header.segment);
            return Err(damaged(number, 0, reason));
        }
        let (Some(expected), Some(end)) = (self.next_sequence, self.end) else {
            return Ok(());
        };
        if header.first_sequence != expected {
            let found = header.first_sequence;
            let reason =
                format!("record {expected} should be here; the next segment begins with {found}");
            return Err(damaged(end.segment, end.offset, reason));
        }
        Ok(())
    }

    fn visit_all(
        &mut self,
        number: u64,
        records: &mut Records<'_>,
    ) -> Result<Option<Bad>, JournalError> {
        for item in records {
            let record = match item {
                Ok(record) => record,
                Err(bad) => return Ok(Some(bad)),
            };
            // A record that follows a cut was made durable after it: the cut was settled.
            self.recovery.cut = None;
            self.recovery.maybe_acknowledged = false;
            self.recovery.records += 1;
            let position = Position {
                segment: number,
                offset: record.offset,
            };
            let payload = Bytes::copy_from_slice(record.payload);
            (self.visit)(Sequence(record.sequence), position, payload)?;
        }
        Ok(None)
    }

    fn cut(
        &mut self,
        number: u64,
        header: &SegmentHeader,
        records: &Records<'_>,
        bad: Bad,
        is_last: bool,
    ) -> Result<(), JournalError> {
        let tail = records.tail(bad);
        let proven_synced = tail.proven_synced >= records.next_sequence();
        if proven_synced && tail.has_records && is_last {
            return Err(damaged(number, bad.offset, bad.reason));
        }
        self.recovery.cut = Some(Cut {
            position: Position {
                segment: number,
                offset: bad.offset,
            },
            bytes: tail.bytes,
            reason: bad.reason.to_string(),
            proven_synced,
            looks_torn: tail.looks_torn,
        });
        self.recovery.maybe_acknowledged |=
            proven_synced || !tail.looks_torn || header.weak || self.weak;
        Ok(())
    }
}

/// Makes durable what was shown, since whoever was shown it takes it for that.
///
/// A process that was killed may have left its last records in the operating system's cache
/// only: a sync brings them to the disk. One that ended because a sync failed left records there
/// that the system takes for written, and no later sync brings those (Rebello et al., "Can
/// Applications Recover from fsync Failures?", 2020): so they are written once more. Each segment
/// is synced before the next one begins, so earlier ones than the last with records have none.
fn make_durable(
    segments: &BTreeMap<u64, Arc<Segment>>,
    last: Option<(u64, Bytes)>,
) -> Result<(), JournalError> {
    let first = last.as_ref().map_or(0, |(number, _)| *number);
    if let Some((segment, shown)) = last.and_then(|(n, shown)| Some((segments.get(&n)?, shown))) {
        segment.file.write_at(0, &shown)?;
    }
    for segment in segments.range(first..).map(|(_, segment)| segment) {
        segment.file.sync_data()?;
    }
    Ok(())
}

fn never_begun(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .skip(SEGMENT_HEADER_BYTES)
        .all(|byte| *byte == 0)
}
