//! Blocks of headers: names and values, compressed by zlib with one state for all blocks of a
//! direction (SPDY protocol draft 3, section 2.6.10).
//!
//! Invariants: a block, compressed or not, has at most [`BLOCK_BYTES_MAX`] bytes and
//! [`HEADERS_MAX`] headers. Whoever skips a block loses the state of all later ones, so each
//! block is read, whatever becomes of its frame.

use std::collections::BTreeMap;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{SpdyError, dictionary::DICTIONARY};

/// The most bytes of a block. Those of clients have less than 200.
pub(super) const BLOCK_BYTES_MAX: usize = 16 * 1024;
/// The most headers in a block.
const HEADERS_MAX: u32 = 64;
/// By so much room is made for what is decompressed.
const STEP_BYTES: usize = 1024;

/// Headers by their names, which are in lower case.
pub type Headers = BTreeMap<String, String>;

/// Reads the blocks of a client.
pub(super) struct Inflater(Decompress);

impl Inflater {
    pub(super) fn new() -> Inflater {
        Inflater(Decompress::new(true))
    }

    pub(super) fn read(&mut self, block: &[u8]) -> Result<Headers, SpdyError> {
        parse(&self.inflate(block)?)
    }

    fn inflate(&mut self, mut block: &[u8]) -> Result<Vec<u8>, SpdyError> {
        let mut out = Vec::with_capacity(STEP_BYTES);
        loop {
            let before = self.0.total_in();
            let done = self
                .0
                .decompress_vec(block, &mut out, FlushDecompress::Sync);
            // What was read is a part of the block, which has few bytes.
            let read = (self.0.total_in() - before) as usize;
            block = &block[read..];
            match done {
                Ok(Status::StreamEnd) => return Err(SpdyError::Compression),
                Ok(_) if out.len() == out.capacity() => {
                    if out.len() >= BLOCK_BYTES_MAX {
                        return Err(SpdyError::HeadersTooLarge);
                    }
                    out.reserve_exact(STEP_BYTES);
                }
                Ok(_) if block.is_empty() => return Ok(out),
                Ok(_) if read == 0 => return Err(SpdyError::Compression),
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => self
                    .0
                    .set_dictionary(&DICTIONARY)
                    .map(drop)
                    .map_err(|_| SpdyError::Compression)?,
                Err(_) => return Err(SpdyError::Compression),
            }
        }
    }
}

/// Writes the blocks for a client.
pub(super) struct Deflater(Compress);

impl Deflater {
    pub(super) fn new() -> Deflater {
        let mut compress = Compress::new(Compression::fast(), true);
        compress
            .set_dictionary(&DICTIONARY)
            .expect("nothing was compressed yet");
        Deflater(compress)
    }

    pub(super) fn write(&mut self, headers: &Headers) -> Vec<u8> {
        let block = format(headers);
        // A block that does not get smaller gets larger by a few bytes only.
        let mut out = Vec::with_capacity(block.len() + STEP_BYTES);
        let before = self.0.total_in();
        loop {
            let read = (self.0.total_in() - before) as usize;
            self.0
                .compress_vec(&block[read..], &mut out, FlushCompress::Sync)
                .expect("the state of the compressor is sound");
            if out.len() < out.capacity() {
                return out;
            }
            out.reserve(STEP_BYTES);
        }
    }
}

fn format(headers: &Headers) -> Vec<u8> {
    let mut block = length(headers.len()).to_vec();
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        block.extend_from_slice(&length(text.len()));
        block.extend_from_slice(text.as_bytes());
    }
    block
}

fn length(length: usize) -> [u8; 4] {
    let length = u32::try_from(length).expect("headers are short");
    length.to_be_bytes()
}

fn parse(mut block: &[u8]) -> Result<Headers, SpdyError> {
    let count = number(&mut block)?;
    if count > HEADERS_MAX {
        return Err(SpdyError::HeadersTooLarge);
    }
    let mut headers = Headers::new();
    for _ in 0..count {
        let name = text(&mut block)?;
        let value = text(&mut block)?;
        let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
        if name.is_empty() || !is_lower || headers.insert(name, value).is_some() {
            return Err(SpdyError::Headers);
        }
    }
    match block {
        [] => Ok(headers),
        _ => Err(SpdyError::Headers),
    }
}

fn number(block: &mut &[u8]) -> Result<u32, SpdyError> {
    let (bytes, rest) = block.split_first_chunk().ok_or(SpdyError::Headers)?;
    *block = rest;
    Ok(u32::from_be_bytes(*bytes))
}

fn text(block: &mut &[u8]) -> Result<String, SpdyError> {
    let length = number(block)? as usize;
    let (bytes, rest) = block.split_at_checked(length).ok_or(SpdyError::Headers)?;
    *block = rest;
    String::from_utf8(bytes.to_vec()).map_err(|_| SpdyError::Headers)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn blocks_are_read_one_after_the_other() {
        let (mut writer, mut reader) = (Deflater::new(), Inflater::new());
        let first = headers(&[("streamtype", "stdin"), ("host", "x")]);
        let second = headers(&[("streamtype", "stdout")]);
        for block in [&first, &second, &Headers::new(), &first] {
            assert_eq!(reader.read(&writer.write(block)).as_ref(), Ok(block));
        }
    }

    #[test]
    fn a_small_block_does_not_become_a_large_one() {
        let mut writer = Deflater::new();
        let bomb = headers(&[("a", &"x".repeat(BLOCK_BYTES_MAX))]);
        let block = writer.write(&bomb);
        assert!(block.len() < 200);
        let read = Inflater::new().read(&block);
        assert_eq!(read, Err(SpdyError::HeadersTooLarge));
        let most = headers(&[("a", &"x".repeat(BLOCK_BYTES_MAX - STEP_BYTES))]);
        let block = Deflater::new().write(&most);
        assert_eq!(Inflater::new().read(&block), Ok(most));
    }

    #[test]
    fn what_is_no_block_is_refused() {
        let cases: [&[u8]; 7] = [
            b"",
            b"\0\0\0\x01",
            b"\0\0\0\0x",
            b"\0\0\0\x01\0\0\0\x01A\0\0\0\0",
            b"\0\0\0\x01\0\0\0\0\0\0\0\0",
            b"\0\0\0\x01\xff\xff\xff\xffA",
            b"\0\0\0\x02\0\0\0\x01a\0\0\0\0\0\0\0\x01a\0\0\0\0",
        ];
        for block in cases {
            assert_eq!(parse(block), Err(SpdyError::Headers), "{block:?}");
        }
        assert_eq!(parse(&[0, 0, 1, 0]), Err(SpdyError::HeadersTooLarge));
        assert_eq!(Inflater::new().read(b"xx"), Err(SpdyError::Compression));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            blocks in prop::collection::vec(
                prop::collection::btree_map("[a-z]{1,9}", ".{0,40}", 0..5), 0..5)
        ) {
            let (mut writer, mut reader) = (Deflater::new(), Inflater::new());
            for block in blocks {
                prop_assert_eq!(reader.read(&writer.write(&block)), Ok(block));
            }
        }
    }
}
