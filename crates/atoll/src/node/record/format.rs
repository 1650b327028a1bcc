//! `node.json` as bytes; see docs/formats/node.md.
//!
//! Every format that there ever was can be read: each has a type of its own and a step to the
//! next one, and only the newest is written. Pure, so that a fuzzer can have it alone.

use std::collections::BTreeMap;

use atoll_base::id::{ClusterId, NodeId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A node's identity, and what it needs before it has heard from anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The cluster.
    pub(crate) cluster: ClusterId,
    /// This node.
    pub(crate) node: NodeId,
    /// Counts the starts.
    pub(crate) boot: u64,
    /// It made the cluster (or was made its only member): an empty log is filled with a
    /// membership of itself.
    pub(crate) founder: bool,
    /// Where the other members were when it joined.
    pub(crate) members: BTreeMap<NodeId, String>,
}

/// The format that this code writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 2;

/// Why bytes are not the record of a node.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormatError {
    /// A newer version wrote it.
    #[error("it has format {found}, this atoll reads up to {FORMAT}")]
    Newer {
        /// Its format.
        found: u32,
    },
    /// It is not what any version writes.
    #[error("it is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// No format has this number.
    #[error("it is damaged: there is no format {found}")]
    NoSuchFormat {
        /// Its format.
        found: u32,
    },
}

/// Reads a record of any format.
///
/// # Errors
/// [`FormatError`].
pub(crate) fn decode(bytes: &[u8]) -> Result<Record, FormatError> {
    /// What stands in every format, for ever.
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let Format { format } = serde_json::from_slice(bytes)?;
    let newest: V2 = match format {
        0 => return Err(FormatError::NoSuchFormat { found: format }),
        1 => serde_json::from_slice::<V1>(bytes)?.into(),
        2 => serde_json::from_slice(bytes)?,
        _ => return Err(FormatError::Newer { found: format }),
    };
    Ok(newest.into())
}

/// Writes a record, in the newest format.
pub(crate) fn encode(record: &Record) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(&V2::from(record)).expect("a record is plain data");
    text.push(b'\n');
    text
}

/// Format 1: ids are JSON numbers, which most programs round. It has a field `auth` besides, whether
/// clients had to log in: the cluster knows better.
#[derive(Deserialize)]
struct V1 {
    cluster: u64,
    node: u64,
    boot: u64,
    founder: bool,
    members: BTreeMap<NodeId, String>,
}

/// Format 2: ids are strings, in hexadecimal as people see them everywhere else; no `auth`.
#[derive(Serialize, Deserialize)]
struct V2 {
    format: u32,
    cluster: Hex,
    node: Hex,
    boot: u64,
    founder: bool,
    members: BTreeMap<Hex, String>,
}

impl From<V1> for V2 {
    fn from(old: V1) -> V2 {
        let members = old.members.into_iter();
        V2 {
            format: 2,
            cluster: Hex(old.cluster),
            node: Hex(old.node),
            boot: old.boot,
            founder: old.founder,
            members: members.map(|(id, at)| (Hex(id.0), at)).collect(),
        }
    }
}

impl From<V2> for Record {
    fn from(stored: V2) -> Record {
        let members = stored.members.into_iter();
        Record {
            cluster: ClusterId(stored.cluster.0),
            node: NodeId(stored.node.0),
            boot: stored.boot,
            founder: stored.founder,
            members: members.map(|(id, at)| (NodeId(id.0), at)).collect(),
        }
    }
}

impl From<&Record> for V2 {
    fn from(record: &Record) -> V2 {
        let members = record.members.iter();
        V2 {
            format: FORMAT,
            cluster: Hex(record.cluster.0),
            node: Hex(record.node.0),
            boot: record.boot,
            founder: record.founder,
            members: members.map(|(id, at)| (Hex(id.0), at.clone())).collect(),
        }
    }
}

/// An id of 64 bits as a string of hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Hex(u64);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hex, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        // A sign would be taken, too.
        let id = digits
            .then(|| u64::from_str_radix(&text, 16).ok())
            .flatten();
        id.map(Hex).ok_or_else(|| {
            de::Error::invalid_value(de::Unexpected::Str(&text), &"an id in hexadecimal")
        })
    }
}
