//! Publications that one node passes on to another.

use bytes::Bytes;

use crate::{
    api::Publication,
    core::codec::{CodecError, Reader, Writer},
};

/// Version of the encoded form.
const VERSION: u8 = 1;

/// What lengths and marks of one publication take at most.
const OVERHEAD_BYTES_MAX: usize = 32;

/// How long a publication is in a message, at most.
pub fn publication_bytes(publication: &Publication) -> usize {
    OVERHEAD_BYTES_MAX + publication.channel.len() + publication.message.len()
}

/// As a node sends them.
pub fn encode_publications(publications: &[Publication]) -> Bytes {
    let mut writer = Writer::default();
    writer.byte(VERSION);
    for publication in publications {
        writer
            .byte(u8::from(publication.sharded))
            .bytes(&publication.channel)
            .bytes(&publication.message);
    }
    writer.finish()
}

/// The publications, in order.
///
/// # Errors
/// These bytes are no publications, or of a newer version.
pub fn decode_publications(bytes: Bytes) -> Result<Vec<Publication>, CodecError> {
    let mut reader = Reader::new(bytes);
    reader.version(VERSION)?;
    let mut publications = Vec::new();
    while !reader.is_empty() {
        let sharded = match reader.byte()? {
            0 => false,
            1 => true,
            mark => return Err(CodecError::Mark(mark)),
        };
        publications.push(Publication {
            sharded,
            channel: reader.bytes()?,
            message: reader.bytes()?,
        });
    }
    Ok(publications)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn what_is_sent_does_not_change() {
        let publication = |channel: &'static str, sharded| Publication {
            channel: channel.into(),
            message: "m".into(),
            sharded,
        };
        let bytes = encode_publications(&[publication("ab", false), publication("c", true)]);
        assert_eq!(bytes, &b"\x01\x00\x02ab\x01m\x01\x01c\x01m"[..]);
    }

    proptest! {
        #[test]
        fn publications_come_back(all in vec((any::<bool>(), ".{0,300}", ".{0,5}"), 0..5)) {
            let all: Vec<Publication> = all
                .into_iter()
                .map(|(sharded, channel, message)| Publication {
                    channel: channel.into(),
                    message: message.into(),
                    sharded,
                })
                .collect();
            let bytes = encode_publications(&all);
            let bytes_max: usize = all.iter().map(publication_bytes).sum();
            prop_assert!(bytes.len() <= 1 + bytes_max);
            prop_assert_eq!(decode_publications(bytes).unwrap(), all);
        }

        #[test]
        fn noise_does_no_harm(noise in vec(any::<u8>(), 0..50)) {
            let _ = decode_publications(noise.into());
        }
    }
}
