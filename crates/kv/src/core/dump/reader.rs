//! Lengths and strings as RDB has them.

use std::borrow::Cow;

use super::{RestoreError, lzf};

/// So many bytes all packed strings of a dump unpack to at most. Redis has no such limit; a
/// dump of some megabytes could take a node's memory.
const UNPACKED_BYTES_MAX: usize = 1 << 30;

/// Bytes of a value that are still to be read.
pub(in crate::core) struct Reader<'a> {
    rest: &'a [u8],
    unpacked_bytes_left: usize,
}

/// What a length is: a count, or a special form of a string.
enum Length {
    Count(usize),
    Special(u8),
}

/// Special forms: a number in 1, 2 or 4 bytes, and a packed string.
const INTEGER_8: u8 = 0;
const INTEGER_16: u8 = 1;
const INTEGER_32: u8 = 2;
const PACKED: u8 = 3;

impl<'a> Reader<'a> {
    pub(in crate::core) fn new(bytes: &'a [u8]) -> Self {
        Reader {
            rest: bytes,
            unpacked_bytes_left: UNPACKED_BYTES_MAX,
        }
    }

    pub(in crate::core) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(in crate::core) fn byte(&mut self) -> Result<u8, RestoreError> {
        Ok(self.array::<1>()?[0])
    }

    /// So many bytes.
    pub(in crate::core) fn bytes(&mut self, count: usize) -> Result<&'a [u8], RestoreError> {
        let (bytes, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(RestoreError::Data)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RestoreError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(RestoreError::Data)?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// A moment, in milliseconds.
    pub(in crate::core) fn milliseconds(&mut self) -> Result<u64, RestoreError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A score in eight bytes.
    pub(in crate::core) fn double(&mut self) -> Result<f64, RestoreError> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// The two highest bits say in what form it comes.
    fn length(&mut self) -> Result<Length, RestoreError> {
        let first = self.byte()?;
        let low = first & 0x3f;
        let count = match first >> 6 {
            0 => u64::from(low),
            1 => u64::from(low) << 8 | u64::from(self.byte()?),
            2 if first == 0x80 => u64::from(u32::from_be_bytes(self.array()?)),
            2 if first == 0x81 => u64::from_be_bytes(self.array()?),
            3 => return Ok(Length::Special(low)),
            _ => return Err(RestoreError::Data),
        };
        let count = usize::try_from(count).map_err(|_| RestoreError::Data)?;
        Ok(Length::Count(count))
    }

    /// A number that counts something.
    pub(in crate::core) fn count(&mut self) -> Result<usize, RestoreError> {
        match self.length()? {
            Length::Count(count) => Ok(count),
            Length::Special(_) => Err(RestoreError::Data),
        }
    }

    /// A string.
    pub(in crate::core) fn string(&mut self) -> Result<Cow<'a, [u8]>, RestoreError> {
        let number = match self.length()? {
            Length::Count(count) => return self.bytes(count).map(Cow::Borrowed),
            Length::Special(INTEGER_8) => i32::from(i8::from_le_bytes(self.array()?)),
            Length::Special(INTEGER_16) => i32::from(i16::from_le_bytes(self.array()?)),
            Length::Special(INTEGER_32) => i32::from_le_bytes(self.array()?),
            Length::Special(PACKED) => return self.packed().map(Cow::Owned),
            Length::Special(_) => return Err(RestoreError::Data),
        };
        Ok(Cow::Owned(number.to_string().into_bytes()))
    }

    fn packed(&mut self) -> Result<Vec<u8>, RestoreError> {
        let (packed_bytes, length) = (self.count()?, self.count()?);
        let packed = self.bytes(packed_bytes)?;
        self.unpacked_bytes_left = self
            .unpacked_bytes_left
            .checked_sub(length)
            .ok_or(RestoreError::Data)?;
        lzf::unpack(packed, length)
    }
}
