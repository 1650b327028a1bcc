//! Writing a log: lines are cut, stamped, written and rotated.
//!
//! Whatever the disk says, a program is never held up and the node never asked: what can't be
//! written is dropped and counted. After each write the file ends with a whole line.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use super::{NS_PER_S, PART_BYTES_MAX, Stream, TIME_BYTES, format_time, rotated};

/// Lines are gathered up to this size before they are written.
const BATCH_BYTES_MAX: usize = 128 * 1024;

/// Writes the files of a log.
#[derive(Debug)]
pub(in super::super) struct Writer {
    path: PathBuf,
    /// `None` where it could not be opened anew after a rotation.
    file: Option<File>,
    /// Its length, up to the last whole line.
    bytes: u64,
    bytes_max: u64,
    files_max: u32,
    batch: Vec<u8>,
    dropped_bytes: u64,
    /// The second that was formatted last, and its text.
    second: (u64, String),
    /// What has come of each stream since the end of its last line or part.
    unfinished: [Vec<u8>; 2],
}

impl Writer {
    pub(in super::super) fn open(
        path: PathBuf,
        bytes_max: u64,
        files_max: u32,
    ) -> io::Result<Writer> {
        let mut writer = Writer {
            path,
            file: None,
            bytes: 0,
            bytes_max: bytes_max.max(1),
            files_max: files_max.max(1),
            batch: Vec::new(),
            dropped_bytes: 0,
            second: (u64::MAX, String::new()),
            unfinished: [Vec::new(), Vec::new()],
        };
        writer.open_file()?;
        Ok(writer)
    }

    /// How much of what the program printed is in no file.
    pub(in super::super) fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes
    }

    /// Takes what a stream brought. Whole lines are with the kernel on return.
    pub(super) fn take(&mut self, time_ns: u64, stream: Stream, mut bytes: &[u8]) {
        let mut unfinished = std::mem::take(&mut self.unfinished[stream as usize]);
        while !bytes.is_empty() {
            let room = PART_BYTES_MAX - unfinished.len();
            let window = &bytes[..room.min(bytes.len())];
            let line_end = window.iter().position(|byte| *byte == b'\n');
            let part = &window[..line_end.unwrap_or(window.len())];
            bytes = &bytes[part.len() + usize::from(line_end.is_some())..];
            if line_end.is_none() && unfinished.len() + part.len() < PART_BYTES_MAX {
                unfinished.extend_from_slice(part);
                break;
            }
            // A line of exactly the greatest length is whole if its end is already there.
            let is_end = line_end.is_some() || bytes.first() == Some(&b'\n');
            if line_end.is_none() && is_end {
                bytes = &bytes[1..];
            }
            if unfinished.is_empty() {
                self.entry(time_ns, stream, is_end, part);
            } else {
                unfinished.extend_from_slice(part);
                self.entry(time_ns, stream, is_end, &unfinished);
                unfinished.clear();
            }
        }
        self.unfinished[stream as usize] = unfinished;
        self.flush();
    }

    /// The streams have ended; what has no end of line gets one.
    pub(super) fn finish(&mut self, time_ns: u64) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let unfinished = std::mem::take(&mut self.unfinished[stream as usize]);
            if !unfinished.is_empty() {
                self.entry(time_ns, stream, true, &unfinished);
            }
        }
        self.flush();
    }

    fn entry(&mut self, time_ns: u64, stream: Stream, is_end: bool, text: &[u8]) {
        let length = TIME_BYTES + " stdout F \n".len() + text.len();
        let used = self.bytes + self.batch.len() as u64;
        if used > 0 && used + length as u64 > self.bytes_max {
            self.flush();
            self.rotate();
        } else if self.batch.len() + length > BATCH_BYTES_MAX {
            self.flush();
        }
        self.stamp(time_ns);
        let tag = if is_end { " F " } else { " P " };
        self.batch.push(b' ');
        self.batch.extend_from_slice(stream.word().as_bytes());
        self.batch.extend_from_slice(tag.as_bytes());
        self.batch.extend_from_slice(text);
        self.batch.push(b'\n');
    }

    fn stamp(&mut self, time_ns: u64) {
        let second = time_ns / NS_PER_S;
        if self.second.0 != second {
            let mut text = format_time(time_ns);
            text.truncate("2026-11-22T10:00:00.".len());
            self.second = (second, text);
        }
        self.batch.extend_from_slice(self.second.1.as_bytes());
        let ns = time_ns % NS_PER_S;
        let digits: [u8; 9] = std::array::from_fn(|place| {
            let place = 8 - u32::try_from(place).expect("an index below 9");
            b'0' + u8::try_from(ns / 10_u64.pow(place) % 10).expect("a digit")
        });
        self.batch.extend_from_slice(&digits);
        self.batch.push(b'Z');
    }

    fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return;
        }
        let written = match &mut self.file {
            Some(file) => file.write_all(&batch),
            None => self.open_file().and_then(|file| file.write_all(&batch)),
        };
        match (written, &self.file) {
            (Ok(()), _) => self.bytes += batch.len() as u64,
            (Err(_), file) => {
                self.dropped_bytes += batch.len() as u64;
                // Half a line must not become the beginning of the next.
                if let Some(file) = file {
                    let _ = file.set_len(self.bytes);
                }
            }
        }
        self.batch = batch;
        self.batch.clear();
    }

    fn open_file(&mut self) -> io::Result<&mut File> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(&self.path)?;
        self.bytes = file.metadata()?.len();
        Ok(self.file.insert(file))
    }

    fn rotate(&mut self) {
        let renamed = (1..self.files_max).rev().try_for_each(|number| {
            match fs::rename(rotated(&self.path, number - 1), rotated(&self.path, number)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                renamed => renamed,
            }
        });
        let begun = if self.files_max == 1 {
            fs::remove_file(&self.path)
        } else {
            renamed
        };
        if begun.is_err() {
            // The files stay bounded: what doesn't fit any more is lost.
            let emptied = self.file.as_ref().map(|file| file.set_len(0));
            if let Some(Ok(())) = emptied {
                self.dropped_bytes += self.bytes;
                self.bytes = 0;
            }
            return;
        }
        (self.file, self.bytes) = (None, 0);
        // If it fails now, it is tried again with the next batch.
        let _ = self.open_file();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(dir: &tempfile::TempDir, number: u32) -> Vec<String> {
        let text = fs::read_to_string(rotated(&dir.path().join("log"), number)).unwrap();
        let cut = |line: &str| line[TIME_BYTES + 1..].to_owned();
        text.lines().map(cut).collect()
    }

    #[test]
    fn lines_come_whole_however_they_arrive() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path().join("log"), 1 << 20, 2).unwrap();
        writer.take(1, Stream::Stdout, b"a");
        writer.take(2, Stream::Stderr, b"error\nhal");
        writer.take(3, Stream::Stdout, b"b\n\nc\nrest");
        writer.take(4, Stream::Stderr, b"f\n");
        writer.finish(5);
        let expected = [
            "stderr F error",
            "stdout F ab",
            "stdout F ",
            "stdout F c",
            "stderr F half",
            "stdout F rest",
        ];
        assert_eq!(lines(&dir, 0), expected);
        assert_eq!(writer.dropped_bytes(), 0);
    }

    #[test]
    fn long_lines_are_cut_into_parts() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path().join("log"), 1 << 20, 2).unwrap();
        let long = vec![b'x'; 2 * PART_BYTES_MAX + 3];
        for chunk in long.chunks(1000) {
            writer.take(1, Stream::Stdout, chunk);
        }
        writer.take(1, Stream::Stdout, b"\n");
        let mut exact = vec![b'y'; PART_BYTES_MAX];
        exact.push(b'\n');
        writer.take(1, Stream::Stdout, &exact);
        let sizes: Vec<(char, usize)> = lines(&dir, 0)
            .iter()
            .map(|line| (line.as_bytes()[7] as char, line.len() - 9))
            .collect();
        let full = PART_BYTES_MAX;
        assert_eq!(sizes, [('P', full), ('P', full), ('F', 3), ('F', full)]);
    }

    #[test]
    fn files_are_bounded_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let line_bytes = (TIME_BYTES + " stdout F 00\n".len()) as u64;
        let mut writer = Writer::open(dir.path().join("log"), 2 * line_bytes, 3).unwrap();
        for number in 10..19 {
            writer.take(1, Stream::Stdout, format!("{number}\n").as_bytes());
        }
        assert_eq!(lines(&dir, 0), ["stdout F 18"]);
        assert_eq!(lines(&dir, 1), ["stdout F 16", "stdout F 17"]);
        assert_eq!(lines(&dir, 2), ["stdout F 14", "stdout F 15"]);
        assert!(!rotated(&dir.path().join("log"), 3).exists());

        let mut single = Writer::open(dir.path().join("single"), line_bytes, 1).unwrap();
        single.take(1, Stream::Stdout, b"01\n02\n03\n");
        let text = fs::read_to_string(dir.path().join("single")).unwrap();
        assert!(text.ends_with("F 03\n") && text.lines().count() == 1);
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_dropped_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path().join("log"), 1 << 20, 2).unwrap();
        writer.take(1, Stream::Stdout, b"kept\n");
        let file = writer.file.take();
        writer.file = Some(OpenOptions::new().write(true).open("/dev/full").unwrap());
        writer.take(1, Stream::Stdout, b"lost\n");
        assert_eq!(
            writer.dropped_bytes(),
            (TIME_BYTES + " stdout F lost\n".len()) as u64
        );
        writer.file = file;
        writer.take(1, Stream::Stdout, b"kept too\n");
        assert_eq!(lines(&dir, 0), ["stdout F kept", "stdout F kept too"]);
    }
}
