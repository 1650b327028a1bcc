//! An item in parts of a bounded size. Each is a delta of it, and all together are the item.

use super::{
    Item, Slots,
    slots::{SLOT_BYTES, slot_bytes},
};
use crate::core::data::Key;

/// How far an item was told: all up to this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Of members of a set; fields come after all of them.
    Member(Key),
    /// Of fields of a hash.
    Field(Key),
}

impl Item {
    /// The part of the item after a place, of about so many bytes and at least one register; and
    /// up to where it goes, if that is not the end. What is no register is in the first.
    pub fn piece(&self, after: Option<&Place>, bytes_max: usize) -> (Item, Option<Place>) {
        let mut piece = Item::default();
        let mut room = bytes_max;
        if after.is_none() {
            (piece.cut, piece.by, piece.expiry) = (self.cut, self.by, self.expiry);
            piece.base = self.base.clone();
            piece.parts = self.parts.clone();
            room = room.saturating_sub(self.head_bytes());
        }
        let (member, field) = match after {
            None => (None, None),
            Some(Place::Member(name)) => (Some(name), None),
            Some(Place::Field(name)) => (None, Some(name)),
        };
        if field.is_none()
            && let Some(last) = take(&self.members, &mut piece.members, member, &mut room)
        {
            return (piece, Some(Place::Member(last)));
        }
        let last = take(&self.fields, &mut piece.fields, field, &mut room);
        (piece, last.map(Place::Field))
    }

    /// About what all but the registers take, in bytes.
    fn head_bytes(&self) -> usize {
        let base = self.base.as_ref().map_or(0, |base| base.len());
        base + (2 + 2 * self.parts.len()) * SLOT_BYTES
    }

    /// About what it takes when it is sent, in bytes.
    pub fn bytes(&self) -> usize {
        self.head_bytes() + self.members.bytes() + self.fields.bytes()
    }
}

/// Takes registers while there is room, and at least one. The last one's name, if there are more.
fn take(from: &Slots, to: &mut Slots, after: Option<&Key>, room: &mut usize) -> Option<Key> {
    let mut last: Option<&Key> = None;
    for (name, slot) in from.after(after) {
        let bytes = slot_bytes(name, slot.value.as_ref());
        if *room < bytes && last.is_some() {
            return last.cloned();
        }
        *room = room.saturating_sub(bytes);
        to.put(name.clone(), slot.clone());
        last = Some(name);
    }
    None
}
