//! Sets: members without order, in one of three forms.
//!
//! Small sets of whole numbers are a sorted row of numbers, other small sets a row of bytes,
//! large ones a table. The limits between them are the defaults of Redis ("Memory
//! optimization"), and so is the rule that a set never goes back to a smaller form. The form
//! follows from what was done to the set, so replicas agree on it.

mod integers;

use std::borrow::Cow;

use self::integers::Integers;
use super::{Compact, Table, heap::allocation_bytes, kind, pack::Pack, parse_integer};

/// A row of numbers has at most so many (`set-max-intset-entries`).
const INTEGERS_MAX: usize = 512;
/// A row of bytes has at most so many members (`set-max-listpack-entries`)…
const PACKED_MEMBERS_MAX: usize = 128;
/// …of at most so many bytes each (`set-max-listpack-value`).
const PACKED_MEMBER_BYTES_MAX: usize = 64;

/// A set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Set(Form);

#[derive(Clone, Debug, PartialEq)]
enum Form {
    Integers(Integers),
    Packed(Pack),
    Table(Box<Table<()>>),
}

impl Default for Form {
    fn default() -> Self {
        Form::Integers(Integers::default())
    }
}

kind!(Set, Set, |this| this.is_empty());

/// How a set is kept, for snapshots.
pub(in crate::core) enum SetForm {
    /// Numbers in rising order, and how many bytes each takes.
    Integers(usize, Vec<i64>),
    /// A row.
    Packed(Pack),
    /// A table.
    Table(Table<()>),
}

impl Set {
    /// A set kept in just this way; none if it would not be.
    pub(in crate::core) fn restore(form: SetForm) -> Option<Set> {
        Some(Set(match form {
            SetForm::Integers(width, numbers) if numbers.len() <= INTEGERS_MAX => {
                Form::Integers(Integers::restore(width, &numbers)?)
            }
            SetForm::Packed(pack) if pack.len() <= PACKED_MEMBERS_MAX => Form::Packed(pack),
            SetForm::Table(table) => Form::Table(Box::new(table)),
            SetForm::Integers(..) | SetForm::Packed(_) => return None,
        }))
    }

    /// How many bytes each number takes, and the numbers, where it is a row of those.
    pub(in crate::core) fn integers(&self) -> Option<(usize, impl Iterator<Item = i64>)> {
        match &self.0 {
            Form::Integers(integers) => Some((integers.width(), integers.iter())),
            Form::Packed(_) | Form::Table(_) => None,
        }
    }

    /// An empty set that is about to get so many members, the first of them being this; a good
    /// guess saves the way through the smaller forms.
    pub fn expecting(first: &[u8], members: usize) -> Self {
        Set(match () {
            () if members <= INTEGERS_MAX && parse_integer(first).is_some() => Form::default(),
            () if members <= PACKED_MEMBERS_MAX => Form::Packed(Pack::default()),
            () => Form::Table(Box::default()),
        })
    }

    /// The same for a set that is there already.
    pub fn expect(&mut self, members: usize) {
        let members_max = match &self.0 {
            Form::Integers(_) => INTEGERS_MAX,
            Form::Packed(_) => PACKED_MEMBERS_MAX,
            Form::Table(_) => return,
        };
        if members > members_max {
            self.become_table();
        }
    }

    /// What OBJECT ENCODING answers.
    pub fn encoding(&self) -> &'static str {
        match &self.0 {
            Form::Integers(_) => "intset",
            Form::Packed(_) => "listpack",
            Form::Table(_) => "hashtable",
        }
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Integers(integers) => integers.len(),
            Form::Packed(packed) => packed.len(),
            Form::Table(table) => table.len(),
        }
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether scans take it whole, since it is small.
    pub fn is_small(&self) -> bool {
        !matches!(self.0, Form::Table(_))
    }

    /// Whether the member is there.
    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.0 {
            Form::Integers(integers) => {
                parse_integer(member).is_some_and(|number| integers.contains(number))
            }
            Form::Packed(packed) => find(packed, member).is_some(),
            Form::Table(table) => table.contains_key(member),
        }
    }

    /// Adds a member; false if it was there.
    pub fn insert(&mut self, member: &[u8]) -> bool {
        if let Form::Integers(integers) = &mut self.0 {
            if let Some(number) = parse_integer(member) {
                let new = integers.insert(number);
                if integers.len() > INTEGERS_MAX {
                    self.become_table();
                }
                return new;
            }
            // Numbers have at most 20 digits, so only their count can be too much for a row.
            if integers.len() < PACKED_MEMBERS_MAX && member.len() <= PACKED_MEMBER_BYTES_MAX {
                self.become_packed();
            } else {
                self.become_table();
            }
        }
        if let Form::Packed(packed) = &mut self.0 {
            if find(packed, member).is_some() {
                return false;
            }
            if packed.len() < PACKED_MEMBERS_MAX && member.len() <= PACKED_MEMBER_BYTES_MAX {
                packed.push_back(member);
                return true;
            }
            self.become_table();
        }
        match &mut self.0 {
            Form::Table(table) => table.insert(member.into(), ()).is_none(),
            Form::Integers(_) | Form::Packed(_) => unreachable!("both were left above"),
        }
    }

    /// Takes a member out; false if it was not there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match &mut self.0 {
            Form::Integers(integers) => {
                parse_integer(member).is_some_and(|number| integers.remove(number))
            }
            Form::Packed(packed) => match find(packed, member) {
                Some(place) => {
                    packed.remove(place..place + 1);
                    true
                }
                None => false,
            },
            Form::Table(table) => table.swap_remove(member).is_some(),
        }
    }

    /// Takes out the member at a place of the set's order, if there is one.
    pub fn remove_at(&mut self, place: usize) -> Option<Vec<u8>> {
        match &mut self.0 {
            Form::Integers(integers) => {
                (place < integers.len()).then(|| integers.remove_at(place).to_string().into_bytes())
            }
            Form::Packed(packed) => {
                let member = packed.get(place)?.to_vec();
                packed.remove(place..place + 1);
                Some(member)
            }
            Form::Table(table) => table
                .swap_remove_index(place)
                .map(|(member, ())| member.into_vec()),
        }
    }

    /// The member at a place of the set's order; places are `0..len`.
    pub fn at(&self, place: usize) -> Option<Cow<'_, [u8]>> {
        match &self.0 {
            Form::Table(table) => table
                .get_index(place)
                .map(|(member, ())| Cow::Borrowed(&**member)),
            Form::Integers(integers) => {
                (place < integers.len()).then(|| digits(integers.at(place)))
            }
            Form::Packed(packed) => packed.get(place).map(Cow::Borrowed),
        }
    }

    /// Members in the set's order: numbers in rising order, others as they came, except that
    /// in large sets the last one takes the place of a removed one.
    pub fn iter(&self) -> Box<dyn Iterator<Item = Cow<'_, [u8]>> + '_> {
        match &self.0 {
            Form::Integers(integers) => Box::new(integers.iter().map(digits)),
            Form::Packed(packed) => Box::new(packed.iter().map(Cow::Borrowed)),
            Form::Table(table) => Box::new(table.keys().map(|member| Cow::Borrowed(&**member))),
        }
    }

    /// What it takes of the heap, apart from its own place.
    pub(super) fn heap_bytes(&self) -> usize {
        match &self.0 {
            Form::Integers(integers) => integers.heap_bytes(),
            Form::Packed(packed) => packed.heap_bytes(),
            Form::Table(table) => allocation_bytes(size_of::<Table<()>>()) + table.heap_bytes(),
        }
    }

    fn become_packed(&mut self) {
        let mut packed = Pack::default();
        for member in self.iter() {
            packed.push_back(&member);
        }
        self.0 = Form::Packed(packed);
    }

    /// Makes it a table; nothing else has one form less.
    pub(super) fn become_table(&mut self) {
        let table: Table<()> = self
            .iter()
            .map(|member| (Compact::from(&*member), ()))
            .collect();
        self.0 = Form::Table(Box::new(table));
    }
}

/// Where a member is in a row.
fn find(packed: &Pack, member: &[u8]) -> Option<usize> {
    packed.iter().position(|other| other == member)
}

fn digits<'a>(number: i64) -> Cow<'a, [u8]> {
    Cow::Owned(number.to_string().into_bytes())
}

#[cfg(test)]
mod tests;
