//! What is seen of an item.

use super::{
    super::{author::Author, clock::Stamp},
    Item, Part, Slots,
};
use crate::core::data::{Key, Milliseconds, parse_integer};

/// The types that an item can be seen as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes, or a counter.
    String,
    /// Members without order.
    Set,
    /// Fields with values.
    Hash,
}

impl Kind {
    /// What TYPE answers.
    pub fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::Set => "set",
            Kind::Hash => "hash",
        }
    }
}

/// An item at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Live<'a> {
    item: &'a Item,
    /// The item's cut, or the end of what has ended.
    cut: Stamp,
}

impl<'a> Live<'a> {
    pub(super) fn new(item: &'a Item, moment_ms: Milliseconds) -> Self {
        let end = item.expiry.and_then(|expiry| expiry.at_ms);
        let end = end.filter(|at_ms| *at_ms <= moment_ms);
        let cut = end.map_or(Stamp::ZERO, Stamp::of_moment).max(item.cut);
        Live { item, cut }
    }

    /// The end that the next write has to cut at, if the key has ended and it was not cut yet.
    pub(in crate::core::eventual) fn end(&self) -> Option<Stamp> {
        (self.cut > self.item.cut).then_some(self.cut)
    }

    /// What the counter's parts are counted from, as a delta: the cut, and the string there.
    pub(in crate::core::eventual) fn origin(&self) -> Item {
        let mut origin = Item::default();
        let (cut, by) = (self.item.cut, self.item.by);
        if !by.is_zero() && self.cut == cut {
            origin.cut_at(cut, self.item.base.clone(), by);
        }
        origin
    }

    /// The type that was written to last, of those of which something is there. None if the key
    /// is not there.
    pub fn kind(&self) -> Option<Kind> {
        let counts = self.parts().map(|part| part.stamp).max();
        let base = self.base().map(|_| self.cut);
        let all = [
            (counts.max(base), Kind::String),
            (self.newest(&self.item.members), Kind::Set),
            (self.newest(&self.item.fields), Kind::Hash),
        ];
        let mut there = all.into_iter().filter(|(newest, _)| newest.is_some());
        let first = there.next()?;
        // Equal stamps come only from a mistake; the first of them is seen everywhere.
        let seen = there.fold(
            first,
            |seen, next| if next.0 > seen.0 { next } else { seen },
        );
        Some(seen.1)
    }

    /// Whether more than one type is there: all but the newest are hidden.
    pub(in crate::core::eventual) fn hides(&self) -> bool {
        let string = self.base().is_some() || self.parts().next().is_some();
        let slots = [&self.item.members, &self.item.fields];
        let others = slots.map(|slots| self.present(slots).next().is_some());
        usize::from(string) + others.into_iter().map(usize::from).sum::<usize>() > 1
    }

    /// The newest present register's stamp. Where nothing else is there it doesn't matter which
    /// it is, and the first is quickly found.
    fn newest(&self, slots: &'a Slots) -> Option<Stamp> {
        let mut present = self.present(slots).map(|(_, stamp, _)| stamp);
        let alone = self.item.base.is_none()
            && self.item.parts.is_empty()
            && (self.item.members.is_empty() || self.item.fields.is_empty());
        if alone { present.next() } else { present.max() }
    }

    fn present(
        &self,
        slots: &'a Slots,
    ) -> impl Iterator<Item = (&'a Key, Stamp, &'a Key)> + use<'a> {
        let cut = self.cut;
        slots
            .iter()
            .filter(move |(_, slot)| slot.stamp >= cut)
            .filter_map(|(name, slot)| Some((name, slot.stamp, slot.value.as_ref()?)))
    }

    fn base(&self) -> Option<&'a Key> {
        self.item
            .base
            .as_ref()
            .filter(|_| self.cut == self.item.cut)
    }

    fn parts(&self) -> impl Iterator<Item = &'a Part> + use<'a> {
        let cut = self.cut;
        self.item
            .parts
            .values()
            .filter(move |part| part.since >= cut)
    }

    /// An author's part, if it may go on.
    pub(in crate::core::eventual) fn part(&self, of: Author) -> Option<Part> {
        let part = self.item.parts.get(&of).copied();
        part.filter(|part| part.since >= self.cut)
    }

    /// The string: what was set, with all that was added since where that was a number. Sums
    /// beyond 64 bits, which take more than one replica, are shown as the nearest number.
    pub fn string(&self) -> Option<Key> {
        match self.sum() {
            Some(sum) if self.parts().next().is_some() => {
                let shown = sum.clamp(i64::MIN.into(), i64::MAX.into());
                Some(shown.to_string().into_bytes().into())
            }
            _ => self.base().cloned(),
        }
    }

    /// The counter's sum; 0 where nothing is. None where a string is that is no number: what was
    /// added to it, by replicas that had yet to hear of it, counts for nothing.
    pub fn sum(&self) -> Option<i128> {
        let base = match self.base() {
            None => 0,
            Some(base) => i128::from(parse_integer(base)?),
        };
        Some(
            self.parts()
                .fold(base, |sum, part| sum.saturating_add(part.total)),
        )
    }

    /// Members, in order.
    pub fn members(&self) -> impl Iterator<Item = &'a Key> + use<'a> {
        self.present(&self.item.members).map(|(name, ..)| name)
    }

    /// Number of members.
    pub fn members_len(&self) -> usize {
        self.len(&self.item.members)
    }

    /// Whether this is a member.
    pub fn has_member(&self, member: &[u8]) -> bool {
        self.value(&self.item.members, member).is_some()
    }

    /// Fields and their values, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&'a Key, &'a Key)> + use<'a> {
        let fields = self.present(&self.item.fields);
        fields.map(|(name, _, value)| (name, value))
    }

    /// Number of fields.
    pub fn fields_len(&self) -> usize {
        self.len(&self.item.fields)
    }

    /// A field's value.
    pub fn field(&self, field: &[u8]) -> Option<&'a Key> {
        self.value(&self.item.fields, field)
    }

    fn len(&self, slots: &'a Slots) -> usize {
        match self.cut == self.item.cut {
            true => slots.present(),
            false => self.present(slots).count(),
        }
    }

    fn value(&self, slots: &'a Slots, name: &[u8]) -> Option<&'a Key> {
        let slot = slots.get(name).filter(|slot| slot.stamp >= self.cut)?;
        slot.value.as_ref()
    }

    /// When the key ends, if it does.
    pub fn expires_at_ms(&self) -> Option<Milliseconds> {
        let expiry = self.item.expiry.filter(|expiry| expiry.stamp >= self.cut)?;
        expiry.at_ms
    }
}
