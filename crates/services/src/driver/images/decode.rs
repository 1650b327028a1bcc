//! Plain bytes of what may be packed: gzip (RFC 1952), zstd (RFC 8878), or neither. Which one is
//! told by the first bytes, as other runtimes do: media types are not always true.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// What is read ahead of a decoder.
const BUFFER_BYTES: usize = 128 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A skippable frame: only its first byte varies.
const ZSTD_SKIPPED: [u8; 3] = [0x2a, 0x4d, 0x18];

/// The plain bytes of a stream.
///
/// # Errors
/// It can't be read.
pub(super) fn plain<'a>(packed: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut first = Vec::new();
    let mut packed = packed;
    packed
        .by_ref()
        .take(ZSTD.len() as u64)
        .read_to_end(&mut first)?;
    let whole = io::Cursor::new(first.clone()).chain(packed);
    let whole = BufReader::with_capacity(BUFFER_BYTES, whole);
    Ok(match first.as_slice() {
        first if first.starts_with(&GZIP) => Box::new(MultiGzDecoder::new(whole)),
        first if first == ZSTD || first.ends_with(&ZSTD_SKIPPED) => Box::new(Zstd {
            packed: whole,
            decoder: FrameDecoder::new(),
            is_inside: false,
        }),
        _ => Box::new(whole),
    })
}

/// All frames of a stream, one after the other. The decoder bounds the memory that a frame asks
/// for (its window) itself.
struct Zstd<R> {
    packed: R,
    decoder: FrameDecoder,
    /// Whether a frame has been begun and not ended.
    is_inside: bool,
}

impl<R: BufRead> Zstd<R> {
    /// Begins the next frame; false at the end.
    fn next_frame(&mut self) -> io::Result<bool> {
        use FrameDecoderError::ReadFrameHeaderError as Header;
        while !self.packed.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.packed) {
                Ok(()) => {
                    self.is_inside = true;
                    return Ok(true);
                }
                Err(Header(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let mut frame = self.packed.by_ref().take(u64::from(length));
                    if io::copy(&mut frame, &mut io::sink())? < u64::from(length) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }

    fn decode(&mut self) -> io::Result<()> {
        while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
            let one = BlockDecodingStrategy::UptoBlocks(1);
            let decoded = self.decoder.decode_blocks(&mut self.packed, one);
            decoded.map_err(io::Error::other)?;
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            if self.is_inside {
                self.decode()?;
                match self.decoder.read(into)? {
                    0 => self.is_inside = false,
                    read => return Ok(read),
                }
            }
            if !self.next_frame()? {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(content: &[u8]) -> Vec<u8> {
        compress_to_vec(content, CompressionLevel::Fastest)
    }

    fn read(packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        plain(packed)?.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn what_is_packed_is_told_by_its_first_bytes() {
        let content: Vec<u8> = (0..300_000_u32).map(|it| (it % 251) as u8).collect();
        assert_eq!(read(&content).unwrap(), content);
        assert_eq!(read(&gzip(&content)).unwrap(), content);
        assert_eq!(read(&zstd(&content)).unwrap(), content);
        assert_eq!(read(b"").unwrap(), b"");
        assert_eq!(read(b"ab").unwrap(), b"ab");
    }

    #[test]
    fn all_members_and_frames_are_read() {
        assert_eq!(
            read(&[gzip(b"one "), gzip(b"two")].concat()).unwrap(),
            b"one two"
        );
        let skipped = [&[0x5e, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
        let frames = [
            skipped.clone(),
            zstd(b"one "),
            skipped,
            zstd(b""),
            zstd(b"two"),
        ]
        .concat();
        assert_eq!(read(&frames).unwrap(), b"one two");
    }

    #[test]
    fn what_breaks_off_is_an_error() {
        for packed in [gzip(&[7; 1_000]), zstd(&[7; 1_000])] {
            assert!(read(&packed[..packed.len() - 5]).is_err());
            let mut wrong = packed.clone();
            wrong.extend_from_slice(b"rest");
            assert!(read(&wrong).is_err());
        }
        let cut = [0x50, 0x2a, 0x4d, 0x18, 9, 0, 0, 0, 1];
        assert!(read(&cut).is_err());
    }
}
