//! Rows of strings and numbers in one string: listpacks, ziplists, zipmaps and intsets (Redis:
//! the files of these names under "src" describe their formats).
//!
//! Each is an iterator of items; what makes no sense ends it with an error.

use std::borrow::Cow;

use super::RestoreError;

/// What a row gives.
pub(in crate::core) type Item<'a> = Result<Cow<'a, [u8]>, RestoreError>;

/// The byte after the last item.
const END: u8 = 0xff;

/// Where a row is read.
struct Cursor<'a> {
    rest: &'a [u8],
    failed: bool,
}

/// An item of a row, or its end.
type Step<'a> = Option<Option<Cow<'a, [u8]>>>;

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn string(&mut self, length: usize) -> Option<Cow<'a, [u8]>> {
        self.take(length).map(Cow::Borrowed)
    }

    /// A number of up to eight bytes, little-endian.
    fn integer(&mut self, width: usize) -> Option<Cow<'a, [u8]>> {
        let bytes = self.take(width)?;
        let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..width].copy_from_slice(bytes);
        Some(digits(i64::from_le_bytes(wide)))
    }

    /// The items, by what reads one of them: nothing where it makes no sense, and nothing
    /// within where the row ends.
    fn items(
        mut self,
        mut read: impl FnMut(&mut Self) -> Step<'a>,
    ) -> impl Iterator<Item = Item<'a>> {
        std::iter::from_fn(move || {
            if self.failed {
                return None;
            }
            match read(&mut self) {
                Some(Some(item)) => Some(Ok(item)),
                // Nothing comes after the end.
                Some(None) if self.rest.is_empty() => {
                    self.failed = true;
                    None
                }
                Some(None) | None => {
                    self.failed = true;
                    Some(Err(RestoreError::Data))
                }
            }
        })
    }
}

fn digits<'a>(number: i64) -> Cow<'a, [u8]> {
    Cow::Owned(number.to_string().into_bytes())
}

/// The rest after a header that begins with the length of all in four bytes.
fn body(bytes: &[u8], header_bytes: usize) -> Cursor<'_> {
    let length = bytes
        .first_chunk()
        .map(|length| u32::from_le_bytes(*length));
    let whole = length.is_some_and(|length| usize::try_from(length) == Ok(bytes.len()));
    let rest = bytes.get(header_bytes..).filter(|_| whole);
    Cursor {
        // An empty rest has no end mark, which is an error at the first item.
        rest: rest.unwrap_or_default(),
        failed: false,
    }
}

/// Items of a listpack: length in four bytes, count in two.
pub(in crate::core) fn listpack(bytes: &[u8]) -> impl Iterator<Item = Item<'_>> {
    body(bytes, 6).items(|cursor| {
        let before = cursor.rest.len();
        let first = cursor.byte()?;
        let low = usize::from(first);
        let item = match first {
            0..=0x7f => digits(i64::from(first)),
            0x80..=0xbf => cursor.string(low & 0x3f)?,
            0xc0..=0xdf => {
                let unsigned = (i64::from(first) & 0x1f) << 8 | i64::from(cursor.byte()?);
                // Thirteen bits with a sign.
                digits(if unsigned < 1 << 12 {
                    unsigned
                } else {
                    unsigned - (1 << 13)
                })
            }
            0xe0..=0xef => {
                let length = (low & 0x0f) << 8 | usize::from(cursor.byte()?);
                cursor.string(length)?
            }
            0xf0 => {
                let length = u32::from_le_bytes(cursor.array()?);
                cursor.string(usize::try_from(length).ok()?)?
            }
            0xf1 => cursor.integer(2)?,
            0xf2 => cursor.integer(3)?,
            0xf3 => cursor.integer(4)?,
            0xf4 => cursor.integer(8)?,
            END => return Some(None),
            _ => return None,
        };
        // The item's length again, for those who walk back.
        cursor.take(length_bytes(before - cursor.rest.len()))?;
        Some(Some(item))
    })
}

/// So many bytes the length of a listpack's item takes behind it. They hold seven bits each,
/// but Redis does not use the last number of each width.
pub(super) fn length_bytes(length: usize) -> usize {
    match length {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

/// Items of a ziplist: length and place of the last item in four bytes each, count in two.
pub(in crate::core) fn ziplist(bytes: &[u8]) -> impl Iterator<Item = Item<'_>> {
    body(bytes, 10).items(|cursor| {
        // The length of the item before, or the end.
        match cursor.byte()? {
            END => return Some(None),
            0xfe => {
                cursor.take(4)?;
            }
            _ => {}
        }
        let first = cursor.byte()?;
        let low = usize::from(first & 0x3f);
        let item = match first {
            0..=0x3f => cursor.string(low)?,
            0x40..=0x7f => {
                let length = low << 8 | usize::from(cursor.byte()?);
                cursor.string(length)?
            }
            0x80 => {
                let length = u32::from_be_bytes(cursor.array()?);
                cursor.string(usize::try_from(length).ok()?)?
            }
            0xc0 => cursor.integer(2)?,
            0xd0 => cursor.integer(4)?,
            0xe0 => cursor.integer(8)?,
            0xf0 => cursor.integer(3)?,
            0xfe => cursor.integer(1)?,
            0xf1..=0xfd => digits(i64::from(first & 0x0f) - 1),
            _ => return None,
        };
        Some(Some(item))
    })
}

/// Fields and values of a zipmap, in turn: a byte that counts, then pairs. Each value is
/// preceded by how many bytes are left unused behind it.
pub(in crate::core) fn zipmap(bytes: &[u8]) -> impl Iterator<Item = Item<'_>> {
    let cursor = Cursor {
        rest: bytes.get(1..).unwrap_or_default(),
        failed: false,
    };
    let mut is_value = false;
    cursor.items(move |cursor| {
        let length = match cursor.byte()? {
            END if !is_value => return Some(None),
            END => return None,
            0xfe => usize::try_from(u32::from_le_bytes(cursor.array()?)).ok()?,
            short => usize::from(short),
        };
        let unused = if is_value { cursor.byte()? } else { 0 };
        let item = cursor.string(length)?;
        cursor.take(usize::from(unused))?;
        is_value = !is_value;
        Some(Some(item))
    })
}

/// Numbers of an intset: the width of each and their count in four bytes each, then they.
pub(in crate::core) fn intset(bytes: &[u8]) -> impl Iterator<Item = Item<'_>> {
    let mut cursor = Cursor {
        rest: bytes,
        failed: false,
    };
    let mut header = || {
        let width = u32::from_le_bytes(cursor.array()?);
        let count = u32::from_le_bytes(cursor.array()?);
        let (width, count) = (usize::try_from(width).ok()?, usize::try_from(count).ok()?);
        let whole = width.checked_mul(count) == Some(cursor.rest.len());
        (whole && matches!(width, 2 | 4 | 8)).then_some(width)
    };
    let width = header();
    cursor.items(move |cursor| {
        let width = width?;
        if cursor.rest.is_empty() {
            return Some(None);
        }
        cursor.integer(width).map(Some)
    })
}
