//! Hashes: fields with values, each of which may end.
//!
//! A small hash is one [`Pack`] of fields and values in turn, in order of arrival, and is
//! searched by walking: five short fields take one allocation. A hash of more fields than
//! [`PACKED_FIELDS_MAX`], or with a longer word than [`PACKED_BYTES_MAX`], becomes a table for
//! good. Both limits are Redis's defaults (`hash-max-listpack-entries`, `-value`).
//!
//! Fields that have ended are still here until an entry of the log takes them out
//! ([`Hash::remove_ended`]); whoever reads says what time it is and doesn't see them.

mod expiries;

use bytes::Bytes;

use super::{Compact, Key, Milliseconds, Table, heap::allocation_bytes, kind, pack::Pack};
use expiries::Expiries;

/// So many fields a small hash has at most.
const PACKED_FIELDS_MAX: usize = 128;

/// So long a word of a small hash is at most, in bytes.
const PACKED_BYTES_MAX: usize = 64;

/// A hash. One pointer wide, so that strings don't pay for it in every entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hash {
    body: Box<Body>,
}

kind!(Hash, Hash, |hash| hash.stored() == 0);

#[derive(Clone, Debug, Default, PartialEq)]
struct Body {
    fields: Fields,
    expiries: Option<Box<Expiries>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Fields {
    /// Field, value, field, value…
    Packed(Pack),
    Table(Box<Table<Compact>>),
}

impl Default for Fields {
    fn default() -> Self {
        Fields::Packed(Pack::default())
    }
}

impl Hash {
    /// Number of fields, those included that have ended.
    pub fn stored(&self) -> usize {
        match &self.body.fields {
            Fields::Packed(pack) => pack.len() / 2,
            Fields::Table(table) => table.len(),
        }
    }

    /// Number of fields that have not ended.
    pub fn len(&self, now_ms: Milliseconds) -> usize {
        let ended = self.body.expiries.as_ref();
        self.stored() - ended.map_or(0, |expiries| expiries.ended(now_ms).count())
    }

    /// Whether every field has ended.
    pub fn is_empty(&self, now_ms: Milliseconds) -> bool {
        self.len(now_ms) == 0
    }

    /// The field's value, unless it has ended.
    pub fn get(&self, field: &[u8], now_ms: Milliseconds) -> Option<&[u8]> {
        if self.has_field_ended(field, now_ms) {
            return None;
        }
        match &self.body.fields {
            Fields::Packed(pack) => pairs(pack)
                .find(|(other, _)| *other == field)
                .map(|(_, value)| value),
            Fields::Table(table) => table.get(field).map(AsRef::as_ref),
        }
    }

    /// Fields and values that have not ended, in order.
    pub fn iter(&self, now_ms: Milliseconds) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.iter_stored()
            .filter(move |(field, _)| !self.has_field_ended(field, now_ms))
    }

    /// Fields and values in order, those included that have ended.
    pub fn iter_stored(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let (pack, table) = match &self.body.fields {
            Fields::Packed(pack) => (Some(pack), None),
            Fields::Table(table) => (None, Some(table)),
        };
        let packed = pack.into_iter().flat_map(pairs);
        let table = table.into_iter().flat_map(|table| table.iter());
        packed.chain(table.map(|(field, value)| (field.as_ref(), value.as_ref())))
    }

    /// The field and value at a place of a table's order, whether or not the field has ended;
    /// nothing for a small hash, which is scanned whole.
    pub fn at(&self, place: usize) -> Option<(&[u8], &[u8])> {
        match &self.body.fields {
            Fields::Packed(_) => None,
            Fields::Table(table) => table
                .get_index(place)
                .map(|(field, value)| (field.as_ref(), value.as_ref())),
        }
    }

    /// Whether this is a small hash.
    pub fn is_packed(&self) -> bool {
        matches!(self.body.fields, Fields::Packed(_))
    }

    /// What OBJECT ENCODING answers.
    pub fn encoding(&self) -> &'static str {
        match (&self.body.fields, &self.body.expiries) {
            (Fields::Packed(_), None) => "listpack",
            (Fields::Packed(_), Some(_)) => "listpackex",
            (Fields::Table(_), _) => "hashtable",
        }
    }

    /// Sets a field, which from now on never ends; whether it is new.
    pub fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        self.expire_at(field, None);
        self.set_value(field, value)
    }

    /// Sets a field's value and lets it end when it did; whether it is new.
    pub fn set_value(&mut self, field: &[u8], value: &[u8]) -> bool {
        if let Fields::Packed(pack) = &mut self.body.fields {
            let short = field.len().max(value.len()) <= PACKED_BYTES_MAX;
            match find(pack, field) {
                Some(place) if short => {
                    pack.replace(2 * place + 1, value);
                    return false;
                }
                None if short && pack.len() / 2 < PACKED_FIELDS_MAX => {
                    pack.push_back(field);
                    pack.push_back(value);
                    return true;
                }
                _ => self.unpack(),
            }
        }
        match &mut self.body.fields {
            Fields::Table(table) => table.insert(field.into(), value.into()).is_none(),
            Fields::Packed(_) => unreachable!("it was just unpacked"),
        }
    }

    /// Takes a field out; whether it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        self.expire_at(field, None);
        match &mut self.body.fields {
            Fields::Packed(pack) => match find(pack, field) {
                Some(place) => {
                    pack.remove(2 * place..2 * place + 2);
                    true
                }
                None => false,
            },
            Fields::Table(table) => table.swap_remove(field).is_some(),
        }
    }

    /// Makes it a table, if it is none yet. A hash that is read back from a snapshot has to be
    /// what it was, since the two forms differ in what a removal does to the order.
    pub fn unpack(&mut self) {
        if self.is_packed() {
            let fields = self.iter_stored();
            let table: Table<Compact> =
                fields.map(|(field, value)| (field, value.into())).collect();
            self.body.fields = Fields::Table(Box::new(table));
        }
    }

    /// When the field ends, if it does.
    pub fn expires_at(&self, field: &[u8]) -> Option<Milliseconds> {
        self.body.expiries.as_ref()?.by_field.get(field).copied()
    }

    /// Says when the field, which is there, ends; never, if none.
    pub fn expire_at(&mut self, field: &[u8], at_ms: Option<Milliseconds>) {
        if at_ms.is_some() || self.body.expiries.is_some() {
            let expiries = self.body.expiries.get_or_insert_default();
            expiries.set(field, at_ms);
        }
    }

    /// A hash with these fields, values and ends, in order, small or not; none if there can be
    /// no such hash.
    pub(in crate::core) fn restore(
        is_packed: bool,
        fields: &[(Bytes, Bytes, Option<Milliseconds>)],
    ) -> Option<Hash> {
        if is_packed && fields.len() > PACKED_FIELDS_MAX {
            return None;
        }
        let mut hash = Hash::default();
        hash.body.fields = if is_packed {
            let words = fields.iter().flat_map(|(field, value, _)| [field, value]);
            Fields::Packed(words.collect())
        } else {
            let mut table = Table::default();
            for (field, value, _) in fields {
                if table.insert(field.into(), value.into()).is_some() {
                    return None;
                }
            }
            Fields::Table(Box::new(table))
        };
        for (field, _, at_ms) in fields {
            hash.expire_at(field, *at_ms);
        }
        Some(hash)
    }

    /// What it takes of the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let fields = match &self.body.fields {
            Fields::Packed(pack) => pack.heap_bytes(),
            Fields::Table(table) => {
                allocation_bytes(size_of::<Table<Compact>>()) + table.heap_bytes()
            }
        };
        let expiries = self.body.expiries.as_ref();
        let expiries = expiries.map_or(0, |expiries| expiries.heap_bytes());
        allocation_bytes(size_of::<Body>()) + fields + expiries
    }

    fn has_field_ended(&self, field: &[u8], now_ms: Milliseconds) -> bool {
        self.expires_at(field).is_some_and(|at_ms| at_ms < now_ms)
    }

    /// Whether any field ends, or the database's index still thinks so.
    pub(in crate::core) fn may_end(&self) -> bool {
        self.body.expiries.is_some()
    }

    /// Whether any field has ended.
    pub fn has_ended_fields(&self, now_ms: Milliseconds) -> bool {
        let expiries = self.body.expiries.as_ref();
        expiries
            .and_then(|expiries| expiries.earliest())
            .is_some_and(|at_ms| at_ms < now_ms)
    }

    /// Takes out the fields that have ended; how many.
    pub fn remove_ended(&mut self, now_ms: Milliseconds) -> usize {
        let Some(expiries) = &self.body.expiries else {
            return 0;
        };
        let ended: Vec<Key> = expiries.ended(now_ms).cloned().collect();
        for field in &ended {
            self.remove(field);
        }
        ended.len()
    }

    /// What the database's index has noted, and what it has to note from now on: when the first
    /// field ends.
    pub(in crate::core) fn reindex(&mut self) -> (Option<Milliseconds>, Option<Milliseconds>) {
        let Some(expiries) = &mut self.body.expiries else {
            return (None, None);
        };
        let earliest = expiries.earliest();
        let before = std::mem::replace(&mut expiries.indexed_ms, earliest);
        if earliest.is_none() {
            self.body.expiries = None;
        }
        (before, earliest)
    }

    /// What the database's index has noted; from now on it has noted nothing.
    pub(in crate::core) fn leave_index(&mut self) -> Option<Milliseconds> {
        let expiries = self.body.expiries.as_mut()?;
        expiries.indexed_ms.take()
    }
}

/// A pack's words two by two.
fn pairs(pack: &Pack) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut words = pack.iter();
    std::iter::from_fn(move || Some((words.next()?, words.next()?)))
}

/// Which pair of a pack has this field.
fn find(pack: &Pack, field: &[u8]) -> Option<usize> {
    pairs(pack).position(|(other, _)| other == field)
}

#[cfg(test)]
mod tests;
