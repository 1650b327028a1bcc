//! Keyspaces as the cluster keeps them (docs/formats/keyspaces.md).

use bytes::Bytes;

use super::{
    Consistency, DATABASES, EVENTUAL_FIRST, EVENTUAL_MAX, Eventual, Keyspace, KeyspaceNumber,
    Keyspaces, check_name,
};
use crate::core::{
    codec::{CodecError, Reader, Writer},
    eventual::quorum::Level,
};

/// Version of the encoded form.
const VERSION: u8 = 1;
/// A keyspace takes at least so many bytes.
const KEYSPACE_BYTES_MIN: usize = 4;

impl Keyspaces {
    /// As bytes.
    pub fn encode(&self) -> Bytes {
        let mut to = Writer::default();
        to.byte(VERSION).length(self.0.len());
        for keyspace in &self.0 {
            to.number(keyspace.number.0.into());
            to.bytes(keyspace.name.as_bytes());
            let Some(eventual) = keyspace.eventual() else {
                to.byte(0);
                continue;
            };
            to.byte(1).byte(eventual.replicas);
            to.byte(eventual.write.code()).byte(eventual.read.code());
            to.length(eventual.born.len());
            for number in &eventual.born {
                to.number(*number);
            }
        }
        to.finish()
    }

    /// From bytes.
    ///
    /// # Errors
    /// They are none, or were written by a newer version.
    pub fn decode(bytes: Bytes) -> Result<Keyspaces, CodecError> {
        let mut from = Reader::new(bytes);
        from.version(VERSION)?;
        let mut keyspaces = Keyspaces::default();
        for _ in 0..from.count(KEYSPACE_BYTES_MIN)? {
            let keyspace = read_keyspace(&mut from)?;
            let last = keyspaces.0.last();
            let is_next = last.is_none_or(|last| last.number < keyspace.number);
            if !is_next || keyspaces.named(keyspace.name.as_bytes()).is_some() {
                return Err(CodecError::Number);
            }
            keyspaces.0.push(keyspace);
        }
        from.finish()?;
        Ok(keyspaces)
    }
}

fn read_keyspace(from: &mut Reader) -> Result<Keyspace, CodecError> {
    let number = u32::try_from(from.number()?).map_err(|_| CodecError::Number)?;
    let name = String::from_utf8(from.bytes()?.to_vec()).ok();
    let name = name.filter(|name| check_name(name).is_ok());
    let name = name.ok_or(CodecError::Rules)?;
    let (consistency, numbers) = match from.byte()? {
        0 => (Consistency::Linearizable, 1..DATABASES as u32),
        1 => {
            let replicas = from.byte()?;
            let (write, read) = (read_level(from)?, read_level(from)?);
            let count = from.count(1)?;
            let born = (0..count).map(|_| from.number());
            let eventual = Eventual {
                replicas,
                write,
                read,
                born: born.collect::<Result<_, _>>()?,
            };
            let numbers = EVENTUAL_FIRST..EVENTUAL_FIRST + EVENTUAL_MAX;
            (Consistency::Eventual(eventual), numbers)
        }
        mark => return Err(CodecError::Mark(mark)),
    };
    if !numbers.contains(&number) {
        return Err(CodecError::Number);
    }
    Ok(Keyspace {
        name,
        number: KeyspaceNumber(number),
        consistency,
    })
}

fn read_level(from: &mut Reader) -> Result<Level, CodecError> {
    let code = from.byte()?;
    Level::of_code(code).ok_or(CodecError::Mark(code))
}
