//! Writing listpacks.

use super::packs::length_bytes;

/// Bytes of a listpack before its items: its length in four, their count in two.
const HEADER_BYTES: usize = 6;

/// A listpack of these items, of which there are so many.
pub(super) fn listpack(rows: &[&[u8]], items: usize) -> Vec<u8> {
    let mut out = vec![0; HEADER_BYTES];
    for row in rows {
        out.extend_from_slice(row);
    }
    out.push(0xff);
    // Rows end long before this many bytes, as in Redis.
    let length = u32::try_from(out.len()).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&length.to_le_bytes());
    // More than fits is written as the largest number: to be counted.
    let items = u16::try_from(items).unwrap_or(u16::MAX);
    out[4..HEADER_BYTES].copy_from_slice(&items.to_le_bytes());
    out
}

/// An item of a listpack.
pub(super) enum Piece<'a> {
    /// A number.
    Integer(i64),
    /// A string.
    Bytes(&'a [u8]),
}

impl Piece<'_> {
    /// Adds the item to a row.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let before = out.len();
        match *self {
            Piece::Integer(number) => write_integer(out, number),
            Piece::Bytes(bytes) => {
                let length = bytes.len();
                match (u8::try_from(length), u16::try_from(length)) {
                    (Ok(short), _) if short < 1 << 6 => out.push(0x80 | short),
                    (_, Ok(short)) if short < 1 << 12 => {
                        out.extend_from_slice(&(0xe000 | short).to_be_bytes());
                    }
                    _ => {
                        // A word of a command is never that long.
                        let length = u32::try_from(length).unwrap_or(u32::MAX);
                        out.push(0xf0);
                        out.extend_from_slice(&length.to_le_bytes());
                    }
                }
                out.extend_from_slice(bytes);
            }
        }
        let length = out.len() - before;
        let bytes = length_bytes(length);
        for group in (0..bytes).rev() {
            // All but the first say that there is more before them.
            let more = if group + 1 == bytes { 0 } else { 0x80 };
            out.push((length >> (7 * group)) as u8 & 0x7f | more);
        }
    }
}

fn write_integer(out: &mut Vec<u8>, number: i64) {
    if let Some(short) = u8::try_from(number).ok().filter(|short| *short < 0x80) {
        out.push(short);
    } else if let Ok(short) = i16::try_from(number) {
        out.push(0xf1);
        out.extend_from_slice(&short.to_le_bytes());
    } else if let Ok(long) = i32::try_from(number) {
        out.push(0xf3);
        out.extend_from_slice(&long.to_le_bytes());
    } else {
        out.push(0xf4);
        out.extend_from_slice(&number.to_le_bytes());
    }
}
