//! What a partition holds: databases of keys, each with a value of one of Redis's types.
//!
//! Every table keeps an order that follows from what was done to it (insertion, and "the last
//! one takes the place of the removed one"), so replicas that applied the same commands agree
//! on SCAN, RANDOMKEY and the like.

mod absences;
mod compact;
mod decimal;
mod entry;
mod hash;
mod heap;
pub mod hyperloglog;
mod keyspace;
mod list;
mod pack;
mod packing;
mod set;
mod sorted_set;
mod stream;
mod string;
mod table;
mod uses;

pub use absences::Absences;
pub(in crate::core) use absences::{Bucket, NOTED_MAX};
pub use compact::Compact;
pub use decimal::Decimal;
pub use entry::{Entry, Used};
pub use hash::Hash;
pub use heap::{Heap, SAMPLES};
pub use keyspace::{DATABASES, Database, HIDDEN, Keyspace};
pub use list::{End, List};
pub use pack::{Pack, PackIter};
pub use packing::Packing;
pub use set::Set;
pub(in crate::core) use set::SetForm;
pub use sorted_set::{Members, SortedSet};
pub use stream::{Consumer, Group, Keep, Pending, Stream, StreamId, Trim};
pub use string::{RedisString, STRING_BYTES_MAX, parse_integer};
pub use table::Table;
pub use uses::Uses;

/// A key or a member: bytes with nothing to spare.
pub type Key = Compact;

use heap::allocation_bytes;

/// Milliseconds since the Unix epoch.
pub type Milliseconds = u64;

/// A value: one of Redis's types. As wide as a short key, which is what a short string is: what
/// is larger has a place of its own.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Bytes, or a number.
    String(RedisString),
    /// Members without order.
    Set(Box<Set>),
    /// Members with scores, in their order.
    SortedSet(Box<SortedSet>),
    /// Fields with values.
    Hash(Hash),
    /// Elements in order.
    List(List),
    /// Entries by id.
    Stream(Stream),
}

impl Value {
    /// What TYPE answers.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::String(_) => "string",
            Value::Set(_) => "set",
            Value::SortedSet(_) => "zset",
            Value::Hash(_) => "hash",
            Value::List(_) => "list",
            Value::Stream(_) => "stream",
        }
    }

    /// What OBJECT ENCODING answers: how Redis would keep such a value.
    pub fn encoding(&self) -> &'static str {
        match self {
            Value::String(string) => string.encoding(),
            Value::Set(set) => set.encoding(),
            Value::SortedSet(sorted) => sorted.encoding(),
            Value::Hash(hash) => hash.encoding(),
            Value::List(list) => list.encoding(),
            Value::Stream(stream) => stream.encoding(),
        }
    }
}

impl Value {
    /// What the value takes of the heap, judged by so many samples of its parts where looking
    /// at all of them would take long.
    pub fn heap_bytes(&self, samples: usize) -> usize {
        match self {
            Value::String(string) => string.heap_bytes(),
            Value::Set(set) => allocation_bytes(size_of::<Set>()) + set.heap_bytes(),
            Value::SortedSet(sorted) => {
                allocation_bytes(size_of::<SortedSet>()) + sorted.heap_bytes()
            }
            Value::Hash(hash) => hash.heap_bytes(),
            Value::List(list) => list.heap_bytes(samples),
            Value::Stream(stream) => stream.heap_bytes(samples),
        }
    }
}

/// One of the types a [`Value`] can be; lets [`Context`](super::command::Context) look keys up
/// by the type that a command means.
pub trait Kind: Sized {
    /// The value as this type, if it is.
    fn of(value: &Value) -> Option<&Self>;
    /// The same, to change it.
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    /// Into a value.
    fn into_value(self) -> Value;
    /// Whether the key goes when the value is this (an aggregate without members).
    fn is_spent(&self) -> bool;
}

/// Makes a type one of the kinds of values.
macro_rules! kind {
    ($type:ty, $variant:ident, |$this:ident| $spent:expr) => {
        impl $crate::core::data::Kind for $type {
            fn of(value: &$crate::core::data::Value) -> Option<&Self> {
                if let $crate::core::data::Value::$variant(this) = value {
                    Some(this)
                } else {
                    None
                }
            }

            fn of_mut(value: &mut $crate::core::data::Value) -> Option<&mut Self> {
                if let $crate::core::data::Value::$variant(this) = value {
                    Some(this)
                } else {
                    None
                }
            }

            fn into_value(self) -> $crate::core::data::Value {
                $crate::core::data::Value::$variant(self.into())
            }

            fn is_spent(&self) -> bool {
                let $this = self;
                $spent
            }
        }
    };
}
pub(crate) use kind;

#[cfg(test)]
mod tests {
    use super::*;

    /// What every key pays: to be told of in docs/benchmarks.md, and not to grow by accident.
    #[test]
    fn keys_are_narrow() {
        assert_eq!(size_of::<RedisString>(), 24);
        assert_eq!(size_of::<Value>(), 24);
        assert_eq!(size_of::<Entry>(), 40);
        assert_eq!(Table::<Entry>::slot_bytes(), 72 + 7);
    }
}
