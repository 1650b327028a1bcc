//! Lists: elements in order, quick at both ends.
//!
//! A list is a row of [`Pack`]s of at most [`CHUNK_BYTES_MAX`] each (an element that is larger
//! has one for itself), as Redis's quicklist is: two bytes a short element on top of its own,
//! a push or pop at an end moves at most one chunk's bytes, and finding a place skips whole
//! chunks. The first chunk sits in the list itself, so a short list takes two allocations.

use std::{collections::VecDeque, ops::Range};

use super::{
    heap::{allocation_bytes, sampled_bytes},
    kind,
    pack::Pack,
};

/// So large a chunk is at most, in bytes; Redis's default (`list-max-listpack-size -2`).
const CHUNK_BYTES_MAX: usize = 8 * 1024;

/// A list. One pointer wide, so that strings don't pay for it in every entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct List {
    body: Box<Body>,
}

kind!(List, List, |list| list.is_empty());

/// Chunks are numbered: 0 is `head`, the others are in `rest`. Only `head` can be empty, and
/// only if it is the only one.
#[derive(Clone, Debug, Default, PartialEq)]
struct Body {
    head: Pack,
    rest: VecDeque<Pack>,
    len: usize,
}

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The head.
    Left,
    /// The tail.
    Right,
}

impl List {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.body.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.body.len == 0
    }

    /// What OBJECT ENCODING answers.
    pub fn encoding(&self) -> &'static str {
        if self.body.rest.is_empty() && self.body.head.size_bytes() <= CHUNK_BYTES_MAX {
            "listpack"
        } else {
            "quicklist"
        }
    }

    /// Puts an element at an end.
    pub fn push(&mut self, end: End, item: &[u8]) {
        let Body { head, rest, len } = &mut *self.body;
        *len += 1;
        match end {
            End::Left => {
                if is_full_for(head, item) {
                    rest.push_front(std::mem::take(head));
                }
                head.push_front(item);
            }
            End::Right => {
                let last = rest.back_mut().unwrap_or(head);
                if is_full_for(last, item) {
                    rest.push_back([item].into_iter().collect());
                } else {
                    last.push_back(item);
                }
            }
        }
    }

    /// Takes the element at an end out.
    pub fn pop(&mut self, end: End) -> Option<Vec<u8>> {
        let place = match end {
            End::Left => 0,
            End::Right => self.len().checked_sub(1)?,
        };
        let item = self.get(place)?.to_vec();
        self.remove(place..place + 1);
        Some(item)
    }

    /// The element at a place.
    pub fn get(&self, place: usize) -> Option<&[u8]> {
        if place >= self.len() {
            return None;
        }
        let (chunk, place) = self.locate(place);
        self.chunk(chunk)?.get(place)
    }

    /// The elements in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        let rest = self.body.rest.iter().flat_map(Pack::iter);
        self.body.head.iter().chain(rest)
    }

    /// The elements from a place on.
    pub fn iter_from(&self, place: usize) -> impl Iterator<Item = &[u8]> {
        let (chunk, place) = self.locate(place);
        (chunk..self.chunks())
            .filter_map(|chunk| self.chunk(chunk))
            .flat_map(Pack::iter)
            .skip(place)
    }

    /// Puts another element in the place of one that is there.
    pub fn set(&mut self, place: usize, item: &[u8]) {
        let (chunk, place) = self.locate(place);
        self.chunk_mut(chunk).replace(place, item);
        self.split(chunk);
    }

    /// Puts an element before the one at a place, or at the end.
    pub fn insert(&mut self, place: usize, item: &[u8]) {
        if place == self.len() {
            return self.push(End::Right, item);
        }
        let (chunk, place) = self.locate(place);
        self.chunk_mut(chunk).insert(place, item);
        self.body.len += 1;
        self.split(chunk);
    }

    /// Takes the elements of these places out; both ends are at most the length.
    pub fn remove(&mut self, places: Range<usize>) {
        let (mut chunk, mut place) = self.locate(places.start);
        let mut left = places.len();
        self.body.len -= left;
        while left > 0 {
            let pack = self.chunk_mut(chunk);
            let here = left.min(pack.len() - place);
            pack.remove(place..place + here);
            left -= here;
            if pack.is_empty() {
                self.drop_chunk(chunk);
            } else {
                chunk += 1;
            }
            place = 0;
        }
    }

    /// Takes out elements that are equal to this one: the first `count` from an end. How many.
    pub fn remove_equal(&mut self, item: &[u8], count: usize, end: End) -> usize {
        let body = std::mem::take(&mut *self.body);
        let mut chunks: Vec<Pack> = std::iter::once(body.head).chain(body.rest).collect();
        let mut left = count;
        let mut weed = |pack: &mut Pack| {
            let equal = pack.iter().filter(|other| *other == item).count();
            let out = equal.min(left);
            if out == 0 {
                return;
            }
            left -= out;
            let places = match end {
                End::Left => 0..out,
                End::Right => equal - out..equal,
            };
            let mut met = 0;
            let kept = pack.iter().filter(|other| {
                let is_equal = *other == item;
                let goes = is_equal && places.contains(&met);
                met += usize::from(is_equal);
                !goes
            });
            *pack = kept.collect();
        };
        match end {
            End::Left => chunks.iter_mut().for_each(&mut weed),
            End::Right => chunks.iter_mut().rev().for_each(&mut weed),
        }
        let removed = count - left;
        self.body.rest = merge(chunks);
        self.body.head = self.body.rest.pop_front().unwrap_or_default();
        self.body.len = body.len - removed;
        removed
    }

    /// What it takes of the heap, judged by so many of its chunks.
    pub(super) fn heap_bytes(&self, samples: usize) -> usize {
        let Body { head, rest, .. } = &*self.body;
        // The last one is the one that grows.
        let last = rest.back().map_or(0, Pack::heap_bytes);
        let others = rest.len().saturating_sub(1);
        let step = others.div_ceil(samples.max(1)).max(1);
        let sampled = rest.iter().take(others).step_by(step);
        allocation_bytes(size_of::<Body>())
            + head.heap_bytes()
            + allocation_bytes(rest.capacity() * size_of::<Pack>())
            + sampled_bytes(others, sampled.map(Pack::heap_bytes))
            + last
    }

    /// The rows that it is made of, in order.
    pub(in crate::core) fn packs(&self) -> impl Iterator<Item = &Pack> {
        std::iter::once(&self.body.head).chain(&self.body.rest)
    }

    /// A list of these rows; none if there can be no such list.
    pub(in crate::core) fn restore(packs: Vec<Pack>) -> Option<List> {
        if packs.iter().any(Pack::is_empty) {
            return None;
        }
        let len = packs.iter().map(Pack::len).sum();
        let mut rest = VecDeque::from(packs);
        let head = rest.pop_front()?;
        let body = Box::new(Body { head, rest, len });
        Some(List { body })
    }

    fn chunks(&self) -> usize {
        1 + self.body.rest.len()
    }

    fn chunk(&self, chunk: usize) -> Option<&Pack> {
        match chunk.checked_sub(1) {
            None => Some(&self.body.head),
            Some(place) => self.body.rest.get(place),
        }
    }

    fn chunk_mut(&mut self, chunk: usize) -> &mut Pack {
        match chunk.checked_sub(1) {
            None => &mut self.body.head,
            Some(place) => &mut self.body.rest[place],
        }
    }

    fn drop_chunk(&mut self, chunk: usize) {
        match chunk.checked_sub(1) {
            None => self.body.head = self.body.rest.pop_front().unwrap_or_default(),
            Some(place) => drop(self.body.rest.remove(place)),
        }
    }

    /// The chunk that holds a place, and the place in it, seen from the nearer end. The place
    /// after the last element is in the last chunk.
    fn locate(&self, place: usize) -> (usize, usize) {
        let len_of = |chunk: usize| self.chunk(chunk).map_or(0, Pack::len);
        if place < self.len() / 2 {
            let mut left = place;
            let mut chunk = 0;
            while left >= len_of(chunk) && chunk + 1 < self.chunks() {
                left -= len_of(chunk);
                chunk += 1;
            }
            (chunk, left)
        } else {
            let mut begin = self.len();
            let mut chunk = self.chunks();
            while chunk > 0 {
                chunk -= 1;
                begin -= len_of(chunk);
                if begin <= place {
                    break;
                }
            }
            (chunk, place - begin)
        }
    }

    /// Splits a chunk that has grown too large into two, and those again.
    fn split(&mut self, chunk: usize) {
        let mut todo = vec![chunk];
        while let Some(chunk) = todo.pop() {
            let pack = self.chunk_mut(chunk);
            if pack.size_bytes() > CHUNK_BYTES_MAX && pack.len() > 1 {
                let tail = pack.split_off(pack.len() / 2);
                self.body.rest.insert(chunk, tail);
                // The later one first: it doesn't move when the earlier one is split.
                todo.extend([chunk, chunk + 1]);
            }
        }
    }
}

/// Whether a chunk has no room for one more element.
fn is_full_for(chunk: &Pack, item: &[u8]) -> bool {
    !chunk.is_empty() && chunk.size_bytes() + Pack::item_bytes(item) > CHUNK_BYTES_MAX
}

/// Without empty chunks, and with neighbours joined where they are small.
fn merge(chunks: Vec<Pack>) -> VecDeque<Pack> {
    let mut merged: VecDeque<Pack> = VecDeque::new();
    for chunk in chunks.into_iter().filter(|chunk| !chunk.is_empty()) {
        match merged.back_mut() {
            Some(last) if last.size_bytes() + chunk.size_bytes() <= CHUNK_BYTES_MAX / 2 => {
                chunk.iter().for_each(|item| last.push_back(item));
            }
            _ => merged.push_back(chunk),
        }
    }
    merged
}

#[cfg(test)]
mod tests;
