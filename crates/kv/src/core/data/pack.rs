//! A row of short strings in one allocation: what small hashes, chunks of lists and entries of
//! streams are kept in.
//!
//! An item is its length, its bytes, and its length again, so that the row can be walked from
//! both ends. A length below 255 takes one byte, a longer one five: about what Redis's listpacks
//! take. Items are found by walking, so rows are kept short by those who use them.

use super::heap::allocation_bytes;

/// Lengths from here on are written as this mark and four bytes.
const LONG: u8 = u8::MAX;

/// A row of strings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pack {
    bytes: Vec<u8>,
    items: u32,
}

impl Pack {
    /// Number of items.
    pub fn len(&self) -> usize {
        self.items as usize
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// What the items take, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// What the row takes of the heap, in bytes.
    pub fn heap_bytes(&self) -> usize {
        allocation_bytes(self.bytes.capacity())
    }

    /// What one item takes, in bytes.
    pub fn item_bytes(item: &[u8]) -> usize {
        item.len() + 2 * frame_bytes(item.len())
    }

    /// The items in order.
    pub fn iter(&self) -> PackIter<'_> {
        PackIter { rest: &self.bytes }
    }

    /// The item at a place.
    pub fn get(&self, place: usize) -> Option<&[u8]> {
        if place >= self.len() {
            return None;
        }
        let at = self.offset(place);
        PackIter {
            rest: &self.bytes[at..],
        }
        .next()
    }

    /// Puts an item before the one at `place`, or at the end where `place` is the length.
    pub fn insert(&mut self, place: usize, item: &[u8]) {
        let at = self.offset(place);
        self.splice(at, at, Some(item));
        self.items += 1;
    }

    /// Puts an item at the end.
    pub fn push_back(&mut self, item: &[u8]) {
        self.splice(self.bytes.len(), self.bytes.len(), Some(item));
        self.items += 1;
    }

    /// Puts an item at the beginning.
    pub fn push_front(&mut self, item: &[u8]) {
        self.splice(0, 0, Some(item));
        self.items += 1;
    }

    /// Puts another item in the place of the one at `place`, which exists.
    pub fn replace(&mut self, place: usize, item: &[u8]) {
        let (from, to) = (self.offset(place), self.offset(place + 1));
        self.splice(from, to, Some(item));
    }

    /// Takes the items of these places out; both ends are at most the length.
    pub fn remove(&mut self, places: std::ops::Range<usize>) {
        let (from, to) = (self.offset(places.start), self.offset(places.end));
        self.splice(from, to, None);
        self.items -= u32::try_from(places.len()).unwrap_or(self.items);
    }

    /// Takes out the items from `place` on, as a row of their own.
    pub fn split_off(&mut self, place: usize) -> Pack {
        let at = self.offset(place);
        let tail = Pack {
            bytes: self.bytes[at..].to_vec(),
            items: self.items - u32::try_from(place).unwrap_or(self.items),
        };
        self.bytes.truncate(at);
        self.bytes.shrink_to_fit();
        self.items -= tail.items;
        tail
    }

    /// Where the item at `place` begins, walking from the nearer end.
    fn offset(&self, place: usize) -> usize {
        assert!(place <= self.len(), "a place beyond the row");
        let mut walk = self.iter();
        if place <= self.len() / 2 {
            walk.by_ref().take(place).for_each(drop);
            self.bytes.len() - walk.rest.len()
        } else {
            walk.by_ref().rev().take(self.len() - place).for_each(drop);
            walk.rest.len()
        }
    }

    /// Puts an item, or nothing, where the bytes `from..to` were.
    fn splice(&mut self, from: usize, to: usize, item: Option<&[u8]>) {
        let length = item.map_or(0, Pack::item_bytes);
        let old_bytes = self.bytes.len();
        let new_bytes = old_bytes - (to - from) + length;
        if new_bytes > old_bytes {
            self.reserve(new_bytes - old_bytes);
            self.bytes.resize(new_bytes, 0);
            self.bytes.copy_within(to..old_bytes, from + length);
        } else {
            self.bytes.copy_within(to..old_bytes, from + length);
            self.bytes.truncate(new_bytes);
            // What is kept for nothing must not outweigh what is kept.
            if self.bytes.capacity() > 2 * new_bytes + 64 {
                self.bytes.shrink_to_fit();
            }
        }
        if let Some(item) = item {
            write(&mut self.bytes[from..from + length], item);
        }
    }

    /// Room for more, with an eighth to spare: rows are many, and doubling wastes a third.
    fn reserve(&mut self, more: usize) {
        if self.bytes.capacity() - self.bytes.len() < more {
            self.bytes.reserve_exact(more.max(self.bytes.len() / 8));
        }
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized + 'a> FromIterator<&'a T> for Pack {
    fn from_iter<I: IntoIterator<Item = &'a T>>(items: I) -> Self {
        let mut pack = Pack::default();
        for item in items {
            pack.push_back(item.as_ref());
        }
        pack.bytes.shrink_to_fit();
        pack
    }
}

/// What a length takes, written once.
fn frame_bytes(length: usize) -> usize {
    if length < usize::from(LONG) { 1 } else { 5 }
}

/// Writes an item into exactly the bytes that it takes.
fn write(place: &mut [u8], item: &[u8]) {
    let frame = frame_bytes(item.len());
    let (head, rest) = place.split_at_mut(frame);
    let (content, tail) = rest.split_at_mut(item.len());
    content.copy_from_slice(item);
    match u8::try_from(item.len()) {
        Ok(length) if length < LONG => {
            head[0] = length;
            tail[0] = length;
        }
        _ => {
            let Ok(length) = u32::try_from(item.len()) else {
                unreachable!("no word of a command is 4 GiB long");
            };
            head[0] = LONG;
            head[1..].copy_from_slice(&length.to_le_bytes());
            tail[..4].copy_from_slice(&length.to_le_bytes());
            tail[4] = LONG;
        }
    }
}

/// The items of a [`Pack`], from both ends.
#[derive(Clone, Debug)]
pub struct PackIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for PackIter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let length = match *self.rest {
            [] => return None,
            [LONG, a, b, c, d, ..] => u32::from_le_bytes([a, b, c, d]) as usize,
            [short, ..] => usize::from(short),
        };
        let frame = frame_bytes(length);
        let (item, rest) = self.rest.split_at(length + 2 * frame);
        self.rest = rest;
        Some(&item[frame..frame + length])
    }
}

impl DoubleEndedIterator for PackIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let length = match *self.rest {
            [] => return None,
            [.., a, b, c, d, LONG] => u32::from_le_bytes([a, b, c, d]) as usize,
            [.., short] => usize::from(short),
        };
        let frame = frame_bytes(length);
        let (rest, item) = self.rest.split_at(self.rest.len() - (length + 2 * frame));
        self.rest = rest;
        Some(&item[frame..frame + length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(usize, Vec<u8>),
        Front(Vec<u8>),
        Back(Vec<u8>),
        Replace(usize, Vec<u8>),
        Remove(usize, usize),
        Split(usize),
    }

    fn item() -> impl Strategy<Value = Vec<u8>> {
        // Around the length from which on lengths take five bytes, and plain short ones.
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..9),
            (253_usize..258).prop_map(|length| vec![LONG; length]),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        let place = 0_usize..40;
        prop_oneof![
            (place.clone(), item()).prop_map(|(at, item)| Step::Insert(at, item)),
            item().prop_map(Step::Front),
            item().prop_map(Step::Back),
            (place.clone(), item()).prop_map(|(at, item)| Step::Replace(at, item)),
            (place.clone(), 0_usize..4).prop_map(|(at, items)| Step::Remove(at, items)),
            place.prop_map(Step::Split),
        ]
    }

    proptest! {
        #[test]
        fn a_pack_is_a_row(steps in proptest::collection::vec(step(), 0..60)) {
            let mut model: Vec<Vec<u8>> = Vec::new();
            let mut pack = Pack::default();
            for step in steps {
                match step {
                    Step::Insert(at, item) => {
                        let at = at.min(model.len());
                        pack.insert(at, &item);
                        model.insert(at, item);
                    }
                    Step::Front(item) => {
                        pack.push_front(&item);
                        model.insert(0, item);
                    }
                    Step::Back(item) => {
                        pack.push_back(&item);
                        model.push(item);
                    }
                    Step::Replace(at, item) if at < model.len() => {
                        pack.replace(at, &item);
                        model[at] = item;
                    }
                    Step::Replace(..) => {}
                    Step::Remove(at, items) => {
                        let from = at.min(model.len());
                        let to = (from + items).min(model.len());
                        pack.remove(from..to);
                        model.drain(from..to);
                    }
                    Step::Split(at) => {
                        let at = at.min(model.len());
                        let tail = pack.split_off(at);
                        prop_assert!(tail.iter().eq(model[at..].iter()));
                        prop_assert_eq!(tail.len(), model.len() - at);
                        model.truncate(at);
                    }
                }
                prop_assert_eq!(pack.len(), model.len());
                prop_assert!(pack.iter().eq(model.iter()));
                prop_assert!(pack.iter().rev().eq(model.iter().rev()));
                prop_assert!((0..=model.len()).all(|at| pack.get(at) == model.get(at).map(Vec::as_slice)));
                let bytes: usize = model.iter().map(|item| Pack::item_bytes(item)).sum();
                prop_assert_eq!(pack.size_bytes(), bytes);
            }
            prop_assert_eq!(&model.iter().collect::<Pack>(), &pack);
        }
    }
}
