//! What a partition holds: databases of keys, each with a value of one of Redis's types.
//!
//! Every table keeps an order that follows from what was done to it (insertion, and "the last
//! one takes the place of the removed one"), so replicas that applied the same commands agree
//! on SCAN, RANDOMKEY and the like.

mod decimal;
mod hash;
pub mod hyperloglog;
mod keyspace;
mod list;
mod pack;
mod packing;
mod set;
mod sorted_set;
mod stream;
mod string;

pub use decimal::Decimal;
pub use hash::Hash;
pub use keyspace::{DATABASES, Database, Entry, Keyspace};
pub use list::{End, List};
pub use pack::{Pack, PackIter};
pub use packing::Packing;
pub use set::Set;
pub(in crate::core) use set::SetForm;
pub use sorted_set::{Members, SortedSet};
pub use stream::{Consumer, Group, Keep, Pending, Stream, StreamId, Trim};
pub use string::{RedisString, STRING_BYTES_MAX, parse_integer};

/// A key or a member: bytes with nothing to spare.
pub type Key = Box<[u8]>;

/// A table of this crate: insertion order, `swap_remove` on removal. Scans go from the end to
/// the beginning, so that what takes a removed one's place was not passed yet.
pub type Table<V> = indexmap::IndexMap<Key, V, foldhash::fast::RandomState>;

/// Milliseconds since the Unix epoch.
pub type Milliseconds = u64;

/// A value: one of Redis's types.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Bytes, or a number.
    String(RedisString),
    /// Members without order.
    Set(Set),
    /// Members with scores, in their order.
    SortedSet(SortedSet),
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
                $crate::core::data::Value::$variant(self)
            }

            fn is_spent(&self) -> bool {
                let $this = self;
                $spent
            }
        }
    };
}
pub(crate) use kind;
