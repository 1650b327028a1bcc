//! Bytes with nothing to spare: keys, members, fields and short values.

use std::{
    borrow::Borrow,
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
};

use bytes::Bytes;

use super::heap::{Heap, allocation_bytes};

/// So many bytes have room in place.
const IN_PLACE_BYTES_MAX: usize = 22;

/// A row of bytes that is not changed. A few sit in place and take nothing of the heap: most
/// keys and members are short, and an allocation of their own would more than double them.
#[derive(Clone)]
pub struct Compact(Form);

#[derive(Clone)]
enum Form {
    /// How many there are, and they.
    InPlace(u8, [u8; IN_PLACE_BYTES_MAX]),
    Heap(Box<[u8]>),
}

impl Compact {
    /// So many bytes take nothing of the heap.
    pub fn is_in_place(length: usize) -> bool {
        length <= IN_PLACE_BYTES_MAX
    }

    /// The bytes, to be changed.
    pub fn into_vec(self) -> Vec<u8> {
        match self.0 {
            Form::InPlace(..) => self.to_vec(),
            Form::Heap(bytes) => bytes.into_vec(),
        }
    }
}

impl From<&[u8]> for Compact {
    fn from(bytes: &[u8]) -> Self {
        let mut place = [0; IN_PLACE_BYTES_MAX];
        match (u8::try_from(bytes.len()), place.get_mut(..bytes.len())) {
            (Ok(length), Some(room)) => {
                room.copy_from_slice(bytes);
                Compact(Form::InPlace(length, place))
            }
            _ => Compact(Form::Heap(bytes.into())),
        }
    }
}

impl From<Vec<u8>> for Compact {
    fn from(bytes: Vec<u8>) -> Self {
        match Compact::is_in_place(bytes.len()) {
            true => bytes.as_slice().into(),
            false => Compact(Form::Heap(bytes.into_boxed_slice())),
        }
    }
}

impl<const N: usize> From<&[u8; N]> for Compact {
    fn from(bytes: &[u8; N]) -> Self {
        bytes.as_slice().into()
    }
}

impl From<&Bytes> for Compact {
    fn from(bytes: &Bytes) -> Self {
        bytes[..].into()
    }
}

impl From<&Vec<u8>> for Compact {
    fn from(bytes: &Vec<u8>) -> Self {
        bytes.as_slice().into()
    }
}

impl From<Compact> for Bytes {
    fn from(bytes: Compact) -> Self {
        match bytes.0 {
            Form::InPlace(..) => Bytes::copy_from_slice(&bytes),
            Form::Heap(bytes) => Bytes::from(bytes),
        }
    }
}

impl Default for Compact {
    fn default() -> Self {
        Compact(Form::InPlace(0, [0; IN_PLACE_BYTES_MAX]))
    }
}

impl Deref for Compact {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Form::InPlace(length, place) => &place[..usize::from(*length)],
            Form::Heap(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Compact {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for Compact {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl Heap for Compact {
    fn heap_bytes(&self) -> usize {
        match &self.0 {
            Form::InPlace(..) => 0,
            Form::Heap(bytes) => allocation_bytes(bytes.len()),
        }
    }
}

impl fmt::Debug for Compact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

impl PartialEq for Compact {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Compact {}

impl PartialEq<[u8]> for Compact {
    fn eq(&self, other: &[u8]) -> bool {
        **self == *other
    }
}

impl PartialOrd for Compact {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Compact {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for Compact {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_three_words_long() {
        assert_eq!(size_of::<Compact>(), 24);
        assert_eq!(size_of::<Option<Compact>>(), 24);
    }

    proptest! {
        #[test]
        fn bytes_are_bytes(
            one in proptest::collection::vec(any::<u8>(), 0..50),
            other in proptest::collection::vec(any::<u8>(), 0..50),
        ) {
            let compact = Compact::from(&one);
            prop_assert_eq!(&*compact, &*one);
            prop_assert_eq!(&compact, &Compact::from(one.clone()));
            let (a, b) = (Compact::from(&one), Compact::from(&other));
            prop_assert_eq!(a.cmp(&b), one.cmp(&other));
            prop_assert_eq!(a == b, one == other);
            prop_assert_eq!(compact.heap_bytes() == 0, one.len() <= 22);
            prop_assert_eq!(Bytes::from(compact.clone()), Bytes::from(one.clone()));
            prop_assert_eq!(compact.into_vec(), one);
        }
    }
}
