//! What one entry of the log holds: requests, the moment they are applied at, and their chance.

use atoll_base::id::ReplicaId;
use bytes::Bytes;

use crate::core::{
    codec::{CodecError, Reader, Writer},
    data::Milliseconds,
    sessions::{Origin, Session},
};

/// Version of the encoded form.
const VERSION: u8 = 1;
/// Bytes that an encoded batch takes apart from its requests, and a request apart from its
/// operation, unless numbers are very large.
const HEAD_BYTES: usize = 24;
const ORIGIN_BYTES: usize = 24;
/// Bytes that a request takes at least.
const REQUEST_BYTES_MIN: usize = 5;

/// Requests that the owner put into one entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The owner's clock when it made the entry. The partition's time is the highest so far.
    pub now_ms: Milliseconds,
    /// Where random numbers come from.
    pub seed: u64,
    /// In the order in which they are applied.
    pub requests: Vec<(Origin, Bytes)>,
}

impl Batch {
    /// As the log holds it.
    pub fn encode(&self) -> Bytes {
        let requests = self.requests.iter();
        let bytes: usize = requests.map(|(_, it)| ORIGIN_BYTES + it.len()).sum();
        let mut writer = Writer::with_room(HEAD_BYTES + bytes);
        writer
            .byte(VERSION)
            .number(self.now_ms)
            .number(self.seed)
            .length(self.requests.len());
        for (origin, operation) in &self.requests {
            writer
                .number(origin.session.replica.0)
                .number(origin.session.boot)
                .number(origin.sequence)
                .number(origin.answered_below)
                .bytes(operation);
        }
        writer.finish()
    }

    /// # Errors
    /// These bytes are not a batch, or one of a newer version.
    pub fn decode(bytes: Bytes) -> Result<Batch, CodecError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let (now_ms, seed) = (reader.number()?, reader.number()?);
        let count = reader.count(REQUEST_BYTES_MIN)?;
        let mut requests = Vec::with_capacity(count);
        for _ in 0..count {
            let session = Session {
                replica: ReplicaId(reader.number()?),
                boot: reader.number()?,
            };
            let origin = Origin {
                session,
                sequence: reader.number()?,
                answered_below: reader.number()?,
            };
            requests.push((origin, reader.bytes()?));
        }
        reader.finish()?;
        Ok(Batch {
            now_ms,
            seed,
            requests,
        })
    }
}
