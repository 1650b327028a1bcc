//! Numbers and bytes in what is stored and sent: LEB128 numbers, bytes after their length.

use atoll_base::id::PartitionId;
use bytes::{Buf as _, BufMut, Bytes, BytesMut};

/// What can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// It ends too early.
    #[error("it ends in the middle")]
    Short,
    /// A number of more than 64 bits.
    #[error("a number is too large")]
    Number,
    /// More than there can be.
    #[error("a length of {length} is more than there is")]
    Length {
        /// What it claims.
        length: u64,
    },
    /// Written by a newer version, or not by us.
    #[error("format version {found} is not known; this program knows up to {known}")]
    Version {
        /// The one found.
        found: u8,
        /// The newest known.
        known: u8,
    },
    /// No meaning is known for a mark.
    #[error("the mark {0} has no meaning")]
    Mark(u8),
    /// Rules of a user, of a newer version or not by us.
    #[error("rules of a user can't be read")]
    Rules,
    /// Something follows the end.
    #[error("{0} bytes follow the end")]
    Rest(usize),
}

/// Appends to a buffer.
#[derive(Debug, Default)]
pub struct Writer(BytesMut);

impl Writer {
    /// With room for so many bytes. It grows where that is not enough.
    pub fn with_room(bytes: usize) -> Self {
        Writer(BytesMut::with_capacity(bytes))
    }

    /// A number.
    pub fn number(&mut self, mut number: u64) -> &mut Self {
        while number >= 0x80 {
            self.0.put_u8((number as u8) | 0x80);
            number >>= 7;
        }
        self.0.put_u8(number as u8);
        self
    }

    /// A count or a length.
    pub fn length(&mut self, length: usize) -> &mut Self {
        self.number(length as u64)
    }

    /// One byte.
    pub fn byte(&mut self, byte: u8) -> &mut Self {
        self.0.put_u8(byte);
        self
    }

    /// Bytes after their length.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.length(bytes.len());
        self.0.put_slice(bytes);
        self
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.put_slice(bytes);
        self
    }

    /// Size so far, in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that was written.
    pub fn finish(self) -> Bytes {
        self.0.freeze()
    }
}

/// Reads from the front of bytes, and shares them.
#[derive(Clone, Debug)]
pub struct Reader(Bytes);

impl Reader {
    /// Of these bytes.
    pub fn new(bytes: Bytes) -> Self {
        Reader(bytes)
    }

    /// The version that everything begins with.
    ///
    /// # Errors
    /// It is another one than this program knows.
    pub fn version(&mut self, known: u8) -> Result<(), CodecError> {
        let found = self.byte()?;
        if found != known {
            return Err(CodecError::Version { found, known });
        }
        Ok(())
    }

    /// One byte.
    ///
    /// # Errors
    /// Nothing is left.
    pub fn byte(&mut self) -> Result<u8, CodecError> {
        let byte = *self.0.first().ok_or(CodecError::Short)?;
        self.0.advance(1);
        Ok(byte)
    }

    /// Whether something is so: 0 or 1.
    ///
    /// # Errors
    /// It is another byte, or nothing is left.
    pub fn flag(&mut self) -> Result<bool, CodecError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            mark => Err(CodecError::Mark(mark)),
        }
    }

    /// The number of a partition.
    ///
    /// # Errors
    /// It ends early, or no partition can have this number.
    pub fn partition(&mut self) -> Result<PartitionId, CodecError> {
        let number = u16::try_from(self.number()?).map_err(|_| CodecError::Number)?;
        Ok(PartitionId(number))
    }

    /// A number.
    ///
    /// # Errors
    /// It ends early or is too large.
    pub fn number(&mut self) -> Result<u64, CodecError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return Err(CodecError::Number);
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(CodecError::Number)
    }

    /// A count of things of which each takes at least `bytes_each` bytes: never more than can
    /// follow, so that room may be made for them.
    ///
    /// # Errors
    /// It ends early, or claims more than can follow.
    pub fn count(&mut self, bytes_each: usize) -> Result<usize, CodecError> {
        let length = self.number()?;
        usize::try_from(length)
            .ok()
            .filter(|count| count.saturating_mul(bytes_each.max(1)) <= self.0.len())
            .ok_or(CodecError::Length { length })
    }

    /// Bytes after their length.
    ///
    /// # Errors
    /// It ends early.
    pub fn bytes(&mut self) -> Result<Bytes, CodecError> {
        let length = self.count(1)?;
        Ok(self.0.split_to(length))
    }

    /// What is left.
    pub fn rest(self) -> Bytes {
        self.0
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether everything was read.
    ///
    /// # Errors
    /// Something is left.
    pub fn finish(self) -> Result<(), CodecError> {
        match self.0.len() {
            0 => Ok(()),
            rest => Err(CodecError::Rest(rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for number in [0, 1, 127, 128, 300, u64::MAX >> 1, u64::MAX] {
            let mut writer = Writer::default();
            writer.number(number).bytes(b"x");
            let mut reader = Reader::new(writer.finish());
            assert_eq!(reader.number(), Ok(number));
            assert_eq!(reader.bytes().as_deref(), Ok(&b"x"[..]));
            assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn claims_are_not_believed() {
        let read = |bytes: &'static [u8]| Reader::new(Bytes::from_static(bytes));
        assert_eq!(read(&[0xff; 11]).number(), Err(CodecError::Number));
        assert_eq!(read(&[0x80]).number(), Err(CodecError::Short));
        assert_eq!(
            read(&[200, 1, 0]).bytes(),
            Err(CodecError::Length { length: 200 })
        );
        assert_eq!(read(&[1]).finish(), Err(CodecError::Rest(1)));
    }
}
