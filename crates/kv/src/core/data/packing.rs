//! How large the small forms of values may get (Redis: "Memory optimization").
//!
//! Types change form by themselves where Redis does by default. Smaller limits than these are an
//! operator's to set, on a node; a command carries those of the node that it came to, so that
//! every replica does the same, since the forms differ in what a removal does to the order.

use super::Value;
use crate::core::codec::{CodecError, Reader, Writer};

/// Limits of small forms. Larger ones than Redis's own act as those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// Fields of a hash: `hash-max-listpack-entries`.
    pub hash_fields_max: usize,
    /// Bytes of each field and value: `hash-max-listpack-value`.
    pub hash_bytes_max: usize,
    /// Members of a sorted set: `zset-max-listpack-entries`.
    pub sorted_members_max: usize,
    /// Bytes of each: `zset-max-listpack-value`.
    pub sorted_bytes_max: usize,
    /// Members of a set of whole numbers: `set-max-intset-entries`.
    pub set_integers_max: usize,
    /// Members of any other set: `set-max-listpack-entries`.
    pub set_members_max: usize,
    /// Bytes of each: `set-max-listpack-value`.
    pub set_bytes_max: usize,
    /// Bytes of a HyperLogLog: `hll-sparse-max-bytes`. Larger ones count, too.
    pub sparse_bytes_max: usize,
    /// Entries of a stream that go at once where trimming is approximate:
    /// `stream-node-max-entries`. Larger ones count, too, and 0 is Redis's own.
    pub stream_trimmed_at_once: usize,
}

impl Default for Packing {
    /// Redis's own.
    fn default() -> Self {
        Packing {
            hash_fields_max: 128,
            hash_bytes_max: 64,
            sorted_members_max: 128,
            sorted_bytes_max: 64,
            set_integers_max: 512,
            set_members_max: 128,
            set_bytes_max: 64,
            sparse_bytes_max: 3_000,
            stream_trimmed_at_once: 100,
        }
    }
}

impl Packing {
    fn numbers(&self) -> [usize; 9] {
        [
            self.hash_fields_max,
            self.hash_bytes_max,
            self.sorted_members_max,
            self.sorted_bytes_max,
            self.set_integers_max,
            self.set_members_max,
            self.set_bytes_max,
            self.sparse_bytes_max,
            self.stream_trimmed_at_once,
        ]
    }

    /// As operations of the log hold it.
    pub(in crate::core) fn write(&self, writer: &mut Writer) {
        for number in self.numbers() {
            writer.length(number);
        }
    }

    /// What [`write`](Self::write) wrote.
    ///
    /// # Errors
    /// Something else was written.
    pub(in crate::core) fn read(reader: &mut Reader) -> Result<Self, CodecError> {
        let mut number = || {
            let number = reader.number()?;
            usize::try_from(number).map_err(|_| CodecError::Number)
        };
        Ok(Packing {
            hash_fields_max: number()?,
            hash_bytes_max: number()?,
            sorted_members_max: number()?,
            sorted_bytes_max: number()?,
            set_integers_max: number()?,
            set_members_max: number()?,
            set_bytes_max: number()?,
            sparse_bytes_max: number()?,
            stream_trimmed_at_once: number()?,
        })
    }

    /// Entries of a stream that go at once.
    pub fn trimmed_at_once(&self) -> usize {
        match self.stream_trimmed_at_once {
            0 => Packing::default().stream_trimmed_at_once,
            number => number,
        }
    }

    /// Gives a value that was changed its larger form, where the smaller one is too large.
    pub fn fit(&self, value: &mut Value) {
        let is_too_large = match value {
            Value::Hash(hash) => {
                let is_long = |word: &[u8]| word.len() > self.hash_bytes_max;
                let mut fields = hash.iter_stored();
                hash.is_packed()
                    && (hash.stored() > self.hash_fields_max
                        || fields.any(|(field, value)| is_long(field) || is_long(value)))
            }
            Value::SortedSet(sorted) => {
                let mut members = sorted.iter();
                sorted.is_small()
                    && (sorted.len() > self.sorted_members_max
                        || members.any(|(member, _)| member.len() > self.sorted_bytes_max))
            }
            Value::Set(set) if set.integers().is_some() => set.len() > self.set_integers_max,
            Value::Set(set) => {
                set.is_small()
                    && (set.len() > self.set_members_max
                        || set.iter().any(|member| member.len() > self.set_bytes_max))
            }
            _ => false,
        };
        match value {
            Value::Hash(hash) if is_too_large => hash.unpack(),
            Value::SortedSet(sorted) if is_too_large => sorted.become_large(),
            Value::Set(set) if is_too_large => set.become_table(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::data::{Hash, Kind as _, Set, SortedSet};

    fn after(packing: Packing, mut value: Value) -> &'static str {
        packing.fit(&mut value);
        value.encoding()
    }

    #[test]
    fn what_is_too_large_for_a_smaller_limit_takes_its_larger_form() {
        let redis = Packing::default();
        let mut hash = Hash::default();
        hash.set(b"f", b"value");
        let hash = hash.into_value();
        assert_eq!(after(redis, hash.clone()), "listpack");
        let few = Packing {
            hash_fields_max: 0,
            ..redis
        };
        let short = Packing {
            hash_bytes_max: 4,
            ..redis
        };
        assert_eq!(after(few, hash.clone()), "hashtable");
        assert_eq!(after(short, hash), "hashtable");

        let mut sorted = SortedSet::default();
        sorted.insert(b"long", 1.0);
        sorted.insert(b"b", 2.0);
        let sorted = sorted.into_value();
        let at = |sorted_members_max, sorted_bytes_max| Packing {
            sorted_members_max,
            sorted_bytes_max,
            ..redis
        };
        assert_eq!(after(at(2, 4), sorted.clone()), "listpack");
        assert_eq!(after(at(1, 4), sorted.clone()), "skiplist");
        assert_eq!(after(at(2, 3), sorted), "skiplist");

        let mut set = Set::default();
        set.insert(b"1");
        set.insert(b"2");
        let numbers = set.clone().into_value();
        set.insert(b"word");
        let words = set.into_value();
        let at = |set_integers_max, set_members_max, set_bytes_max| Packing {
            set_integers_max,
            set_members_max,
            set_bytes_max,
            ..redis
        };
        assert_eq!(after(at(2, 0, 0), numbers.clone()), "intset");
        assert_eq!(after(at(1, 9, 9), numbers), "hashtable");
        assert_eq!(after(at(0, 3, 4), words.clone()), "listpack");
        assert_eq!(after(at(9, 2, 4), words.clone()), "hashtable");
        assert_eq!(after(at(9, 3, 3), words), "hashtable");
    }

    #[test]
    fn it_is_written_and_read() {
        let packing = Packing {
            hash_bytes_max: usize::MAX,
            stream_trimmed_at_once: 0,
            ..Packing::default()
        };
        let mut writer = Writer::default();
        packing.write(&mut writer);
        let mut reader = Reader::new(writer.finish());
        assert_eq!(Packing::read(&mut reader), Ok(packing));
        assert_eq!(reader.finish(), Ok(()));
        assert_eq!(packing.trimmed_at_once(), 100);
    }
}
