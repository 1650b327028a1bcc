//! Changes of keys, as one node tells another whose clients cache.

use atoll_base::id::NodeId;
use bytes::Bytes;

use crate::core::{
    codec::{CodecError, Reader, Writer},
    machine::{Author, Changed},
};

/// Version of the encoded form.
const VERSION: u8 = 1;

const KEY: u8 = 0;
const ALL: u8 = 1;
const KEY_BY: u8 = 2;
const ALL_BY: u8 = 3;

/// What a node says that asked for changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The node begins to tell now: of what was before it tells nothing.
    pub begins: bool,
    /// Changes since it told last, in order.
    pub changed: Vec<Changed>,
}

/// How long a change is in a message, at most.
pub fn change_bytes(changed: &Changed) -> usize {
    32 + changed.key.as_ref().map_or(0, Bytes::len)
}

impl Changes {
    /// As a node sends them.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.byte(VERSION).byte(u8::from(self.begins));
        for Changed { key, author } in &self.changed {
            writer.byte(match (key, author) {
                (Some(_), None) => KEY,
                (None, None) => ALL,
                (Some(_), Some(_)) => KEY_BY,
                (None, Some(_)) => ALL_BY,
            });
            if let Some(key) = key {
                writer.bytes(key);
            }
            if let Some(author) = author {
                writer.number(author.node.0).number(author.client);
            }
        }
        writer.finish()
    }

    /// # Errors
    /// These bytes are no changes, or of a newer version.
    pub fn decode(bytes: Bytes) -> Result<Changes, CodecError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let begins = reader.flag()?;
        let mut changed = Vec::new();
        while !reader.is_empty() {
            let mark = reader.byte()?;
            let key = match mark {
                KEY | KEY_BY => Some(reader.bytes()?),
                ALL | ALL_BY => None,
                mark => return Err(CodecError::Mark(mark)),
            };
            let author = match mark {
                KEY_BY | ALL_BY => Some(Author {
                    node: NodeId(reader.number()?),
                    client: reader.number()?,
                }),
                _ => None,
            };
            changed.push(Changed { key, author });
        }
        Ok(Changes { begins, changed })
    }
}

/// What a node asks: whether it begins, having heard nothing so far.
pub fn encode_question(begins: bool) -> Bytes {
    let mut writer = Writer::default();
    writer.byte(VERSION).byte(u8::from(begins));
    writer.finish()
}

/// # Errors
/// These bytes are no question, or of a newer version.
pub fn decode_question(bytes: Bytes) -> Result<bool, CodecError> {
    let mut reader = Reader::new(bytes);
    reader.version(VERSION)?;
    let begins = reader.flag()?;
    reader.finish()?;
    Ok(begins)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn changed(key: Option<&'static str>, client: Option<u64>) -> Changed {
        let author = client.map(|client| Author {
            node: NodeId(3),
            client,
        });
        let key = key.map(Bytes::from);
        Changed { key, author }
    }

    #[test]
    fn what_is_sent_does_not_change() {
        let changes = Changes {
            begins: true,
            changed: vec![
                changed(Some("ab"), None),
                changed(Some("c"), Some(9)),
                changed(None, None),
            ],
        };
        let bytes = changes.encode();
        assert_eq!(bytes, &b"\x01\x01\x00\x02ab\x02\x01c\x03\x09\x01"[..]);
        assert_eq!(encode_question(true), &b"\x01\x01"[..]);
    }

    proptest! {
        #[test]
        fn changes_come_back(
            begins: bool,
            all in vec((proptest::option::of(".{0,20}"), proptest::option::of(any::<u64>())), 0..5),
        ) {
            let all = all.into_iter().map(|(key, client)| Changed {
                key: key.map(Bytes::from),
                author: client.map(|client| Author { node: NodeId(client), client }),
            });
            let changes = Changes { begins, changed: all.collect() };
            let bytes_max: usize = changes.changed.iter().map(change_bytes).sum();
            let bytes = changes.encode();
            prop_assert!(bytes.len() <= 2 + bytes_max);
            prop_assert_eq!(Changes::decode(bytes), Ok(changes));
            prop_assert_eq!(decode_question(encode_question(begins)), Ok(begins));
        }

        #[test]
        fn noise_does_no_harm(noise in vec(any::<u8>(), 0..50)) {
            let _ = Changes::decode(noise.clone().into());
            let _ = decode_question(noise.into());
        }
    }
}
