//! What an operation comes to, as messages and the table of sessions hold it.

use bytes::Bytes;

use super::{Standing, Transacted, TransactionId};
use crate::{
    api::Publication,
    core::{
        codec::{CodecError, Reader, Writer},
        reply::Reply,
    },
};

/// The longest answer that a node passes on to another, in bytes.
pub const ANSWER_BYTES_MAX: usize = 6 << 20;

/// Version of the encoded form.
const VERSION: u8 = 1;
/// Replies inside replies, at the most.
const DEPTH_MAX: usize = 32;

/// What an operation comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Answered {
    /// A command's reply.
    Reply(Reply),
    /// Nothing was done, and the command would wait, were that possible.
    Waits {
        /// What it answers at the end of its time.
        reply: Reply,
        /// The words to try again with, where they are not the same.
        words: Option<Vec<Bytes>>,
    },
    /// A transaction's replies.
    Executed(Vec<Reply>),
    /// A watched key had changed.
    Discarded,
    /// Where keys stand.
    Versions(Vec<u64>),
    /// What a script, or a transaction with scripts, came to, and what else is to be known of it.
    Ran {
        /// What it came to; not one of these again.
        answered: Box<Answered>,
        /// What is to be published now that it was done, in order.
        publications: Vec<Publication>,
        /// What it did.
        facts: Facts,
    },
    /// What a step of a transaction over several partitions came to.
    Transacted(Transacted),
}

/// What a script did, beside what it answers and changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// It called something that reads keys.
    pub has_read: bool,
    /// Its answer is an error of something that it called, which was counted there.
    pub is_counted: bool,
}

impl Facts {
    fn bits(self) -> u8 {
        u8::from(self.has_read) | u8::from(self.is_counted) << 1
    }

    fn from_bits(bits: u8) -> Result<Facts, CodecError> {
        match bits {
            0..4 => Ok(Facts {
                has_read: bits & 1 != 0,
                is_counted: bits & 2 != 0,
            }),
            mark => Err(CodecError::Mark(mark)),
        }
    }
}

/// Statuses that commands answer, by their place in the encoded form. New ones come last.
const STATUSES: [&str; 12] = [
    "OK", "none", "string", "list", "set", "zset", "hash", "stream", "PONG", "QUEUED", "RESET",
    "NOKEY",
];

impl Answered {
    /// The same, without what else is known of scripts.
    #[cfg(test)]
    pub(in crate::core) fn plain(self) -> Answered {
        match self {
            Answered::Ran { answered, .. } => *answered,
            other => other,
        }
    }

    /// As messages hold it.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.byte(VERSION);
        match self {
            Answered::Reply(reply) => {
                writer.byte(0);
                write(&mut writer, reply);
            }
            Answered::Waits { reply, words } => {
                writer.byte(1);
                write(&mut writer, reply);
                let words = words.as_deref().unwrap_or_default();
                writer.length(words.len());
                for word in words {
                    writer.bytes(word);
                }
            }
            Answered::Executed(replies) => {
                writer.byte(2);
                write_all(&mut writer, replies);
            }
            Answered::Discarded => {
                writer.byte(3);
            }
            Answered::Versions(versions) => {
                writer.byte(4).length(versions.len());
                for version in versions {
                    writer.number(*version);
                }
            }
            Answered::Ran {
                answered,
                publications,
                facts,
            } => {
                writer.byte(5).bytes(&answered.encode()).byte(facts.bits());
                writer.length(publications.len());
                for publication in publications {
                    writer
                        .byte(u8::from(publication.sharded))
                        .bytes(&publication.channel)
                        .bytes(&publication.message);
                }
            }
            Answered::Transacted(transacted) => write_transacted(writer.byte(6), transacted),
        }
        writer.finish()
    }

    /// # Errors
    /// These bytes are no answer, or one of a newer version.
    pub fn decode(bytes: Bytes) -> Result<Answered, CodecError> {
        Answered::decode_one(bytes, true)
    }

    fn decode_one(bytes: Bytes, may_be_ran: bool) -> Result<Answered, CodecError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let answered = match reader.byte()? {
            0 => Answered::Reply(read(&mut reader, DEPTH_MAX)?),
            1 => {
                let reply = read(&mut reader, DEPTH_MAX)?;
                let count = reader.count(1)?;
                let words = (0..count).map(|_| reader.bytes());
                let words: Vec<Bytes> = words.collect::<Result<_, _>>()?;
                Answered::Waits {
                    reply,
                    words: (!words.is_empty()).then_some(words),
                }
            }
            2 => Answered::Executed(read_all(&mut reader, DEPTH_MAX)?),
            3 => Answered::Discarded,
            4 => {
                let count = reader.count(1)?;
                let versions = (0..count).map(|_| reader.number());
                Answered::Versions(versions.collect::<Result<_, _>>()?)
            }
            5 if may_be_ran => Answered::Ran {
                answered: Box::new(Answered::decode_one(reader.bytes()?, false)?),
                facts: Facts::from_bits(reader.byte()?)?,
                publications: (0..reader.count(3)?)
                    .map(|_| {
                        Ok(Publication {
                            sharded: match reader.byte()? {
                                0 => false,
                                1 => true,
                                mark => return Err(CodecError::Mark(mark)),
                            },
                            channel: reader.bytes()?,
                            message: reader.bytes()?,
                        })
                    })
                    .collect::<Result<_, _>>()?,
            },
            6 => Answered::Transacted(read_transacted(&mut reader)?),
            mark => return Err(CodecError::Mark(mark)),
        };
        reader.finish()?;
        Ok(answered)
    }
}

fn write_transacted(writer: &mut Writer, transacted: &Transacted) {
    match transacted {
        Transacted::Prepared { now_ms, replies } => {
            writer.byte(0).number(*now_ms);
            write_all(writer, replies);
        }
        Transacted::Committed { now_ms, replies } => {
            writer.byte(8).number(*now_ms);
            write_all(writer, replies);
        }
        Transacted::Conflict(None) => {
            writer.byte(1);
        }
        Transacted::Conflict(Some(holder)) => holder.write(writer.byte(2)),
        Transacted::Changed => {
            writer.byte(3);
        }
        Transacted::Decided {
            commits,
            participants,
        } => {
            writer.byte(4).byte(u8::from(*commits));
            writer.length(participants.len());
            for participant in participants {
                writer.number(participant.0.into());
            }
        }
        Transacted::Done => {
            writer.byte(5);
        }
        Transacted::Held(id) => id.write(writer.byte(6)),
        Transacted::Settled {
            commits,
            id,
            participants,
        } => {
            writer.byte(7);
            Standing::Ended {
                commits: *commits,
                id: *id,
            }
            .write(writer);
            writer.length(participants.len());
            for participant in participants {
                writer.number(participant.0.into());
            }
        }
    }
}

fn read_transacted(reader: &mut Reader) -> Result<Transacted, CodecError> {
    Ok(match reader.byte()? {
        0 => Transacted::Prepared {
            now_ms: reader.number()?,
            replies: read_all(reader, DEPTH_MAX)?,
        },
        8 => Transacted::Committed {
            now_ms: reader.number()?,
            replies: read_all(reader, DEPTH_MAX)?,
        },
        1 => Transacted::Conflict(None),
        2 => Transacted::Conflict(Some(TransactionId::read(reader)?)),
        3 => Transacted::Changed,
        4 => Transacted::Decided {
            commits: reader.flag()?,
            participants: (0..reader.count(1)?)
                .map(|_| reader.partition())
                .collect::<Result<_, _>>()?,
        },
        5 => Transacted::Done,
        6 => Transacted::Held(TransactionId::read(reader)?),
        7 => match Standing::read(reader)? {
            // That has a mark of its own.
            Standing::Held(_) => return Err(CodecError::Mark(7)),
            Standing::Ended { commits, id } => Transacted::Settled {
                commits,
                id,
                participants: (0..reader.count(1)?)
                    .map(|_| reader.partition())
                    .collect::<Result<_, _>>()?,
            },
        },
        mark => return Err(CodecError::Mark(mark)),
    })
}

fn write(writer: &mut Writer, reply: &Reply) {
    match reply {
        Reply::Status(text) => match STATUSES.iter().position(|known| known == text) {
            Some(place) => {
                writer.byte(0).length(place);
            }
            // Older versions show it as a string.
            None => {
                writer.byte(3).bytes(text.as_bytes());
            }
        },
        Reply::Error(text) => {
            writer.byte(1).bytes(text);
        }
        Reply::Integer(integer) => {
            // Small numbers of either sign are short.
            let zigzag = (integer << 1) ^ (integer >> 63);
            writer.byte(2).number(zigzag.cast_unsigned());
        }
        Reply::Bulk(bytes) => {
            writer.byte(3).bytes(bytes);
        }
        Reply::Null => {
            writer.byte(4);
        }
        Reply::NullArray => {
            writer.byte(5);
        }
        Reply::Array(items) => {
            writer.byte(6);
            write_all(writer, items);
        }
        Reply::Map(pairs) => {
            writer.byte(7);
            write_pairs(writer, pairs);
        }
        Reply::Pairs(pairs) => {
            writer.byte(8);
            write_pairs(writer, pairs);
        }
        Reply::Set(items) => {
            writer.byte(9);
            write_all(writer, items);
        }
        Reply::Double(number) => {
            writer.byte(10).bytes(&number.to_be_bytes());
        }
        Reply::Boolean(truth) => {
            writer.byte(11).byte(u8::from(*truth));
        }
        Reply::Verbatim(text) => {
            writer.byte(12).bytes(text);
        }
        Reply::PairsOrMap(pairs) => {
            writer.byte(13);
            write_pairs(writer, pairs);
        }
        Reply::Simple(text) => {
            writer.byte(14).bytes(text);
        }
        Reply::BigNumber(digits) => {
            writer.byte(15).bytes(digits);
        }
    }
}

fn write_all(writer: &mut Writer, replies: &[Reply]) {
    writer.length(replies.len());
    for reply in replies {
        write(writer, reply);
    }
}

fn write_pairs(writer: &mut Writer, pairs: &[(Reply, Reply)]) {
    writer.length(pairs.len());
    for (key, value) in pairs {
        write(writer, key);
        write(writer, value);
    }
}

fn read(reader: &mut Reader, depth: usize) -> Result<Reply, CodecError> {
    let mark = reader.byte()?;
    let inner = depth.checked_sub(1).ok_or(CodecError::Mark(mark));
    Ok(match mark {
        0 => {
            let length = reader.number()?;
            let place = usize::try_from(length).ok();
            let status = place.and_then(|place| STATUSES.get(place));
            Reply::Status(status.ok_or(CodecError::Length { length })?)
        }
        1 => Reply::Error(reader.bytes()?),
        2 => {
            let zigzag = reader.number()?;
            Reply::Integer((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
        }
        3 => Reply::Bulk(reader.bytes()?),
        4 => Reply::Null,
        5 => Reply::NullArray,
        6 => Reply::Array(read_all(reader, inner?)?),
        7 => Reply::Map(read_pairs(reader, inner?)?),
        8 => Reply::Pairs(read_pairs(reader, inner?)?),
        9 => Reply::Set(read_all(reader, inner?)?),
        10 => {
            let bytes = reader.bytes()?;
            let bytes: [u8; 8] = bytes[..].try_into().map_err(|_| CodecError::Short)?;
            Reply::Double(f64::from_be_bytes(bytes))
        }
        11 => Reply::Boolean(reader.byte()? == 1),
        12 => Reply::Verbatim(reader.bytes()?),
        13 => Reply::PairsOrMap(read_pairs(reader, inner?)?),
        14 => Reply::Simple(reader.bytes()?),
        15 => Reply::BigNumber(reader.bytes()?),
        mark => return Err(CodecError::Mark(mark)),
    })
}

fn read_all(reader: &mut Reader, depth: usize) -> Result<Vec<Reply>, CodecError> {
    let count = reader.count(1)?;
    (0..count).map(|_| read(reader, depth)).collect()
}

fn read_pairs(reader: &mut Reader, depth: usize) -> Result<Vec<(Reply, Reply)>, CodecError> {
    let count = reader.count(2)?;
    (0..count)
        .map(|_| Ok((read(reader, depth)?, read(reader, depth)?)))
        .collect()
}
