//! Streams: entries in listpacks, then counters, groups, and what is to be acknowledged.
//!
//! A listpack has an id, from which its entries' ids are counted, and begins with a master
//! entry, whose fields those that follow may share (Redis: "t_stream.c" describes it).

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    RestoreError,
    listpack::{self, Piece},
    packs::{self, Item},
    reader::Reader,
    write::{count, string},
};
use crate::core::data::{Group, Kind as _, Milliseconds, Pack, Stream, StreamId, Value};

/// An entry that was taken out is marked so in its place.
const DELETED: i64 = 1;
/// An entry's fields are those of the master entry.
const SAME_FIELDS: i64 = 1 << 1;

/// A listpack that is written has at most so many entries, and ends with the entry that brings
/// it to so many bytes: Redis's `stream-node-max-entries` and `-bytes`.
const NODE_ENTRIES_MAX: usize = 100;
const NODE_BYTES: usize = 4_096;

/// What stands for "not known" among numbers.
const UNKNOWN: u64 = u64::MAX;

/// What has been added to the form over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    /// Redis 5.
    First,
    /// Redis 7.0: how many entries there ever were.
    Counted,
    /// Redis 7.2: when consumers were active.
    Active,
}

/// Reads a stream.
pub(super) fn read(reader: &mut Reader<'_>, version: Version) -> Result<Value, RestoreError> {
    let mut stream = Stream::default();
    for _ in 0..reader.count()? {
        let key = reader.string()?;
        let master = id_of((*key).try_into().map_err(|_| RestoreError::Data)?);
        let node = reader.string()?;
        read_node(&mut stream, master, packs::listpack(&node))?;
    }
    if reader.count()? != stream.len() {
        return Err(RestoreError::Data);
    }
    let (newest, last_id) = (stream.last_id(), read_id(reader)?);
    if last_id < newest {
        return Err(RestoreError::Data);
    }
    if version >= Version::Counted {
        // The first entry's id, which is plain to see.
        read_id(reader)?;
        let max_deleted_id = read_id(reader)?;
        let added = reader.count()? as u64;
        if added < stream.len() as u64 {
            return Err(RestoreError::Data);
        }
        stream.set_counters(last_id, Some(added), Some(max_deleted_id));
    } else {
        stream.set_counters(last_id, None, None);
    }
    for _ in 0..reader.count()? {
        let name = reader.string()?;
        let mut group = read_group(reader, version)?;
        if matches!(version, Version::First) {
            // It was not counted then; as in Redis it is worked out where it can be.
            group.entries_read = stream.entries_up_to(group.last_id);
        }
        if !stream.add_group(&name, group) {
            return Err(RestoreError::Data);
        }
    }
    Ok(stream.into_value())
}

/// Items one after the other, where none may be missing.
struct Items<I>(I);

impl<'a, I: Iterator<Item = Item<'a>>> Items<I> {
    fn string(&mut self) -> Result<Cow<'a, [u8]>, RestoreError> {
        self.0.next().ok_or(RestoreError::Data)?
    }

    fn integer(&mut self) -> Result<i64, RestoreError> {
        let digits = self.string()?;
        let text = std::str::from_utf8(&digits).map_err(|_| RestoreError::Data)?;
        text.parse().map_err(|_| RestoreError::Data)
    }

    /// Nothing at the end of the row.
    fn next_integer(&mut self) -> Result<Option<i64>, RestoreError> {
        let Some(digits) = self.0.next().transpose()? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&digits).map_err(|_| RestoreError::Data)?;
        text.parse().map(Some).map_err(|_| RestoreError::Data)
    }
}

fn read_node<'a>(
    stream: &mut Stream,
    master: StreamId,
    items: impl Iterator<Item = Item<'a>>,
) -> Result<(), RestoreError> {
    let mut items = Items(items);
    // How many there are and were, which their marks say, too.
    let (_, _) = (items.integer()?, items.integer()?);
    let mut master_fields = Vec::new();
    for _ in 0..items.integer()? {
        master_fields.push(items.string()?);
    }
    if items.integer()? != 0 {
        return Err(RestoreError::Data);
    }
    while let Some(flags) = items.next_integer()? {
        // Differences wrap around, as in Redis.
        let id = StreamId {
            ms: master.ms.wrapping_add_signed(items.integer()?),
            seq: master.seq.wrapping_add_signed(items.integer()?),
        };
        let mut fields = Pack::default();
        if flags & SAME_FIELDS != 0 {
            for field in &master_fields {
                fields.push_back(field);
                fields.push_back(&items.string()?);
            }
        } else {
            for _ in 0..items.integer()? {
                fields.push_back(&items.string()?);
                fields.push_back(&items.string()?);
            }
        }
        // The number of items, for those who walk back.
        items.integer()?;
        if flags & DELETED != 0 {
            continue;
        }
        if id <= stream.last_id() || fields.is_empty() {
            return Err(RestoreError::Data);
        }
        stream.add(id, fields);
    }
    Ok(())
}

fn read_group(reader: &mut Reader<'_>, version: Version) -> Result<Group, RestoreError> {
    let last_id = read_id(reader)?;
    let entries_read = match version {
        Version::First => None,
        Version::Counted | Version::Active => {
            Some(reader.count()? as u64).filter(|read| *read != UNKNOWN)
        }
    };
    let mut group = Group::new(last_id, entries_read);
    let mut pending: BTreeMap<StreamId, (Milliseconds, u64)> = BTreeMap::new();
    for _ in 0..reader.count()? {
        let id = raw_id(reader)?;
        let delivered = (reader.milliseconds()?, reader.count()? as u64);
        if pending.insert(id, delivered).is_some() {
            return Err(RestoreError::Data);
        }
    }
    for _ in 0..reader.count()? {
        let name = reader.string()?;
        let seen_at_ms = reader.milliseconds()?;
        if !group.add_consumer(&name, seen_at_ms) {
            return Err(RestoreError::Data);
        }
        let active_at_ms = match version {
            Version::Active => reader.milliseconds()?,
            Version::First | Version::Counted => seen_at_ms,
        };
        if active_at_ms != UNKNOWN {
            group.was_active(&name, active_at_ms);
        }
        for _ in 0..reader.count()? {
            let id = raw_id(reader)?;
            let (delivered_at_ms, deliveries) = pending.remove(&id).ok_or(RestoreError::Data)?;
            group.assign(id, &name, delivered_at_ms, deliveries);
        }
    }
    // Somebody has to acknowledge each of them.
    if pending.is_empty() {
        Ok(group)
    } else {
        Err(RestoreError::Data)
    }
}

fn read_id(reader: &mut Reader<'_>) -> Result<StreamId, RestoreError> {
    Ok(StreamId {
        ms: reader.count()? as u64,
        seq: reader.count()? as u64,
    })
}

/// An id in sixteen bytes that are ordered as ids are.
fn raw_id(reader: &mut Reader<'_>) -> Result<StreamId, RestoreError> {
    let bytes = reader.bytes(16)?;
    bytes.try_into().map(id_of).map_err(|_| RestoreError::Data)
}

fn id_of(bytes: [u8; 16]) -> StreamId {
    let both = u128::from_be_bytes(bytes);
    StreamId {
        ms: (both >> 64) as u64,
        seq: both as u64,
    }
}

fn write_raw_id(out: &mut Vec<u8>, id: StreamId) {
    out.extend_from_slice(&id.ms.to_be_bytes());
    out.extend_from_slice(&id.seq.to_be_bytes());
}

fn write_id(out: &mut Vec<u8>, id: StreamId) {
    count(out, id.ms);
    count(out, id.seq);
}

/// Writes a stream, in the newest form.
pub(super) fn write(out: &mut Vec<u8>, stream: &Stream) {
    let mut nodes = Vec::new();
    let mut entries = stream.range(StreamId::MIN, StreamId::MAX).peekable();
    while let Some((master, fields)) = entries.peek() {
        let mut node = Node::new(*master, fields);
        while let Some((id, fields)) = entries.next_if(|_| !node.is_full()) {
            node.add(id, fields);
        }
        nodes.push(node);
    }
    count(out, nodes.len() as u64);
    for node in nodes {
        count(out, 16);
        write_raw_id(out, node.master);
        let row = node.finish();
        count(out, row.len() as u64);
        out.extend_from_slice(&row);
    }
    count(out, stream.len() as u64);
    write_id(out, stream.last_id());
    write_id(out, stream.first_entry_id());
    write_id(out, stream.max_deleted_id());
    count(out, stream.entries_added());
    count(out, stream.groups().len() as u64);
    for (name, group) in stream.groups() {
        string(out, name);
        write_group(out, group);
    }
}

fn write_group(out: &mut Vec<u8>, group: &Group) {
    write_id(out, group.last_id);
    count(out, group.entries_read.unwrap_or(UNKNOWN));
    count(out, group.pending().len() as u64);
    for (id, pending) in group.pending() {
        write_raw_id(out, *id);
        out.extend_from_slice(&pending.delivered_at_ms.to_le_bytes());
        count(out, pending.deliveries);
    }
    count(out, group.consumers().len() as u64);
    for (name, consumer) in group.consumers() {
        string(out, name);
        out.extend_from_slice(&consumer.seen_at_ms.to_le_bytes());
        let active_at_ms = consumer.active_at_ms.unwrap_or(UNKNOWN);
        out.extend_from_slice(&active_at_ms.to_le_bytes());
        count(out, consumer.pending().len() as u64);
        for id in consumer.pending() {
            write_raw_id(out, *id);
        }
    }
}

/// A listpack of entries that is being written.
struct Node<'a> {
    master: StreamId,
    /// Fields and values of the first entry, whose fields are the master entry's.
    master_fields: &'a Pack,
    entries: usize,
    items: usize,
    /// The items of the entries.
    row: Vec<u8>,
}

impl<'a> Node<'a> {
    fn new(master: StreamId, master_fields: &'a Pack) -> Self {
        Node {
            master,
            master_fields,
            entries: 0,
            items: 0,
            row: Vec::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.entries >= NODE_ENTRIES_MAX || self.row.len() >= NODE_BYTES
    }

    fn add(&mut self, id: StreamId, fields: &Pack) {
        let names = |fields: &'a Pack| fields.iter().step_by(2);
        let same = fields.iter().step_by(2).eq(names(self.master_fields));
        let mut items = vec![
            Piece::Integer(if same { SAME_FIELDS } else { 0 }),
            // Differences wrap around; they come back by wrapping once more.
            Piece::Integer(id.ms.wrapping_sub(self.master.ms) as i64),
            Piece::Integer(id.seq.wrapping_sub(self.master.seq) as i64),
        ];
        if same {
            items.extend(fields.iter().skip(1).step_by(2).map(Piece::Bytes));
        } else {
            items.push(Piece::Integer(fields.len() as i64 / 2));
            items.extend(fields.iter().map(Piece::Bytes));
        }
        items.push(Piece::Integer(items.len() as i64));
        for item in &items {
            item.write(&mut self.row);
        }
        self.items += items.len();
        self.entries += 1;
    }

    fn finish(self) -> Vec<u8> {
        let names = self.master_fields.iter().step_by(2);
        let mut head = vec![
            Piece::Integer(self.entries as i64),
            Piece::Integer(0),
            Piece::Integer(self.master_fields.len() as i64 / 2),
        ];
        head.extend(names.map(Piece::Bytes));
        head.push(Piece::Integer(0));
        let mut master = Vec::new();
        for item in &head {
            item.write(&mut master);
        }
        listpack::listpack(&[&master, &self.row], head.len() + self.items)
    }
}
