//! Named keyspaces: what the cluster has decided of each, once and for good when it was created.
//!
//! A linearizable keyspace is one of the databases that SELECT has always known, with a name. An
//! eventual one has a number of its own, from [`EVENTUAL_FIRST`] on, which no plain database has:
//! so the two can't mix, and nothing has to be looked at before one is created. Numbers are never
//! given twice.

mod codec;
#[cfg(test)]
mod tests;

use std::fmt;

use atoll_base::id::PartitionId;

use super::{data::DATABASES, eventual::quorum::Level};

/// The number of the first eventual keyspace. Some are left free for plain databases to come.
pub const EVENTUAL_FIRST: u32 = 32;
/// More eventual keyspaces than these are refused.
pub const EVENTUAL_MAX: u32 = 64;
/// Names have no more bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// The number of a keyspace, which SELECT takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyspaceNumber(pub u32);

impl fmt::Display for KeyspaceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an eventual keyspace was created with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eventual {
    /// How many replicas each partition is to have.
    pub replicas: u8,
    /// How many of them have a write before it is answered, unless a connection wants otherwise.
    pub write: Level,
    /// How many of them are asked for a read.
    pub read: Level,
    /// The number of each partition's configuration when the keyspace was created: its members
    /// then begin with nothing, and lack nothing.
    pub born: Vec<u64>,
}

impl Eventual {
    /// The configuration that a partition had when the keyspace was created.
    pub fn born(&self, partition: PartitionId) -> Option<u64> {
        self.born.get(usize::from(partition.0)).copied()
    }
}

/// How consistent a keyspace is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// As a plain database.
    Linearizable,
    /// Any replica takes writes.
    Eventual(Eventual),
}

/// What is wished of a keyspace that is to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// What of it is wished, if it is to be eventual: replicas, levels of writes and of reads.
    pub eventual: Option<(u8, Level, Level)>,
}

/// One keyspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyspace {
    /// Its name, as [`check_name`] allows it.
    pub name: String,
    /// Its number.
    pub number: KeyspaceNumber,
    /// How consistent it is.
    pub consistency: Consistency,
}

impl Keyspace {
    /// What it was created with, if it is an eventual one.
    pub fn eventual(&self) -> Option<&Eventual> {
        match &self.consistency {
            Consistency::Linearizable => None,
            Consistency::Eventual(eventual) => Some(eventual),
        }
    }

    fn is_as(&self, wanted: &Wanted) -> bool {
        let eventual = self.eventual();
        let eventual = eventual.map(|it| (it.replicas, it.write, it.read));
        self.name == wanted.name && eventual == wanted.eventual
    }
}

/// Why a keyspace is not created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// The name is none.
    #[error(
        "a keyspace's name has 1 to {NAME_BYTES_MAX} letters, digits, '-' or '_', and begins with a letter"
    )]
    Name,
    /// The name is another's.
    #[error("there is a keyspace {0} already, and it is another one than that")]
    Exists(String),
    /// There are as many as there may be.
    #[error("there are {0} keyspaces of this kind already, and no more may be")]
    TooMany(u32),
    /// Partitions have another number of replicas.
    #[error(
        "an eventual keyspace has as many replicas as the cluster keeps of everything: {found}, not {wanted}"
    )]
    Replicas {
        /// How many were wished.
        wanted: u8,
        /// How many there are.
        found: usize,
    },
}

/// Whether a keyspace may have this name. None of them is a number.
///
/// # Errors
/// It may not.
pub fn check_name(name: &str) -> Result<(), CreateError> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let begins = name.as_bytes().first().is_some_and(u8::is_ascii_alphabetic);
    match begins && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_part) {
        true => Ok(()),
        false => Err(CreateError::Name),
    }
}

/// All keyspaces that have a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyspaces(Vec<Keyspace>);

impl Keyspaces {
    /// In the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Keyspace> {
        self.0.iter()
    }

    /// The eventual ones, in the order of their numbers.
    pub fn eventual(&self) -> impl Iterator<Item = (KeyspaceNumber, &Eventual)> {
        let all = self.iter();
        all.filter_map(|keyspace| Some((keyspace.number, keyspace.eventual()?)))
    }

    /// The one of a name.
    pub fn named(&self, name: &[u8]) -> Option<&Keyspace> {
        self.iter().find(|it| it.name.as_bytes() == name)
    }

    /// The one of a number.
    pub fn numbered(&self, number: KeyspaceNumber) -> Option<&Keyspace> {
        let at = self.0.binary_search_by_key(&number, |it| it.number);
        at.ok().map(|at| &self.0[at])
    }

    /// Creates a keyspace; `born` tells the numbers of the partitions' configurations, and
    /// `replicas` how many each of them is to have. One that is there already as it is wished is
    /// taken for the one that was asked for: whoever created it may not have heard the answer.
    ///
    /// # Errors
    /// It can't be created.
    pub fn create(
        &mut self,
        wanted: &Wanted,
        born: Vec<u64>,
        replicas: usize,
    ) -> Result<&Keyspace, CreateError> {
        check_name(&wanted.name)?;
        if let Some(at) = self.0.iter().position(|it| it.name == wanted.name) {
            return match self.0[at].is_as(wanted) {
                true => Ok(&self.0[at]),
                false => Err(CreateError::Exists(wanted.name.clone())),
            };
        }
        let (numbers, consistency) = match wanted.eventual {
            // 0 is the one that connections begin with.
            None => (1..DATABASES as u32, Consistency::Linearizable),
            Some((wanted, ..)) if usize::from(wanted) != replicas => {
                let found = replicas;
                return Err(CreateError::Replicas { wanted, found });
            }
            Some((replicas, write, read)) => {
                let eventual = Eventual {
                    replicas,
                    write,
                    read,
                    born,
                };
                let numbers = EVENTUAL_FIRST..EVENTUAL_FIRST + EVENTUAL_MAX;
                (numbers, Consistency::Eventual(eventual))
            }
        };
        let count = numbers.len() as u32;
        let mut numbers = numbers.map(KeyspaceNumber);
        let free = numbers.find(|number| self.numbered(*number).is_none());
        let number = free.ok_or(CreateError::TooMany(count))?;
        let at = self.0.partition_point(|it| it.number < number);
        let name = wanted.name.clone();
        let keyspace = Keyspace {
            name,
            number,
            consistency,
        };
        self.0.insert(at, keyspace);
        Ok(&self.0[at])
    }
}
