//! Goes forward over bytes of which the end may not have come yet.

/// Why a cursor went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// At least so many more bytes are needed.
    More(usize),
    /// What stands there makes no sense.
    Damaged(&'static str),
    /// It is longer than anything may be.
    TooLong,
}

pub(super) type Found<T> = Result<T, Stop>;

/// A place in some bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0 }
    }

    /// How many bytes are behind it.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, count: usize) -> Found<&'a [u8]> {
        let end = self.at.checked_add(count).ok_or(Stop::TooLong)?;
        if end > super::ELEMENT_BYTES_MAX {
            return Err(Stop::TooLong);
        }
        match self.bytes.get(self.at..end) {
            Some(bytes) => {
                self.at = end;
                Ok(bytes)
            }
            None => Err(Stop::More(end - self.bytes.len())),
        }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Found<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn byte(&mut self) -> Found<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// A number that counts something.
    pub(super) fn count(&mut self) -> Found<u64> {
        match self.length()? {
            Length::Count(count) => Ok(count),
            Length::Special(_) => Err(Stop::Damaged("a count in the form of a string")),
        }
    }

    /// A string in any form, as it stands there.
    pub(super) fn string(&mut self) -> Found<&'a [u8]> {
        let begin = self.at;
        match self.length()? {
            Length::Count(count) => self.skip(count)?,
            // Numbers of 1, 2 and 4 bytes.
            Length::Special(0) => self.skip(1)?,
            Length::Special(1) => self.skip(2)?,
            Length::Special(2) => self.skip(4)?,
            // A compressed string: its length, the length it had, itself.
            Length::Special(3) => {
                let packed = self.count()?;
                self.count()?;
                self.skip(packed)?;
            }
            Length::Special(_) => return Err(Stop::Damaged("a string of an unknown form")),
        }
        Ok(&self.bytes[begin..self.at])
    }

    fn skip(&mut self, count: u64) -> Found<()> {
        let count = usize::try_from(count).map_err(|_| Stop::TooLong)?;
        self.take(count).map(drop)
    }

    /// The two highest bits say in what form it comes.
    fn length(&mut self) -> Found<Length> {
        let first = self.byte()?;
        let low = first & 0x3f;
        Ok(Length::Count(match first >> 6 {
            0 => u64::from(low),
            1 => u64::from(low) << 8 | u64::from(self.byte()?),
            2 if first == 0x80 => u64::from(u32::from_be_bytes(self.array()?)),
            2 if first == 0x81 => u64::from_be_bytes(self.array()?),
            3 => return Ok(Length::Special(low)),
            _ => return Err(Stop::Damaged("a length of an unknown form")),
        }))
    }
}

enum Length {
    Count(u64),
    Special(u8),
}
