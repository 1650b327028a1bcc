//! Messages as bytes.

use atoll_base::id::{ConfigurationNumber, ReplicaId};
use bytes::Bytes;

use super::{
    clock::Stamp,
    error::DecodeError,
    item::{ITEM_BYTES_MIN, Item, Place},
    membership::{MEMBERS_MAX, Row},
    merkle::{FAN_OUT, Node},
    message::{Message, Packet, Step},
    replica::{Cursor, Delta},
};
use crate::core::{
    codec::{CodecError, Reader, Writer},
    data::Key,
};

/// Version of the encoded form.
const VERSION: u8 = 1;
/// A node takes at least so many bytes.
const NODE_BYTES_MIN: usize = 2;
/// A digest takes so many bytes.
const DIGEST_BYTES: usize = size_of::<u64>();

impl Packet {
    /// As bytes.
    pub fn encode(&self) -> Bytes {
        let mut to = Writer::default();
        to.byte(VERSION).number(self.number.0);
        self.stable.write(&mut to);
        write_message(&mut to, &self.message);
        to.finish()
    }

    /// From bytes.
    ///
    /// # Errors
    /// They are no message, or one of a newer version.
    pub fn decode(bytes: Bytes) -> Result<Packet, DecodeError> {
        let mut from = Reader::new(bytes);
        from.version(VERSION)?;
        let packet = Packet {
            number: ConfigurationNumber(from.number()?),
            stable: Stamp::read(&mut from)?,
            message: read_message(&mut from)?,
        };
        from.finish()?;
        Ok(packet)
    }
}

fn write_message(to: &mut Writer, message: &Message) {
    match message {
        Message::Delta { id, delta } => {
            to.byte(0).number(*id);
            write_delta(to, delta);
        }
        Message::Ack { id } => {
            to.byte(1).number(*id);
        }
        Message::Look { id, keys } => {
            to.byte(2).number(*id).length(keys.len());
            for (key, digest) in keys {
                to.bytes(key);
                write_digest(to, *digest);
            }
        }
        Message::Seen {
            id,
            part,
            parts,
            delta,
        } => {
            to.byte(3)
                .number(*id)
                .number((*part).into())
                .number((*parts).into());
            write_delta(to, delta);
        }
        Message::Compare { step, row, nodes } => {
            to.byte(4);
            write_step(to, *step);
            write_row(to, row);
            to.length(nodes.len());
            for (node, digest) in nodes {
                write_node(to, *node);
                write_digest(to, *digest);
            }
        }
        Message::Compared {
            step,
            mark,
            row,
            is_filled,
            nodes,
            leaves,
        } => {
            to.byte(5);
            write_step(to, *step);
            mark.write(to);
            write_row(to, row);
            to.byte(u8::from(*is_filled)).length(nodes.len());
            for (node, digests) in nodes {
                write_node(to, *node);
                digests.iter().for_each(|digest| write_digest(to, *digest));
            }
            to.length(leaves.len());
            leaves.iter().for_each(|leaf| write_node(to, *leaf));
        }
        Message::List { step, leaf, from } => {
            to.byte(6);
            write_step(to, *step);
            write_node(to, *leaf);
            write_digest(to, *from);
        }
        Message::Listed { step, places, next } => {
            to.byte(7);
            write_step(to, *step);
            to.length(places.len());
            for (place, digest) in places {
                write_digest(to, *place);
                write_digest(to, *digest);
            }
            to.byte(u8::from(next.is_some()));
            next.iter().for_each(|next| write_digest(to, *next));
        }
        Message::Exchange {
            step,
            want,
            after,
            give,
        } => {
            to.byte(8);
            write_step(to, *step);
            to.length(want.len());
            want.iter().for_each(|place| write_digest(to, *place));
            write_cursor(to, after.as_ref());
            write_delta(to, give);
        }
        Message::Given {
            step,
            delta,
            done,
            after,
        } => {
            to.byte(9);
            write_step(to, *step);
            write_delta(to, delta);
            to.number((*done).into());
            write_cursor(to, after.as_ref());
        }
        Message::Finished {
            mark,
            row,
            is_filled,
        } => {
            to.byte(10);
            mark.write(to);
            write_row(to, row);
            to.byte(u8::from(*is_filled));
        }
        Message::Over => {
            to.byte(11);
        }
        Message::Ahead { ahead_ms } => {
            to.byte(12).number(*ahead_ms);
        }
    }
}

fn read_message(from: &mut Reader) -> Result<Message, DecodeError> {
    Ok(match from.byte()? {
        0 => Message::Delta {
            id: from.number()?,
            delta: read_delta(from)?,
        },
        1 => Message::Ack { id: from.number()? },
        2 => Message::Look {
            id: from.number()?,
            keys: read_all(from, 1 + DIGEST_BYTES, |from| {
                Ok((Key::from(&from.bytes()?), read_digest(from)?))
            })?,
        },
        3 => Message::Seen {
            id: from.number()?,
            part: read_small(from)?,
            parts: read_small(from)?,
            delta: read_delta(from)?,
        },
        4 => Message::Compare {
            step: read_step(from)?,
            row: read_row(from)?,
            nodes: read_all(from, NODE_BYTES_MIN + DIGEST_BYTES, |from| {
                Ok((read_node(from)?, read_digest(from)?))
            })?,
        },
        5 => Message::Compared {
            step: read_step(from)?,
            mark: Stamp::read(from)?,
            row: read_row(from)?,
            is_filled: read_flag(from)?,
            nodes: read_all(from, NODE_BYTES_MIN + FAN_OUT * DIGEST_BYTES, |from| {
                let node = read_node(from)?;
                if node.is_leaf() {
                    return Err(DecodeError::Impossible("children of a leaf"));
                }
                let mut digests = [0; FAN_OUT];
                for digest in &mut digests {
                    *digest = read_digest(from)?;
                }
                Ok((node, digests))
            })?,
            leaves: read_all(from, NODE_BYTES_MIN, read_leaf)?,
        },
        6 => Message::List {
            step: read_step(from)?,
            leaf: read_leaf(from)?,
            from: read_digest(from)?,
        },
        7 => {
            let step = read_step(from)?;
            let places = read_all(from, 2 * DIGEST_BYTES, |from| {
                Ok((read_digest(from)?, read_digest(from)?))
            })?;
            if !places.is_sorted_by(|(one, _), (next, _)| one < next) {
                return Err(DecodeError::Impossible("places out of order"));
            }
            let next = read_flag(from)?.then(|| read_digest(from)).transpose()?;
            Message::Listed { step, places, next }
        }
        8 => Message::Exchange {
            step: read_step(from)?,
            want: read_all(from, DIGEST_BYTES, read_digest)?,
            after: read_cursor(from)?,
            give: read_delta(from)?,
        },
        9 => Message::Given {
            step: read_step(from)?,
            delta: read_delta(from)?,
            done: read_small(from)?,
            after: read_cursor(from)?,
        },
        10 => Message::Finished {
            mark: Stamp::read(from)?,
            row: read_row(from)?,
            is_filled: read_flag(from)?,
        },
        11 => Message::Over,
        12 => Message::Ahead {
            ahead_ms: from.number()?,
        },
        mark => return Err(CodecError::Mark(mark).into()),
    })
}

/// A count, and so many things of at least so many bytes.
fn read_all<T>(
    from: &mut Reader,
    bytes_min: usize,
    mut read: impl FnMut(&mut Reader) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = from.count(bytes_min)?;
    (0..count).map(|_| read(from)).collect()
}

pub(super) fn write_delta(to: &mut Writer, delta: &Delta) {
    to.length(delta.len());
    for (key, item) in delta {
        to.bytes(key);
        item.write(to);
    }
}

pub(super) fn read_delta(from: &mut Reader) -> Result<Delta, DecodeError> {
    read_all(from, 1 + ITEM_BYTES_MIN, |from| {
        Ok((Key::from(&from.bytes()?), Item::read(from)?))
    })
}

pub(super) fn read_flag(from: &mut Reader) -> Result<bool, CodecError> {
    match from.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        mark => Err(CodecError::Mark(mark)),
    }
}

fn read_small(from: &mut Reader) -> Result<u32, DecodeError> {
    Ok(u32::try_from(from.number()?).map_err(|_| CodecError::Number)?)
}

/// Digests and places use all their bits, so they are written as they are.
fn write_digest(to: &mut Writer, digest: u64) {
    to.raw(&digest.to_be_bytes());
}

fn read_digest(from: &mut Reader) -> Result<u64, DecodeError> {
    let mut digest = 0;
    for _ in 0..DIGEST_BYTES {
        digest = (digest << 8) | u64::from(from.byte()?);
    }
    Ok(digest)
}

fn write_step(to: &mut Writer, step: Step) {
    to.number(step.session).number(step.step);
}

fn read_step(from: &mut Reader) -> Result<Step, DecodeError> {
    Ok(Step {
        session: from.number()?,
        step: from.number()?,
    })
}

fn write_node(to: &mut Writer, node: Node) {
    to.byte(node.level).number(node.index.into());
}

fn read_node(from: &mut Reader) -> Result<Node, DecodeError> {
    let level = from.byte()?;
    let index = u16::try_from(from.number()?).map_err(|_| CodecError::Number)?;
    let node = Node { level, index };
    match node.is_there() {
        true => Ok(node),
        false => Err(DecodeError::Impossible("a node that no tree has")),
    }
}

fn read_leaf(from: &mut Reader) -> Result<Node, DecodeError> {
    let node = read_node(from)?;
    match node.is_leaf() {
        true => Ok(node),
        false => Err(DecodeError::Impossible("a leaf that is none")),
    }
}

fn write_row(to: &mut Writer, row: &Row) {
    to.length(row.len());
    for (replica, mark) in row {
        to.number(replica.0);
        mark.write(to);
    }
}

fn read_row(from: &mut Reader) -> Result<Row, DecodeError> {
    let marks = read_all(from, 1 + Stamp::BYTES_MIN, |from| {
        Ok((ReplicaId(from.number()?), Stamp::read(from)?))
    })?;
    if marks.len() > MEMBERS_MAX || !marks.is_sorted_by(|(one, _), (next, _)| one < next) {
        return Err(DecodeError::Impossible(
            "marks of too many, or out of order",
        ));
    }
    Ok(marks.into_iter().collect())
}

fn write_cursor(to: &mut Writer, cursor: Option<&Cursor>) {
    let Some(cursor) = cursor else {
        to.byte(0);
        return;
    };
    match &cursor.place {
        None => to.byte(1).bytes(&cursor.key),
        Some(Place::Member(name)) => to.byte(2).bytes(&cursor.key).bytes(name),
        Some(Place::Field(name)) => to.byte(3).bytes(&cursor.key).bytes(name),
    };
}

fn read_cursor(from: &mut Reader) -> Result<Option<Cursor>, DecodeError> {
    let mark = from.byte()?;
    if mark == 0 {
        return Ok(None);
    }
    let key = Key::from(&from.bytes()?);
    let place = match mark {
        1 => None,
        2 => Some(Place::Member(Key::from(&from.bytes()?))),
        3 => Some(Place::Field(Key::from(&from.bytes()?))),
        mark => return Err(CodecError::Mark(mark).into()),
    };
    Ok(Some(Cursor { key, place }))
}
