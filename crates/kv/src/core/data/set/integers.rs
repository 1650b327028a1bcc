//! Sets of whole numbers: in rising order, each in as many bytes as the widest one needs.

use crate::core::data::heap::allocation_bytes;

/// Spare bytes are at most a fraction of this of what is used, since small sets are many.
const SPARE_FRACTION: usize = 8;

/// Numbers in rising order. Once wide, they stay wide, as in Redis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Integers {
    /// Bytes of each: 2, 4 or 8.
    width: usize,
    /// The numbers, little-endian.
    bytes: Vec<u8>,
}

impl Default for Integers {
    fn default() -> Self {
        Integers {
            width: 2,
            bytes: Vec::new(),
        }
    }
}

fn width_of(number: i64) -> usize {
    match () {
        () if i16::try_from(number).is_ok() => 2,
        () if i32::try_from(number).is_ok() => 4,
        () => 8,
    }
}

impl Integers {
    /// As a snapshot tells of it: bytes of each, and the numbers; none if there can be no such
    /// row.
    pub(super) fn restore(width: usize, numbers: &[i64]) -> Option<Integers> {
        let rises = numbers.is_sorted_by(|one, next| one < next);
        let fits = numbers.iter().all(|number| width_of(*number) <= width);
        if !matches!(width, 2 | 4 | 8) || !rises || !fits {
            return None;
        }
        let bytes = numbers
            .iter()
            .flat_map(|number| number.to_le_bytes().into_iter().take(width))
            .collect();
        Some(Integers { width, bytes })
    }

    pub(super) fn heap_bytes(&self) -> usize {
        allocation_bytes(self.bytes.capacity())
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() / self.width
    }

    /// The number at a place below the length.
    pub(super) fn at(&self, place: usize) -> i64 {
        let bytes = &self.bytes[place * self.width..(place + 1) * self.width];
        let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..self.width].copy_from_slice(bytes);
        i64::from_le_bytes(wide)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = i64> {
        (0..self.len()).map(|place| self.at(place))
    }

    /// The place of a number, or where it would be.
    fn find(&self, number: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.at(middle).cmp(&number) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    pub(super) fn contains(&self, number: i64) -> bool {
        self.find(number).is_ok()
    }

    /// Whether it is new.
    pub(super) fn insert(&mut self, number: i64) -> bool {
        let Err(place) = self.find(number) else {
            return false;
        };
        self.widen(width_of(number));
        if self.bytes.capacity() - self.bytes.len() < self.width {
            let spare = self.bytes.len() / SPARE_FRACTION;
            self.bytes.reserve_exact(self.width + spare);
        }
        let at = place * self.width;
        let number = number.to_le_bytes();
        self.bytes
            .splice(at..at, number[..self.width].iter().copied());
        true
    }

    fn widen(&mut self, width: usize) {
        if width <= self.width {
            return;
        }
        let mut bytes = Vec::with_capacity((self.len() + 1) * width);
        for number in self.iter() {
            bytes.extend_from_slice(&number.to_le_bytes()[..width]);
        }
        *self = Integers { width, bytes };
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, number: i64) -> bool {
        match self.find(number) {
            Ok(place) => {
                self.remove_at(place);
                true
            }
            Err(_) => false,
        }
    }

    /// Takes out the number at a place below the length.
    pub(super) fn remove_at(&mut self, place: usize) -> i64 {
        let number = self.at(place);
        let range = place * self.width..(place + 1) * self.width;
        self.bytes.drain(range);
        if self.bytes.capacity() > 2 * self.bytes.len() {
            let spare = self.bytes.len() / SPARE_FRACTION;
            self.bytes.shrink_to(self.bytes.len() + spare);
        }
        number
    }
}
