//! Calls, scripts and keys, as operations hold them.

use std::sync::Arc;

use bytes::Bytes;

use super::{Call, Script, WhenFull};
use crate::core::{
    acl::{Caller, read_record, write_record},
    codec::{CodecError, Reader, Writer},
    data::HIDDEN,
};

/// What a word takes apart from its bytes.
const WORD_BYTES: usize = 2;

/// About what a call takes when it is written, in bytes.
pub(super) fn call_bytes(call: &Call) -> usize {
    let words = call.words.iter().map(|word| WORD_BYTES + word.len());
    WORD_BYTES + words.sum::<usize>()
}

pub(super) fn write_call(writer: &mut Writer, call: &Call) {
    writer.length(call.database);
    write_words(writer, &call.words);
}

pub(super) fn read_call(reader: &mut Reader) -> Result<Call, CodecError> {
    Ok(Call {
        database: database(reader)?,
        words: read_words(reader)?,
    })
}

pub(super) fn write_words(writer: &mut Writer, words: &[Bytes]) {
    writer.length(words.len());
    for word in words {
        writer.bytes(word);
    }
}

pub(super) fn read_words(reader: &mut Reader) -> Result<Vec<Bytes>, CodecError> {
    (0..reader.count(1)?).map(|_| reader.bytes()).collect()
}

pub(super) fn write_script(writer: &mut Writer, script: &Script) {
    writer
        .length(script.database)
        .byte(u8::from(script.reads))
        .byte(match script.when_full {
            WhenFull::Limited => 0,
            WhenFull::Refused => 1,
            WhenFull::Allowed => 2,
        })
        .bytes(&script.code);
    // No function has no name.
    writer.bytes(script.function.as_deref().unwrap_or_default());
    write_words(writer, &script.keys);
    write_words(writer, &script.arguments);
    match &script.caller {
        Some(caller) => {
            writer.byte(1).bytes(&caller.name);
            writer.bytes(&write_record(&caller.rules));
        }
        None => {
            writer.byte(0);
        }
    }
}

pub(super) fn read_script(reader: &mut Reader) -> Result<Script, CodecError> {
    Ok(Script {
        database: database(reader)?,
        reads: match reader.byte()? {
            0 => false,
            1 => true,
            mark => return Err(CodecError::Mark(mark)),
        },
        when_full: match reader.byte()? {
            0 => WhenFull::Limited,
            1 => WhenFull::Refused,
            2 => WhenFull::Allowed,
            mark => return Err(CodecError::Mark(mark)),
        },
        code: reader.bytes()?,
        function: Some(reader.bytes()?).filter(|name| !name.is_empty()),
        keys: read_words(reader)?,
        arguments: read_words(reader)?,
        caller: match reader.byte()? {
            0 => None,
            1 => Some(Caller {
                name: reader.bytes()?,
                rules: Arc::new(read_record(&reader.bytes()?).map_err(|_| CodecError::Rules)?),
            }),
            mark => return Err(CodecError::Mark(mark)),
        },
    })
}

pub(super) fn write_watched(writer: &mut Writer, watched: &[(usize, Bytes, u64)]) {
    writer.length(watched.len());
    for (database, key, version) in watched {
        writer.length(*database).bytes(key).number(*version);
    }
}

pub(super) fn read_watched(reader: &mut Reader) -> Result<Vec<(usize, Bytes, u64)>, CodecError> {
    (0..reader.count(3)?)
        .map(|_| Ok((database(reader)?, reader.bytes()?, reader.number()?)))
        .collect()
}

pub(super) fn write_keys(writer: &mut Writer, keys: &[(usize, Bytes)]) {
    writer.length(keys.len());
    for (database, key) in keys {
        writer.length(*database).bytes(key);
    }
}

pub(super) fn read_keys(reader: &mut Reader) -> Result<Vec<(usize, Bytes)>, CodecError> {
    (0..reader.count(2)?)
        .map(|_| Ok((database(reader)?, reader.bytes()?)))
        .collect()
}

pub(super) fn database(reader: &mut Reader) -> Result<usize, CodecError> {
    let length = reader.number()?;
    usize::try_from(length)
        .ok()
        .filter(|index| *index <= HIDDEN)
        .ok_or(CodecError::Length { length })
}
