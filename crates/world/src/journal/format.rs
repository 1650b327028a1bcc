//! The bytes of a segment, format 1 (docs/formats/journal.md): pure, both ways.
//!
//! A segment is a header, then records one after the other, each beginning at a multiple of 8,
//! then zeros. Behind the last record there may be a mark, which the next record overwrites.
//! Every CRC of a record begins with the segment's secret salt, so that no payload can hold
//! bytes that pass for a record.

use std::ops::Range;

/// The format that this release writes, and the newest that it reads.
pub const FORMAT_VERSION: u16 = 1;
/// Length of a segment's header, in bytes; the first record begins there.
pub const SEGMENT_HEADER_BYTES: usize = 64;
/// Length of a record's header, in bytes; its payload follows.
pub const RECORD_HEADER_BYTES: usize = 24;
/// Longest payload, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;

const MAGIC: [u8; 8] = *b"ATOLLWAL";
const ALIGN_BYTES: usize = 8;
/// Records of this segment may have been acknowledged before they were synced.
const FLAG_WEAK: u16 = 1;
/// How far a sequence behind a bad record may be ahead of it and still be believed: more
/// records than fit between them.
const SCAN_AHEAD_MAX: u64 = 1 << 26;
/// Bytes that a search behind a bad record may checksum, as a multiple of the segment's.
const SCAN_CRC_SEGMENTS_MAX: usize = 4;
/// What is written as one by the disks that we have met; larger sectors are multiples.
const SECTOR_BYTES: usize = 512;
/// What is looked at, at the end of a sector's part of a record, to see whether it was written.
/// No disk is known to write less of a sector than that.
const WORD_BYTES: usize = 8;

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Its number. Numbers grow by one and are never used again.
    pub segment: u64,
    /// The sequence of its first record.
    pub first_sequence: u64,
    /// Where the CRCs of its records begin.
    pub salt: u64,
    /// Its records may have been acknowledged before they were synced.
    pub weak: bool,
}

/// What precedes a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Length of the payload, in bytes.
    pub payload_bytes: u32,
    /// CRC32C of salt, length, sequence, synced and payload.
    pub crc: u32,
    /// The record's number.
    pub sequence: u64,
    /// Everything up to this sequence was synced before this was written. In a mark, the
    /// same as `sequence`; in a record, less.
    pub synced: u64,
}

/// A record that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where it begins in the segment, in bytes.
    pub offset: u64,
    /// Its number.
    pub sequence: u64,
    /// Everything up to this sequence was synced before this record was written.
    pub synced: u64,
    /// What was appended.
    pub payload: &'a [u8],
}

/// Why bytes are not a segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Too short, no magic, or the CRC differs.
    #[error("the segment header is not whole")]
    Broken,
    /// A header of a newer format.
    #[error("segment format {found} is newer than {FORMAT_VERSION}")]
    Newer {
        /// The format that was found.
        found: u16,
    },
}

/// Why no record begins where the next one should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReason {
    /// Nothing is written here, but something is behind.
    #[error("a hole: no record begins here, yet bytes follow")]
    Hole,
    /// The segment ends within the record.
    #[error("the record reaches beyond the end of the segment")]
    Truncated,
    /// The header's fields contradict each other or what came before.
    #[error("the record header makes no sense")]
    Header,
    /// The CRC differs.
    #[error("the checksum differs")]
    Checksum,
}

/// Where a segment stops making sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Where the next record should begin, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub reason: BadReason,
}

/// What lies behind a [`Bad`] place at a segment's tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Bytes from the bad place to the last that is not zero.
    pub bytes: u64,
    /// The highest sequence that something behind the bad place proves to have been synced.
    pub proven_synced: u64,
    /// A whole record lies behind the bad place.
    pub has_records: bool,
    /// The bytes look as if a sector had never reached the disk.
    pub looks_torn: bool,
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn le_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

fn le_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

fn le_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

/// The place that a record takes, header and padding included, in bytes.
pub(crate) fn record_bytes(payload_bytes: usize) -> usize {
    (RECORD_HEADER_BYTES + payload_bytes).next_multiple_of(ALIGN_BYTES)
}

fn header_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(
        crc32c::crc32c(&bytes[..12]),
        &bytes[16..SEGMENT_HEADER_BYTES],
    )
}

fn record_crc(salt: u64, header: &[u8], payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&salt.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &header[..4]);
    let crc = crc32c::crc32c_append(crc, &header[8..RECORD_HEADER_BYTES]);
    crc32c::crc32c_append(crc, payload)
}

impl SegmentHeader {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        let flags = if self.weak { FLAG_WEAK } else { 0 };
        bytes[10..12].copy_from_slice(&flags.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.segment.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.salt.to_le_bytes());
        let crc = header_crc(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// The bytes are not a header, or one of a newer format. Magic, version and CRC keep
    /// their places in every format, so that rot is not taken for a newer format.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        if bytes.len() < SEGMENT_HEADER_BYTES || bytes[..8] != MAGIC {
            return Err(HeaderError::Broken);
        }
        if le_u32(bytes, 12) != header_crc(bytes) {
            return Err(HeaderError::Broken);
        }
        match le_u16(bytes, 8) {
            FORMAT_VERSION => Ok(SegmentHeader {
                segment: le_u64(bytes, 16),
                first_sequence: le_u64(bytes, 24),
                salt: le_u64(bytes, 32),
                weak: le_u16(bytes, 10) & FLAG_WEAK != 0,
            }),
            0 => Err(HeaderError::Broken),
            found => Err(HeaderError::Newer { found }),
        }
    }
}

impl RecordHeader {
    /// Reads a record's header; the bytes must be long enough.
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        RecordHeader {
            payload_bytes: le_u32(bytes, 0),
            crc: le_u32(bytes, 4),
            sequence: le_u64(bytes, 8),
            synced: le_u64(bytes, 16),
        }
    }

    fn is_mark(&self) -> bool {
        self.payload_bytes == 0 && self.sequence == self.synced && self.sequence > 0
    }

    /// Whether the fields can belong together.
    pub(crate) fn is_plausible(&self) -> bool {
        let record =
            self.sequence > self.synced && self.payload_bytes as usize <= PAYLOAD_BYTES_MAX;
        record || self.is_mark()
    }
}

fn push(out: &mut Vec<u8>, salt: u64, sequence: u64, synced: u64, payload: &[u8]) {
    assert!(
        payload.len() <= PAYLOAD_BYTES_MAX,
        "append refuses longer payloads"
    );
    let start = out.len();
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&synced.to_le_bytes());
    let crc = record_crc(salt, &out[start..], payload);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(payload);
    out.resize(start + record_bytes(payload.len()), 0);
}

/// Appends a record's bytes. `synced` is the last sequence known to be durable.
pub fn encode_record(out: &mut Vec<u8>, salt: u64, sequence: u64, synced: u64, payload: &[u8]) {
    assert!(
        sequence > synced,
        "a record that is being written can't be durable"
    );
    push(out, salt, sequence, synced, payload);
}

/// Appends a mark's bytes: everything up to `synced` is durable, and nothing follows yet.
pub fn encode_mark(out: &mut Vec<u8>, salt: u64, synced: u64) {
    assert!(
        synced > 0,
        "before the first record there is nothing to mark"
    );
    push(out, salt, synced, synced, &[]);
}

/// A record's payload, if `bytes` begin with that record and it is whole.
pub(crate) fn check_record(
    bytes: &[u8],
    salt: u64,
) -> Result<(RecordHeader, Range<usize>), BadReason> {
    if bytes.len() < RECORD_HEADER_BYTES {
        return Err(BadReason::Truncated);
    }
    let header = RecordHeader::decode(bytes);
    if !header.is_plausible() {
        return Err(BadReason::Header);
    }
    let payload = RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + header.payload_bytes as usize;
    if payload.end > bytes.len() {
        return Err(BadReason::Truncated);
    }
    if record_crc(salt, bytes, &bytes[payload.clone()]) != header.crc {
        return Err(BadReason::Checksum);
    }
    Ok((header, payload))
}

fn is_zero(bytes: &[u8]) -> bool {
    // In blocks, so that the compiler makes wide comparisons of it: segments are mostly zeros.
    let mut blocks = bytes.chunks_exact(64);
    blocks.all(|block| block.iter().fold(0, |or, byte| or | byte) == 0)
        && blocks.remainder().iter().all(|byte| *byte == 0)
}

/// Reads a segment's header, and then its records, in order.
///
/// # Errors
/// The header is not one, or newer.
pub fn parse_segment(bytes: &[u8]) -> Result<(SegmentHeader, Records<'_>), HeaderError> {
    let header = SegmentHeader::decode(bytes)?;
    let records = Records {
        bytes,
        salt: header.salt,
        offset: SEGMENT_HEADER_BYTES,
        next_sequence: header.first_sequence,
        done: false,
    };
    Ok((header, records))
}

/// The records of a segment, up to its end (zeros, or a mark and zeros) or the first bad place.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    salt: u64,
    offset: usize,
    next_sequence: u64,
    done: bool,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Bad>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let found = self.step().transpose();
        self.done = !matches!(found, Some(Ok(_)));
        found.map(|it| {
            it.map_err(|reason| Bad {
                offset: self.offset as u64,
                reason,
            })
        })
    }
}

impl<'a> Records<'a> {
    /// Where the next record should begin, in bytes; after the last one, where the records end.
    pub fn offset(&self) -> u64 {
        self.offset as u64
    }

    /// The sequence of the next record.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    fn step(&mut self) -> Result<Option<Record<'a>>, BadReason> {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        let head = &rest[..rest.len().min(RECORD_HEADER_BYTES)];
        if is_zero(head) {
            return self.end(&rest[head.len()..]);
        }
        let (header, payload) = check_record(rest, self.salt)?;
        if header.is_mark() {
            if header.sequence.checked_add(1) != Some(self.next_sequence) {
                return Err(BadReason::Header);
            }
            return self.end(&rest[RECORD_HEADER_BYTES..]);
        }
        if header.sequence != self.next_sequence {
            return Err(BadReason::Header);
        }
        let next_sequence = self.next_sequence.checked_add(1).ok_or(BadReason::Header)?;
        let record = Record {
            offset: self.offset as u64,
            sequence: header.sequence,
            synced: header.synced,
            payload: &rest[payload],
        };
        self.offset += record_bytes(record.payload.len());
        self.next_sequence = next_sequence;
        Ok(Some(record))
    }

    fn end(&self, behind: &[u8]) -> Result<Option<Record<'a>>, BadReason> {
        if is_zero(behind) {
            Ok(None)
        } else {
            Err(BadReason::Hole)
        }
    }

    /// Looks at what lies behind a bad place that these records ended with.
    pub fn tail(&self, bad: Bad) -> Tail {
        let from = bad.offset as usize;
        let last = self
            .bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        let mut tail = Tail {
            bytes: last.saturating_sub(from) as u64,
            proven_synced: 0,
            has_records: false,
            looks_torn: self.looks_torn(bad),
        };
        self.search(from + ALIGN_BYTES, last, &mut tail);
        tail
    }

    /// Finds what is whole behind a bad place. When the search costs too much, it stops as
    /// if the bad place were not a torn write.
    fn search(&self, from: usize, last: usize, tail: &mut Tail) {
        let mut budget = self.bytes.len().saturating_mul(SCAN_CRC_SEGMENTS_MAX);
        let believed = self.next_sequence..self.next_sequence.saturating_add(SCAN_AHEAD_MAX);
        let mut at = from;
        while at < last && at + RECORD_HEADER_BYTES <= self.bytes.len() {
            let header = RecordHeader::decode(&self.bytes[at..]);
            let mut step = ALIGN_BYTES;
            if header.is_plausible() && believed.contains(&header.sequence) {
                let Some(left) = budget.checked_sub(header.payload_bytes as usize) else {
                    tail.looks_torn = false;
                    return;
                };
                budget = left;
                if check_record(&self.bytes[at..], self.salt).is_ok() {
                    tail.proven_synced = tail.proven_synced.max(header.synced);
                    tail.has_records |= !header.is_mark();
                    step = record_bytes(header.payload_bytes as usize);
                }
            }
            at += step;
        }
    }

    /// Whether a bad place can be explained by a sector that was not, or not wholly, written:
    /// some sector's part of the record ends in what stood there before. Rot within a record that
    /// was written whole rarely looks so.
    fn looks_torn(&self, bad: Bad) -> bool {
        let start = bad.offset as usize;
        let rest = &self.bytes[start.min(self.bytes.len())..];
        let header_end = start + RECORD_HEADER_BYTES;
        let (end, is_length_known) = match bad.reason {
            BadReason::Hole => return true,
            BadReason::Truncated if rest.len() < RECORD_HEADER_BYTES => return false,
            // The length can't be trusted: only the header itself can be looked at.
            BadReason::Truncated | BadReason::Header => (header_end, false),
            BadReason::Checksum => {
                let payload_bytes = RecordHeader::decode(rest).payload_bytes as usize;
                let end = start + record_bytes(payload_bytes);
                (end.min(self.bytes.len()), true)
            }
        };
        let mut from = start;
        while from < end {
            let sector_end = (from + 1).next_multiple_of(SECTOR_BYTES);
            let to = end.min(sector_end);
            let is_torn = if to == header_end && !is_length_known {
                // What follows in the sector is missing, too, then.
                let behind = to..sector_end.min(self.bytes.len());
                self.ends_as_before(start, from..to, 2) && is_zero(&self.bytes[behind])
            } else {
                self.ends_as_before(start, from..to, 1)
            };
            if is_torn {
                return true;
            }
            from = to;
        }
        false
    }

    /// Whether a part of the record that should begin at `start` ends in the words that stood
    /// there before: zeros, or those of the mark behind the last whole record.
    fn ends_as_before(&self, start: usize, part: Range<usize>, words: usize) -> bool {
        let last = |words: usize| {
            let bytes = (words * WORD_BYTES).min(part.len());
            part.end - bytes..part.end
        };
        if is_zero(&self.bytes[last(words)]) {
            return true;
        }
        let Some(synced) = self.next_sequence.checked_sub(1).filter(|it| *it > 0) else {
            return false;
        };
        let mut mark = Vec::with_capacity(RECORD_HEADER_BYTES);
        encode_mark(&mut mark, self.salt, synced);
        // The mark's last word stands in the next record, too: it proves nothing by itself.
        let ends_both = part.end == start + RECORD_HEADER_BYTES;
        let last = last(if ends_both { 2 } else { 1 });
        if ends_both && last.len() == WORD_BYTES {
            return false;
        }
        let before = mark.get(last.start - start..last.end - start);
        before.is_some_and(|before| *before == self.bytes[last])
    }
}
