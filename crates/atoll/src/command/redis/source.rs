//! The file that is read, as far ahead as the parser needs it.
#![allow(clippy::disallowed_methods)] // The command line is the edge: it reads its own files.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use atoll_kv::core::rdb::{Event, Parser, RdbError, Step};

use crate::error::CliError;

/// So much is read at once, where no more is needed.
const READ_BYTES: usize = 256 << 10;

/// A file and its parser.
pub(super) struct Source<R = File> {
    name: String,
    reader: R,
    parser: Parser,
    buffer: Vec<u8>,
    /// Where in the buffer the parser is.
    at: usize,
    /// So many more bytes the parser needs.
    needed: usize,
    bytes: u64,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self, CliError> {
        let failed = |error| CliError::file("read", path, error);
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        Ok(Source::new(path.display().to_string(), file, bytes))
    }
}

impl<R: Read> Source<R> {
    fn new(name: String, reader: R, bytes: u64) -> Self {
        Source {
            name,
            reader,
            parser: Parser::default(),
            buffer: Vec::new(),
            at: 0,
            needed: 0,
            bytes,
        }
    }

    /// How much has been read, and how much there is.
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.parser.at(), self.bytes)
    }

    /// What comes next; nothing if more of the file is needed first: see [`Source::fill`].
    ///
    /// # Errors
    /// The file is damaged.
    pub(super) fn next(&mut self) -> Result<Option<Event<'_>>, CliError> {
        match self.parser.next(&self.buffer[self.at..]) {
            Ok(Step::Found(event, length)) => {
                self.at += length;
                Ok(Some(event))
            }
            Ok(Step::More(count)) => {
                self.needed = count;
                Ok(None)
            }
            Err(error) => Err(refused(&self.name, &error)),
        }
    }

    /// Reads what is needed, and more.
    ///
    /// # Errors
    /// The file can't be read, or ends too early.
    pub(super) fn fill(&mut self) -> Result<(), CliError> {
        self.buffer.drain(..self.at);
        self.at = 0;
        // Twice as much each time: what is long is looked at a few times only.
        let want = self.needed.max(self.buffer.len()).max(READ_BYTES);
        if self.read(want)? < self.needed {
            let short = self.parser.short(self.buffer.len());
            return Err(refused(&self.name, &short));
        }
        Ok(())
    }

    /// Reads so many bytes, or fewer at the end of the file.
    fn read(&mut self, want: usize) -> Result<usize, CliError> {
        let limit = u64::try_from(want).unwrap_or(u64::MAX);
        let read: io::Result<usize> = self
            .reader
            .by_ref()
            .take(limit)
            .read_to_end(&mut self.buffer);
        read.map_err(|error| CliError::file("read", &self.name, error))
    }
}

fn refused(file: &str, error: &RdbError) -> CliError {
    CliError::failed(
        format!("{file}: {error}"),
        "redis-check-rdb tells more; keys before that place are imported",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_elements_are_read_whole_and_short_files_refused() {
        let mut file = b"REDIS0003\x00\x03key\x80".to_vec();
        file.extend_from_slice(&(3_u32 << 20).to_be_bytes());
        file.resize(file.len() + (3 << 20), b'x');
        file.push(0xff);
        let read = |bytes: &[u8]| -> Result<Vec<usize>, CliError> {
            let mut source = Source::new("f".into(), bytes, bytes.len() as u64);
            let mut lengths = Vec::new();
            loop {
                match source.next()? {
                    None => source.fill()?,
                    Some(Event::Element(element)) => lengths.push(element.len()),
                    Some(Event::End) => return Ok(lengths),
                    Some(_) => {}
                }
            }
        };
        assert_eq!(read(&file).unwrap(), [5 + (3 << 20)]);
        let error = read(&file[..file.len() - 1]).unwrap_err();
        assert!(
            error.to_string().contains("before it is complete"),
            "{error}"
        );
    }
}
