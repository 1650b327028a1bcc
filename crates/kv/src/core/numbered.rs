//! Values by numbers that are given out in order, and mostly come back in order.

use std::collections::VecDeque;

/// A map for numbers that grow: the newest is added at the end, the oldest goes first, and few
/// are there at a time. It keeps its room when it is emptied, which a tree does not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::core) struct Numbered<T>(VecDeque<(u64, T)>);

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Numbered(VecDeque::new())
    }
}

impl<T> Numbered<T> {
    /// The value's place, or where it would have to be.
    fn place(&self, number: u64) -> Result<usize, usize> {
        match self.0.back() {
            Some((last, _)) if number <= *last => {
                self.0.binary_search_by_key(&number, |(number, _)| *number)
            }
            _ => Err(self.0.len()),
        }
    }

    pub(in crate::core) fn len(&self) -> usize {
        self.0.len()
    }

    pub(in crate::core) fn contains(&self, number: u64) -> bool {
        self.place(number).is_ok()
    }

    pub(in crate::core) fn get(&self, number: u64) -> Option<&T> {
        let place = self.place(number).ok()?;
        self.0.get(place).map(|(_, value)| value)
    }

    pub(in crate::core) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let place = self.place(number).ok()?;
        self.0.get_mut(place).map(|(_, value)| value)
    }

    /// Puts a value in the place of what had this number.
    pub(in crate::core) fn insert(&mut self, number: u64, value: T) {
        match self.place(number) {
            Ok(place) => self.0[place].1 = value,
            Err(place) => self.0.insert(place, (number, value)),
        }
    }

    pub(in crate::core) fn remove(&mut self, number: u64) -> Option<T> {
        let place = self.place(number).ok()?;
        self.0.remove(place).map(|(_, value)| value)
    }

    /// Removes all whose number is below this one.
    pub(in crate::core) fn remove_below(&mut self, number: u64) {
        while self.0.front().is_some_and(|(first, _)| *first < number) {
            self.0.pop_front();
        }
    }

    /// The smallest number.
    pub(in crate::core) fn first(&self) -> Option<u64> {
        self.0.front().map(|(number, _)| *number)
    }

    /// All, in the order of their numbers.
    pub(in crate::core) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.0.iter().map(|(number, value)| (*number, value))
    }

    /// The values, in the order of their numbers.
    pub(in crate::core) fn into_values(self) -> impl Iterator<Item = T> {
        self.0.into_iter().map(|(_, value)| value)
    }
}

impl<T> FromIterator<(u64, T)> for Numbered<T> {
    fn from_iter<I: IntoIterator<Item = (u64, T)>>(all: I) -> Self {
        let mut numbered = Numbered::default();
        for (number, value) in all {
            numbered.insert(number, value);
        }
        numbered
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0..4_u8, 0..24_u64), 0..64)) {
            let mut numbered = Numbered::default();
            let mut map = BTreeMap::new();
            for (step, (what, number)) in steps.into_iter().enumerate() {
                match what {
                    0 | 1 => {
                        numbered.insert(number, step);
                        map.insert(number, step);
                    }
                    2 => prop_assert_eq!(numbered.remove(number), map.remove(&number)),
                    _ => {
                        numbered.remove_below(number);
                        map = map.split_off(&number);
                    }
                }
                prop_assert_eq!(numbered.get(number), map.get(&number));
                prop_assert_eq!(numbered.contains(number), map.contains_key(&number));
                prop_assert_eq!(numbered.first(), map.keys().next().copied());
                prop_assert_eq!(numbered.len(), map.len());
                let all: Vec<_> = numbered.iter().map(|(number, value)| (number, *value)).collect();
                prop_assert_eq!(all, map.iter().map(|(a, b)| (*a, *b)).collect::<Vec<_>>());
            }
        }
    }
}
