//! Protobuf's wire format (protobuf.dev, "Encoding"): records of a number, a wire type and a
//! value.

use super::ProtoError;

/// A record's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32,
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    pub(super) fn varint(self) -> Result<u64, ProtoError> {
        match self {
            Wire::Varint(value) => Ok(value),
            _ => Err(ProtoError::Malformed("a number")),
        }
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], ProtoError> {
        match self {
            Wire::Bytes(bytes) => Ok(bytes),
            _ => Err(ProtoError::Malformed("a text or message")),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, ProtoError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| ProtoError::Malformed("UTF-8"))
    }
}

/// The records of a message.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Reader<'a> {
        Reader { rest: message }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next record's number and value; none at the end.
    pub(super) fn record(&mut self) -> Result<Option<(u32, Wire<'a>)>, ProtoError> {
        if self.is_at_end() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|number| *number > 0);
        let number = number.ok_or(ProtoError::Malformed("a field's number"))?;
        let wire = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => {
                let (bytes, rest) = self.rest.split_first_chunk().ok_or(ProtoError::Truncated)?;
                self.rest = rest;
                Wire::Fixed64(*bytes)
            }
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| ProtoError::Truncated)?;
                Wire::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Wire::Fixed32)?,
            // Groups are in no type of the API.
            _ => return Err(ProtoError::Malformed("a wire type")),
        };
        Ok(Some((number, wire)))
    }

    pub(super) fn varint(&mut self) -> Result<u64, ProtoError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(ProtoError::Malformed("a varint"))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], ProtoError> {
        let (bytes, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(ProtoError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }
}

/// Writes a record with a number for its value. Negative ones are written as 64 bits.
pub(super) fn put_integer(out: &mut Vec<u8>, number: u32, value: i64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value.cast_unsigned());
}

/// Writes a record with a text or message for its value.
pub(super) fn put_bytes(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Writes a record with a float for its value.
pub(super) fn put_double(out: &mut Vec<u8>, number: u32, value: f64) {
    put_varint(out, u64::from(number) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
