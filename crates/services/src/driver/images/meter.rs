//! Tars of strangers, read with everything counted.
//!
//! Nothing is believed that a tar says of lengths: all that is read of it is taken from a budget,
//! and the heads of an entry (long names, extended records), which the reader of tars holds in
//! memory, may have so many bytes only.

use std::{
    cell::{Cell, RefCell},
    io::{self, Read},
};

use tar::{Archive, Entry, EntryType};

use super::ImageError;
use crate::core::image::{
    Digest, Hasher,
    layer::{Budget, EntryError},
};

/// The heads of one entry have at most so many bytes together.
const HEADS_BYTES_MAX: u64 = 1 << 20;

/// What reads an entry's content.
pub(super) type Source<'a, 'b> = Metered<'a, 'b, Box<dyn Read + 'b>>;

/// Shows each entry of a tar, and then tells the digest of the whole.
///
/// # Errors
/// It breaks off or is none, there is more of it than may be, or a visit failed.
pub(super) fn each<'b>(
    plain: Box<dyn Read + 'b>,
    budget: &'b mut Budget,
    mut visit: impl FnMut(&mut Entry<'_, Source<'_, 'b>>) -> Result<(), ImageError>,
) -> Result<Digest, ImageError> {
    budget.begin_layer();
    let meter = Meter {
        hasher: RefCell::default(),
        budget: RefCell::new(budget),
        heads_left: Cell::new(None),
    };
    let mut archive = Archive::new(Metered {
        inner: plain,
        meter: &meter,
    });
    let mut entries = archive.entries().map_err(ImageError::Archive)?;
    loop {
        meter.heads_left.set(Some(HEADS_BYTES_MAX));
        let next = entries.next();
        meter.heads_left.set(None);
        let Some(entry) = next else { break };
        let mut entry = entry.map_err(ImageError::Archive)?;
        meter.budget.borrow_mut().take_entry()?;
        if entry.header().entry_type() == EntryType::GNUSparse {
            // It may be far longer than its archive.
            return Err(EntryError::of(&entry.path_bytes(), "it has holes").into());
        }
        visit(&mut entry)?;
        // What nobody wanted to know is not a head of the next one.
        io::copy(&mut entry, &mut io::sink()).map_err(ImageError::Archive)?;
    }
    // The digest is that of all bytes, with those after the end.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(ImageError::Archive)?;
    Ok(meter.hasher.into_inner().finish())
}

/// What has been read of a tar.
struct Meter<'b> {
    hasher: RefCell<Hasher>,
    budget: RefCell<&'b mut Budget>,
    /// While heads are read: how much of them may come.
    heads_left: Cell<Option<u64>>,
}

/// A reader that is counted.
pub(super) struct Metered<'a, 'b, R> {
    inner: R,
    meter: &'a Meter<'b>,
}

impl<R: Read> Read for Metered<'_, '_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        let bytes = read as u64;
        if let Some(left) = self.meter.heads_left.get() {
            let left = left.checked_sub(bytes);
            let left =
                left.ok_or_else(|| io::Error::other("the heads of an entry are too long"))?;
            self.meter.heads_left.set(Some(left));
        }
        let taken = self.meter.budget.borrow_mut().take_bytes(bytes);
        taken.map_err(io::Error::other)?;
        self.meter.hasher.borrow_mut().update(&into[..read]);
        Ok(read)
    }
}
