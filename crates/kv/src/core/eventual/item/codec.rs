//! Items as bytes: a byte that says what follows, then the parts in order. What contains them
//! carries the version. Equal items have equal bytes.

use super::{Expiry, Item, Part, Slot, Slots};
use crate::core::{
    codec::{CodecError, Reader, Writer},
    data::Key,
    eventual::{author::Author, clock::Stamp, error::DecodeError},
};

/// An item takes at least so many bytes.
pub(in crate::core::eventual) const ITEM_BYTES_MIN: usize = 1;
/// A part of a counter takes at least so many bytes.
const PART_BYTES_MIN: usize = 1 + 2 * Stamp::BYTES_MIN + 1;
/// A register takes at least so many bytes.
const SLOT_BYTES_MIN: usize = 1 + Stamp::BYTES_MIN + 1;

const CUT: u8 = 1;
const BASE: u8 = 1 << 1;
/// The newest write that moved the cut was not at the cut.
const BY: u8 = 1 << 2;
const EXPIRY: u8 = 1 << 3;
/// The expiry is a moment, not never.
const AT: u8 = 1 << 4;
const PARTS: u8 = 1 << 5;
const MEMBERS: u8 = 1 << 6;
const FIELDS: u8 = 1 << 7;

impl Item {
    pub(in crate::core::eventual) fn write(&self, to: &mut Writer) {
        let at_ms = self.expiry.and_then(|expiry| expiry.at_ms);
        let marks = [
            (CUT, !self.by.is_zero()),
            (BASE, self.base.is_some()),
            (BY, self.by != self.cut),
            (EXPIRY, self.expiry.is_some()),
            (AT, at_ms.is_some()),
            (PARTS, !self.parts.is_empty()),
            (MEMBERS, !self.members.is_empty()),
            (FIELDS, !self.fields.is_empty()),
        ];
        let set = marks.into_iter().filter(|(_, is_set)| *is_set);
        to.byte(set.fold(0, |marks, (mark, _)| marks | mark));
        if !self.by.is_zero() {
            self.cut.write(to);
        }
        if let Some(base) = &self.base {
            to.bytes(base);
        }
        if self.by != self.cut {
            self.by.write(to);
        }
        if let Some(expiry) = self.expiry {
            expiry.stamp.write(to);
        }
        if let Some(at_ms) = at_ms {
            to.number(at_ms);
        }
        if !self.parts.is_empty() {
            to.length(self.parts.len());
        }
        for (author, part) in &self.parts {
            author.write(to);
            part.since.write(to);
            part.stamp.write(to);
            write_total(to, part.total);
        }
        for slots in [&self.members, &self.fields] {
            if !slots.is_empty() {
                write_slots(to, slots);
            }
        }
    }

    pub(in crate::core::eventual) fn read(from: &mut Reader) -> Result<Item, DecodeError> {
        let marks = from.byte()?;
        let has = |mark| marks & mark != 0;
        let mut item = Item::default();
        if has(CUT) {
            item.cut = Stamp::read(from)?;
        }
        if has(BASE) {
            item.base = Some(Key::from(&from.bytes()?));
        }
        item.by = if has(BY) {
            Stamp::read(from)?
        } else {
            item.cut
        };
        let is_cut = has(CUT) != item.by.is_zero() && has(BY) == (item.by > item.cut);
        if !is_cut || item.by < item.cut || (has(BASE) && item.cut.is_zero()) {
            return Err(DecodeError::Impossible("a cut that nobody makes"));
        }
        if has(EXPIRY) {
            let stamp = Stamp::read(from)?;
            let at_ms = has(AT).then(|| from.number()).transpose()?;
            if at_ms.is_some_and(|at_ms| at_ms <= stamp.ms()) {
                return Err(DecodeError::Impossible("an end before it was written"));
            }
            item.expiry = Some(Expiry { stamp, at_ms });
        } else if has(AT) {
            return Err(DecodeError::Impossible("an end that nobody wrote"));
        }
        if has(PARTS) {
            read_parts(from, &mut item)?;
        }
        if has(MEMBERS) {
            read_slots(from, &mut item.members)?;
        }
        if has(FIELDS) {
            read_slots(from, &mut item.fields)?;
        }
        // Whoever keeps items keeps nothing from before their cut.
        let cut = item.cut;
        let is_old = item.expiry.is_some_and(|expiry| expiry.stamp < cut)
            || item.parts.values().any(|part| part.since < cut)
            || item.members.iter().any(|(_, slot)| slot.stamp < cut)
            || item.fields.iter().any(|(_, slot)| slot.stamp < cut);
        if is_old {
            return Err(DecodeError::Impossible("something from before the cut"));
        }
        Ok(item)
    }
}

/// Small numbers of either sign are short.
fn write_total(to: &mut Writer, total: i128) {
    match i64::try_from(total) {
        Ok(total) => {
            let folded = (total << 1) ^ (total >> 63);
            to.byte(0).number(folded.cast_unsigned());
        }
        Err(_) => {
            to.byte(1).raw(&total.to_be_bytes());
        }
    }
}

fn read_total(from: &mut Reader) -> Result<i128, DecodeError> {
    match from.byte()? {
        0 => {
            let folded = from.number()?;
            let total = (folded >> 1).cast_signed() ^ -((folded & 1).cast_signed());
            Ok(total.into())
        }
        1 => {
            let mut total = 0_u128;
            for _ in 0..size_of::<u128>() {
                total = (total << 8) | u128::from(from.byte()?);
            }
            let total = total.cast_signed();
            match i64::try_from(total) {
                Ok(_) => Err(DecodeError::Impossible("a small sum written at length")),
                Err(_) => Ok(total),
            }
        }
        mark => Err(CodecError::Mark(mark).into()),
    }
}

fn read_parts(from: &mut Reader, item: &mut Item) -> Result<(), DecodeError> {
    for _ in 0..some(from.count(PART_BYTES_MIN)?)? {
        let author = Author::read(from)?;
        let part = Part {
            since: Stamp::read(from)?,
            stamp: Stamp::read(from)?,
            total: read_total(from)?,
        };
        let is_next = item
            .parts
            .last_key_value()
            .is_none_or(|(last, _)| *last < author);
        let is_own = [part.since, part.stamp]
            .iter()
            .all(|stamp| stamp.author() == author);
        if !is_next || !is_own || part.stamp < part.since || part.since.is_zero() {
            return Err(DecodeError::Impossible(
                "a part of a counter that nobody writes",
            ));
        }
        item.parts.insert(author, part);
    }
    Ok(())
}

fn write_slots(to: &mut Writer, slots: &Slots) {
    to.length(slots.len());
    for (name, slot) in slots.iter() {
        to.bytes(name);
        slot.stamp.write(to);
        match &slot.value {
            None => to.byte(0),
            Some(value) => to.byte(1).bytes(value),
        };
    }
}

fn read_slots(from: &mut Reader, slots: &mut Slots) -> Result<(), DecodeError> {
    let mut last: Option<Key> = None;
    for _ in 0..some(from.count(SLOT_BYTES_MIN)?)? {
        let name = Key::from(&from.bytes()?);
        let stamp = Stamp::read(from)?;
        let value = match from.byte()? {
            0 => None,
            1 => Some(Key::from(&from.bytes()?)),
            mark => return Err(CodecError::Mark(mark).into()),
        };
        if stamp.is_zero() || last.as_ref().is_some_and(|last| *last >= name) {
            return Err(DecodeError::Impossible(
                "names out of order, or without a stamp",
            ));
        }
        slots.put(name.clone(), Slot { stamp, value });
        last = Some(name);
    }
    Ok(())
}

fn some(count: usize) -> Result<usize, DecodeError> {
    match count {
        0 => Err(DecodeError::Impossible("a row of nothing")),
        count => Ok(count),
    }
}
