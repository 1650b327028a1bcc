//! Reading a log, across its files, while it is written and rotated.
//!
//! A [page](read) ends with a position from which the next goes on. The position names its file
//! by inode and first line and not by name, so a rotation in between changes nothing; if the
//! file is gone, the page begins with the oldest there is and says so. Only whole lines are
//! read. Memory is bounded by a page and a block, whatever is asked.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{Entry, Stream, TIME_BYTES, format_time, parse_entry, rotated};

/// Read from a file at once; longer than any line that is written.
const BLOCK_BYTES: u64 = 128 * 1024;
/// A page ends when its text is so long.
const PAGE_BYTES: usize = 256 * 1024;
/// A page ends when so much was looked at, though little of it may have been asked for.
const PAGE_SCAN_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// More files are not looked for.
const FILES_MAX: u32 = 1000;
const NS_PER_MS: u64 = 1_000_000;

/// What is wanted of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Where an earlier page ended; the beginning of the log if none is given.
    pub position: Option<LogPosition>,
    /// Without a position: only so many lines, the last ones.
    pub tail_lines: Option<u64>,
    /// Nothing that was printed before, in milliseconds since the epoch.
    pub since_ms: Option<u64>,
    /// A page of no more bytes. Who asks for further pages takes off what came.
    pub limit_bytes: Option<u64>,
    /// Each line begins with its time.
    pub timestamps: bool,
    /// Only what was printed there.
    pub stream: Option<Stream>,
}

/// A place in a log; its default is the log's beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    inode: u64,
    /// The time of the file's first line, as an inode may be used again.
    first_ns: u64,
    offset: u64,
    /// The text ended within a line of the program's.
    mid_line: bool,
}

/// A piece of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPage {
    /// What was printed, as asked for.
    pub text: Vec<u8>,
    /// Where the next page begins.
    pub position: LogPosition,
    /// There may be more right now.
    pub more: bool,
    /// Lines between the asked position and this page are gone: the log was rotated over them.
    pub gap: bool,
}

/// Reads a page of the log whose newest file is `log`. A log that is not there is empty.
///
/// # Errors
/// What the operating system said.
pub fn read(log: &Path, query: &LogQuery) -> io::Result<LogPage> {
    let parts = parts(log)?;
    let mut page = LogPage::default();
    if parts.is_empty() {
        page.position = query.position.unwrap_or_default();
        return Ok(page);
    }
    let start = match (query.position, query.tail_lines) {
        (Some(position), _) => {
            let found = find(&parts, position);
            page.gap = found.is_none();
            page.position.mid_line = position.mid_line && found.is_some();
            found.unwrap_or_default()
        }
        (None, Some(lines)) => find_tail(&parts, lines, query.stream)?,
        (None, None) => Place::default(),
    };
    let mut filler = Filler {
        query,
        limit: usize::try_from(query.limit_bytes.unwrap_or(u64::MAX)).unwrap_or(usize::MAX),
        page,
    };
    filler.stand_at(&parts, start);
    filler.fill(&parts, start)?;
    Ok(filler.page)
}

/// A file of the log.
struct Part {
    file: File,
    inode: u64,
    first_ns: u64,
    bytes: u64,
}

/// A place in the row of files.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    part: usize,
    offset: u64,
}

impl Part {
    fn open(path: &Path) -> io::Result<Option<Part>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let metadata = file.metadata()?;
        let mut part = Part {
            file,
            inode: metadata.ino(),
            first_ns: 0,
            bytes: metadata.len(),
        };
        let head = part.read(0, TIME_BYTES as u64 + 16)?;
        let head = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        part.first_ns = parse_entry(head).map_or(0, |entry| entry.time_ns);
        Ok(Some(part))
    }

    fn read(&self, from: u64, to: u64) -> io::Result<Vec<u8>> {
        let length = to.min(self.bytes).saturating_sub(from).min(BLOCK_BYTES);
        let mut block = vec![0; usize::try_from(length).expect("no longer than a block")];
        let mut filled = 0;
        while filled < block.len() {
            match self
                .file
                .read_at(&mut block[filled..], from + filled as u64)
            {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        block.truncate(filled);
        Ok(block)
    }
}

/// The files there are, oldest first. They are opened newest first: while files move up, one
/// may be met twice, but none is passed over.
fn parts(log: &Path) -> io::Result<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    let mut missing = 0;
    for number in 0..FILES_MAX {
        match Part::open(&rotated(log, number))? {
            None if missing == 1 => break,
            // There is a moment in which a file has moved up and the next has not.
            None => missing += 1,
            Some(part) => {
                missing = 0;
                // Met again: those met between came to be only meanwhile.
                match parts.iter().position(|known| known.inode == part.inode) {
                    Some(known) => parts.truncate(known + 1),
                    None => parts.push(part),
                }
            }
        }
    }
    parts.reverse();
    Ok(parts)
}

fn find(parts: &[Part], position: LogPosition) -> Option<Place> {
    if (position.inode, position.first_ns, position.offset) == (0, 0, 0) {
        return Some(Place::default());
    }
    let is_it = |part: &Part| (part.inode, part.first_ns) == (position.inode, position.first_ns);
    let part = parts.iter().position(is_it)?;
    Some(Place {
        part,
        // A file can be shorter than it was after a failure of the machine.
        offset: position.offset.min(parts[part].bytes),
    })
}

/// Where the last lines begin.
fn find_tail(parts: &[Part], lines: u64, stream: Option<Stream>) -> io::Result<Place> {
    let mut tail = Tail {
        lines,
        stream,
        is_first: true,
    };
    for (part, file) in parts.iter().enumerate().rev() {
        let mut to = file.bytes;
        while to > 0 {
            let from = to.saturating_sub(BLOCK_BYTES);
            let block = file.read(from, to)?;
            let line_end = |byte: &u8| *byte == b'\n';
            let begin = match block.iter().position(line_end) {
                _ if from == 0 => 0,
                // A line longer than a block is none of ours.
                Some(at) if at + 1 < block.len() => at + 1,
                _ => {
                    to = from;
                    continue;
                }
            };
            let end = block.iter().rposition(line_end).map_or(begin, |at| at + 1);
            if let Some(offset) = tail.go_back(&block[begin..end.max(begin)]) {
                let offset = from + (begin + offset) as u64;
                return Ok(Place { part, offset });
            }
            to = from + begin as u64;
        }
    }
    Ok(Place::default())
}

/// Counts lines backwards.
struct Tail {
    lines: u64,
    stream: Option<Stream>,
    is_first: bool,
}

impl Tail {
    /// Where in these whole lines the tail begins, if it does.
    fn go_back(&mut self, mut block: &[u8]) -> Option<usize> {
        while !block.is_empty() {
            let before = &block[..block.len() - 1];
            let start = before
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            if self.begins_after(parse_entry(&before[start..])) {
                return Some(block.len());
            }
            block = &block[..start];
        }
        None
    }

    fn begins_after(&mut self, entry: Option<Entry<'_>>) -> bool {
        if self.lines == 0 && self.is_first {
            return true;
        }
        let wanted = |entry: &Entry<'_>| self.stream.is_none_or(|stream| stream == entry.stream);
        let Some(entry) = entry.filter(wanted) else {
            return false;
        };
        // A line that has not ended yet, the last, counts too.
        let counts = entry.is_end || self.is_first;
        self.is_first = false;
        if counts && self.lines == 0 {
            return true;
        }
        self.lines -= u64::from(counts);
        false
    }
}

struct Filler<'a> {
    query: &'a LogQuery,
    /// The page may have so many bytes.
    limit: usize,
    page: LogPage,
}

impl Filler<'_> {
    /// The position of a place. The beginning of a file is the end of the one before, as a file
    /// without a line can't be told from others.
    fn stand_at(&mut self, parts: &[Part], place: Place) {
        let (part, offset) = match (place.part.checked_sub(1), place.offset) {
            (None, 0) => return,
            (Some(before), 0) => (&parts[before], parts[before].bytes),
            (_, offset) => (&parts[place.part], offset),
        };
        self.page.position.inode = part.inode;
        self.page.position.first_ns = part.first_ns;
        self.page.position.offset = offset;
    }

    fn fill(&mut self, parts: &[Part], start: Place) -> io::Result<()> {
        let mut place = start;
        let mut scanned = 0;
        while let Some(part) = parts.get(place.part) {
            let block = part.read(place.offset, place.offset.saturating_add(BLOCK_BYTES))?;
            let whole = block
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map(|at| at + 1);
            let Some(whole) = whole else {
                if (block.len() as u64) < BLOCK_BYTES {
                    place = Place {
                        part: place.part + 1,
                        offset: 0,
                    };
                } else {
                    place.offset += BLOCK_BYTES;
                }
                continue;
            };
            for line in block[..whole].split_inclusive(|byte| *byte == b'\n') {
                if self.is_full() {
                    return Ok(());
                }
                place.offset += line.len() as u64;
                self.stand_at(parts, place);
                if let Some(entry) = parse_entry(&line[..line.len() - 1]) {
                    self.add(&entry);
                }
            }
            scanned += whole as u64;
            if scanned >= PAGE_SCAN_BYTES_MAX {
                self.page.more = true;
                return Ok(());
            }
        }
        Ok(())
    }

    fn is_full(&mut self) -> bool {
        let bytes = self.page.text.len();
        self.page.more = bytes >= PAGE_BYTES && bytes < self.limit;
        bytes >= PAGE_BYTES || bytes >= self.limit
    }

    fn add(&mut self, entry: &Entry<'_>) {
        let LogQuery {
            since_ms,
            stream,
            timestamps,
            ..
        } = *self.query;
        let too_old = since_ms.is_some_and(|since| entry.time_ns < since.saturating_mul(NS_PER_MS));
        if too_old || stream.is_some_and(|stream| stream != entry.stream) {
            return;
        }
        let page = &mut self.page;
        if timestamps && !page.position.mid_line {
            page.text
                .extend_from_slice(format_time(entry.time_ns).as_bytes());
            page.text.push(b' ');
        }
        page.text.extend_from_slice(entry.text);
        if entry.is_end {
            page.text.push(b'\n');
        }
        page.position.mid_line = !entry.is_end;
        page.text.truncate(self.limit);
    }
}

#[cfg(test)]
mod tests;
