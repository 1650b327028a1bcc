//! What the journal that all partitions of a node share says of eventual ones, and what they
//! come to when it is read again.
//!
//! A partition begins with its whole state ([`Noted::Whole`]), and goes on with [`Record`]s.
//! Where the state is large it goes to a file: its place in the row of records is marked
//! ([`Noted::Mark`]), and when the file is durable that is noted, too ([`Noted::Based`]); from
//! then on the partition begins at the mark.

use atoll_base::id::ConfigurationNumber;
use bytes::Bytes;

use super::{
    author::Life,
    error::DecodeError,
    partition::{Partition, Record, Settings},
};
use crate::core::{
    codec::{CodecError, Reader, Writer},
    wire::FileMark,
};

/// What stays of a copy that was let go: what the replica may not forget even so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// That of the copy; the next one has another.
    pub life: Life,
    /// The number of a configuration in which the replica had no part. It takes part in newer
    /// ones only: after a restart it may see the cluster as it was some time before.
    pub number: ConfigurationNumber,
}

/// One thing that the journal says of an eventual partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noted {
    /// All of it: a [snapshot](Partition::encode).
    Whole(Bytes),
    /// What it was here is on its way to the file of this number.
    Mark(u64),
    /// That file is durable.
    Based {
        /// The file's number.
        number: u64,
        /// What it must be.
        mark: FileMark,
    },
    /// A [`Record`].
    Record(Bytes),
    /// The replica was let go: nothing of what came before counts but this.
    Left(Past),
}

impl Noted {
    /// About what it takes, in bytes.
    pub(in crate::core) fn bytes(&self) -> usize {
        match self {
            Noted::Whole(bytes) | Noted::Record(bytes) => bytes.len(),
            Noted::Mark(_) | Noted::Based { .. } | Noted::Left(_) => 0,
        }
    }

    /// As it ends a record of the journal.
    pub(in crate::core) fn write(&self, to: &mut Writer) {
        match self {
            Noted::Whole(snapshot) => to.byte(0).raw(snapshot),
            Noted::Mark(number) => to.byte(1).number(*number),
            Noted::Based { number, mark } => {
                to.byte(2).number(*number);
                to.number(mark.bytes).number(mark.checksum)
            }
            Noted::Record(record) => to.byte(3).raw(record),
            Noted::Left(Past { life, number }) => {
                to.byte(5).number(life.number().into()).number(number.0)
            }
        };
    }

    /// Reads it to the end.
    pub(in crate::core) fn read(mut from: Reader) -> Result<Noted, CodecError> {
        let noted = match from.byte()? {
            0 => return Ok(Noted::Whole(from.rest())),
            1 => Noted::Mark(from.number()?),
            2 => Noted::Based {
                number: from.number()?,
                mark: FileMark {
                    bytes: from.number()?,
                    checksum: from.number()?,
                },
            },
            3 => return Ok(Noted::Record(from.rest())),
            // As it was written before lives were told apart.
            4 => Noted::Left(Past {
                life: Life::FIRST,
                number: ConfigurationNumber(0),
            }),
            5 => Noted::Left(Past {
                life: Life::of_number(from.number()?).ok_or(CodecError::Number)?,
                number: ConfigurationNumber(from.number()?),
            }),
            mark => return Err(CodecError::Mark(mark)),
        };
        from.finish()?;
        Ok(noted)
    }
}

/// What a partition begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// A snapshot.
    Whole(Bytes),
    /// One in a file of this number.
    File(u64, FileMark),
}

/// What the journal told of a partition so far. `P` is a place in the journal.
#[derive(Clone, Debug)]
pub struct Told<P> {
    /// What it begins with, and where; none if that is yet to come.
    base: Option<(Base, P)>,
    records: Vec<Bytes>,
    /// A mark whose file is not known to be durable: its number, where it is, and what follows.
    marked: Option<(u64, P, Vec<Bytes>)>,
}

/// What can't follow what came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Astray;

impl<P: Copy> Told<P> {
    /// Nothing yet.
    pub fn new() -> Told<P> {
        Told {
            base: None,
            records: Vec::new(),
            marked: None,
        }
    }

    /// Goes on with what stands at a place; never that the replica was let go.
    ///
    /// # Errors
    /// It follows nothing that came before.
    pub fn take(&mut self, noted: Noted, place: P) -> Result<(), Astray> {
        match noted {
            Noted::Whole(snapshot) => {
                *self = Told::new();
                self.base = Some((Base::Whole(snapshot), place));
            }
            Noted::Mark(number) => self.marked = Some((number, place, Vec::new())),
            Noted::Based { number, mark } => match self.marked.take() {
                Some((marked, place, records)) if marked == number => {
                    self.base = Some((Base::File(number, mark), place));
                    self.records = records;
                }
                // The mark was in a segment that is gone, with another beginning after it.
                _ if self.base.is_none() => {}
                _ => return Err(Astray),
            },
            Noted::Record(record) => {
                if self.base.is_some() {
                    self.records.push(record.clone());
                }
                if let Some((_, _, records)) = &mut self.marked {
                    records.push(record);
                }
            }
            Noted::Left(_) => return Err(Astray),
        }
        Ok(())
    }

    /// What it begins with, and where; none if the journal begins in the middle of it.
    pub fn base(&self) -> Option<&(Base, P)> {
        self.base.as_ref()
    }

    /// The partition, from what it begins with. `run` is higher at each start.
    ///
    /// # Errors
    /// Something can't be read.
    pub fn restore(
        self,
        snapshot: Bytes,
        run: u32,
        settings: Settings,
    ) -> Result<Partition, DecodeError> {
        let records = self.records.into_iter().map(Record::decode);
        let records: Vec<Record> = records.collect::<Result<_, _>>()?;
        Partition::restore(snapshot, records, run, settings)
    }
}

impl<P: Copy> Default for Told<P> {
    fn default() -> Self {
        Told::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: FileMark = FileMark {
        bytes: 7,
        checksum: 8,
    };

    fn record(text: &'static str) -> Noted {
        Noted::Record(Bytes::from_static(text.as_bytes()))
    }

    fn told(all: &[Noted]) -> Result<Told<usize>, Astray> {
        let mut told = Told::new();
        for (place, noted) in all.iter().enumerate() {
            told.take(noted.clone(), place)?;
        }
        Ok(told)
    }

    #[test]
    fn a_file_counts_from_its_mark_on_once_it_is_durable() {
        let whole = Noted::Whole(Bytes::from_static(b"w"));
        let based = Noted::Based {
            number: 5,
            mark: MARK,
        };
        let before = told(&[whole.clone(), record("a"), Noted::Mark(5), record("b")]);
        let before = before.expect("it follows");
        assert_eq!(
            before.base(),
            Some(&(Base::Whole(Bytes::from_static(b"w")), 0))
        );
        assert_eq!(before.records, ["a", "b"]);
        let all = [
            whole,
            record("a"),
            Noted::Mark(5),
            record("b"),
            based.clone(),
            record("c"),
        ];
        let after = told(&all).expect("it follows");
        assert_eq!(after.base(), Some(&(Base::File(5, MARK), 2)));
        assert_eq!(after.records, ["b", "c"]);
        // The same from where old segments were freed.
        let freed = told(&all[1..]).expect("it follows");
        assert_eq!(freed.base(), Some(&(Base::File(5, MARK), 1)));
        assert_eq!(freed.records, ["b", "c"]);
        let middle = told(&[record("b"), based, record("c")]).expect("it follows");
        assert_eq!(middle.base(), None);
    }

    #[test]
    fn a_file_without_its_mark_is_a_mistake() {
        let whole = Noted::Whole(Bytes::new());
        let based = Noted::Based {
            number: 6,
            mark: MARK,
        };
        assert!(told(&[whole, Noted::Mark(5), based]).is_err());
    }
}
