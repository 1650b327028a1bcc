//! What a peer link carries: frames, as bytes.
//!
//! ```text
//! length u32 | version u8 | kind u8 | id u64 | service u8 | payload
//! ```
//! All numbers are little-endian; `length` counts what follows it. Kinds: 0 hello (payload:
//! cluster u64, node u64), 1 request, 2 response, 3 refusal (no payload), 4 closing (payload:
//! the reason in UTF-8). A response or refusal bears the id of its request; where id or
//! service mean nothing they are 0.

use atoll_base::id::{ClusterId, NodeId};
use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{PAYLOAD_BYTES_MAX, Service};

/// The version of this format.
pub const VERSION: u8 = 1;
/// Bytes of the length field.
const LENGTH_BYTES: usize = 4;
/// Bytes before the payload, the length field included.
pub const HEADER_BYTES: usize = LENGTH_BYTES + 1 + 1 + 8 + 1;
/// The longest frame.
pub const FRAME_BYTES_MAX: usize = HEADER_BYTES + PAYLOAD_BYTES_MAX;
/// The longest reason that is sent or believed, in bytes.
pub const REASON_BYTES_MAX: usize = 512;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The first frame of each side: who it is.
    Hello = 0,
    /// A call.
    Request = 1,
    /// Its answer.
    Response = 2,
    /// That there will be no answer.
    Refusal = 3,
    /// Why the connection is about to end.
    Closing = 4,
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is for.
    pub kind: Kind,
    /// Which request it is or answers.
    pub id: u64,
    /// Which room it is for.
    pub service: Service,
    /// The rest.
    pub payload: Bytes,
}

/// Why bytes are not a frame. The connection can't go on after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is beyond every limit.
    #[error("a frame of {bytes} bytes is over the limit of {FRAME_BYTES_MAX}")]
    Oversized {
        /// The length that it claims.
        bytes: u64,
    },
    /// The length leaves no room for the header.
    #[error("a frame of {bytes} bytes is too short for its header")]
    Short {
        /// The length that it claims.
        bytes: u64,
    },
    /// Another version.
    #[error("frame version {0} is not known here, only {VERSION}")]
    UnknownVersion(u8),
    /// A kind that this version doesn't have.
    #[error("frame kind {0} is not known here")]
    UnknownKind(u8),
    /// A hello's or refusal's payload does not have its one length.
    #[error("a frame of kind {kind:?} has a payload of {bytes} bytes")]
    BadPayload {
        /// What it is for.
        kind: Kind,
        /// Length of the payload.
        bytes: usize,
    },
}

/// Who speaks: the first frame of each side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its id, which must be its certificate's.
    pub node: NodeId,
}

const HELLO_BYTES: usize = 16;

impl Hello {
    /// As a frame.
    pub fn to_frame(self) -> Frame {
        let mut payload = BytesMut::with_capacity(HELLO_BYTES);
        payload.put_u64_le(self.cluster.0);
        payload.put_u64_le(self.node.0);
        Frame {
            kind: Kind::Hello,
            id: 0,
            service: Service(0),
            payload: payload.freeze(),
        }
    }

    /// From a frame; `None` if it is of another kind.
    pub fn from_frame(frame: &Frame) -> Option<Hello> {
        if frame.kind != Kind::Hello || frame.payload.len() != HELLO_BYTES {
            return None;
        }
        let mut payload = &frame.payload[..];
        Some(Hello {
            cluster: ClusterId(payload.get_u64_le()),
            node: NodeId(payload.get_u64_le()),
        })
    }
}

impl Frame {
    /// That no answer will come.
    pub fn refusal(id: u64, service: Service) -> Frame {
        Frame {
            kind: Kind::Refusal,
            id,
            service,
            payload: Bytes::new(),
        }
    }

    /// That the connection is about to end, and why.
    pub fn closing(reason: &str) -> Frame {
        let end = reason.floor_char_boundary(REASON_BYTES_MAX);
        let payload = Bytes::copy_from_slice(&reason.as_bytes()[..end]);
        Frame {
            kind: Kind::Closing,
            id: 0,
            service: Service(0),
            payload,
        }
    }

    /// The reason of a closing frame, made fit for a log.
    pub fn reason(&self) -> String {
        let shown = &self.payload[..self.payload.len().min(REASON_BYTES_MAX)];
        let text = String::from_utf8_lossy(shown);
        text.chars()
            .map(|char| if char.is_control() { ' ' } else { char })
            .collect()
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }

    /// Appends it. Payloads over the limit are our own bug.
    pub fn encode(&self, to: &mut BytesMut) {
        assert!(
            self.payload.len() <= PAYLOAD_BYTES_MAX,
            "a payload is within its limit"
        );
        to.reserve(self.bytes());
        to.put_u32_le((self.bytes() - LENGTH_BYTES) as u32);
        to.put_u8(VERSION);
        to.put_u8(self.kind as u8);
        to.put_u64_le(self.id);
        to.put_u8(self.service.0);
        to.put_slice(&self.payload);
    }

    /// Takes the first frame off the front; `None` if it is not there in full. The payload
    /// shares the buffer's memory. Nothing is taken when there is an error.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn decode(from: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(bytes) = frame_bytes(from)? else {
            return Ok(None);
        };
        let header = parse_header(from, bytes)?;
        if from.len() < bytes {
            from.reserve(bytes - from.len());
            return Ok(None);
        }
        let mut frame = from.split_to(bytes).freeze();
        frame.advance(HEADER_BYTES);
        Ok(Some(Frame {
            payload: frame,
            ..header
        }))
    }
}

/// Parses the first frame of some bytes: the frame and how many bytes it took, or `None` if
/// more are needed.
///
/// # Errors
/// [`FrameError`].
pub fn parse(input: &[u8]) -> Result<Option<(Frame, usize)>, FrameError> {
    let Some(bytes) = frame_bytes(input)? else {
        return Ok(None);
    };
    let header = parse_header(input, bytes)?;
    let Some(payload) = input.get(HEADER_BYTES..bytes) else {
        return Ok(None);
    };
    Ok(Some((
        Frame {
            payload: Bytes::copy_from_slice(payload),
            ..header
        },
        bytes,
    )))
}

/// The length of the first frame, once its header is there; a length that can't be is refused
/// as soon as it can be read.
fn frame_bytes(input: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some(mut length) = input.get(..LENGTH_BYTES) else {
        return Ok(None);
    };
    let bytes = u64::from(length.get_u32_le()) + LENGTH_BYTES as u64;
    if bytes > FRAME_BYTES_MAX as u64 {
        return Err(FrameError::Oversized { bytes });
    }
    if bytes < HEADER_BYTES as u64 {
        return Err(FrameError::Short { bytes });
    }
    Ok((input.len() >= HEADER_BYTES).then_some(bytes as usize))
}

fn parse_header(input: &[u8], bytes: usize) -> Result<Frame, FrameError> {
    let mut header = &input[LENGTH_BYTES..HEADER_BYTES];
    let version = header.get_u8();
    if version != VERSION {
        return Err(FrameError::UnknownVersion(version));
    }
    let kind = match header.get_u8() {
        0 => Kind::Hello,
        1 => Kind::Request,
        2 => Kind::Response,
        3 => Kind::Refusal,
        4 => Kind::Closing,
        other => return Err(FrameError::UnknownKind(other)),
    };
    let payload_bytes = bytes - HEADER_BYTES;
    let is_bad = match kind {
        Kind::Hello => payload_bytes != HELLO_BYTES,
        Kind::Refusal => payload_bytes != 0,
        Kind::Closing => payload_bytes > REASON_BYTES_MAX,
        Kind::Request | Kind::Response => false,
    };
    if is_bad {
        return Err(FrameError::BadPayload {
            kind,
            bytes: payload_bytes,
        });
    }
    let id = header.get_u64_le();
    Ok(Frame {
        kind,
        id,
        service: Service(header.get_u8()),
        payload: Bytes::new(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::golden::golden;

    #[test]
    fn the_corpus_of_the_fuzzer_parses() {
        let corpus =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/peer_frame");
        let disk = crate::disk::real();
        let names = disk.list(&corpus).unwrap();
        assert!(names.len() >= 10);
        let mut frames = 0;
        for name in names {
            let mut rest = disk.read_all(&corpus.join(name)).unwrap();
            while let Ok(Some((_, bytes))) = parse(&rest) {
                assert!(bytes > 0);
                rest.advance(bytes);
                frames += 1;
            }
        }
        assert!(frames >= 7, "the sound ones are read");
    }

    fn frames() -> impl Strategy<Value = Frame> {
        let payload = proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
        let message = (any::<bool>(), any::<u64>(), any::<u8>(), payload).prop_map(
            |(is_request, id, service, payload)| Frame {
                kind: if is_request {
                    Kind::Request
                } else {
                    Kind::Response
                },
                id,
                service: Service(service),
                payload,
            },
        );
        let hello = any::<(u64, u64)>().prop_map(|(cluster, node)| {
            Hello {
                cluster: ClusterId(cluster),
                node: NodeId(node),
            }
            .to_frame()
        });
        let refusal =
            any::<(u64, u8)>().prop_map(|(id, service)| Frame::refusal(id, Service(service)));
        let closing = "\\PC{0,600}".prop_map(|reason| Frame::closing(&reason));
        prop_oneof![4 => message, 1 => hello, 1 => refusal, 1 => closing]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn frames_arrive_as_sent_however_the_bytes_are_cut(
            sent in proptest::collection::vec(frames(), 0..8),
            cut in 1usize..64,
        ) {
            let mut wire = BytesMut::new();
            for frame in &sent {
                frame.encode(&mut wire);
            }
            prop_assert_eq!(wire.len(), sent.iter().map(Frame::bytes).sum::<usize>());
            let mut buffer = BytesMut::new();
            let mut arrived = Vec::new();
            for piece in wire.chunks(cut) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = Frame::decode(&mut buffer).unwrap() {
                    arrived.push(frame);
                }
            }
            prop_assert!(buffer.is_empty());
            prop_assert_eq!(arrived, sent);
        }

        #[test]
        fn any_bytes_are_a_frame_or_an_error_and_both_parsers_agree(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..64),
            length in proptest::option::of(0u8..80),
        ) {
            if let (Some(length), true) = (length, bytes.len() > 6) {
                bytes[..6].copy_from_slice(&[length, 0, 0, 0, VERSION, length % 6]);
            }
            let mut buffer = BytesMut::from(&bytes[..]);
            let decoded = Frame::decode(&mut buffer);
            let parsed = parse(&bytes);
            prop_assert_eq!(decoded, parsed.clone().map(|found| found.map(|(frame, _)| frame)));
            if let Ok(Some((frame, taken))) = parsed {
                let mut again = BytesMut::new();
                frame.encode(&mut again);
                prop_assert_eq!(&again[..], &bytes[..taken]);
                prop_assert_eq!(buffer.len(), bytes.len() - taken);
            }
        }
    }

    #[test]
    fn the_format_is_fixed() {
        let frame = Frame {
            kind: Kind::Request,
            id: 0x0102_0304_0506_0708,
            service: Service(9),
            payload: Bytes::from_static(b"hi"),
        };
        let mut wire = BytesMut::new();
        frame.encode(&mut wire);
        assert_eq!(
            &wire[..],
            b"\x0d\0\0\0\x01\x01\x08\x07\x06\x05\x04\x03\x02\x01\x09hi"
        );
        let hello = Hello {
            cluster: ClusterId(1),
            node: NodeId(2),
        };
        assert_eq!(Hello::from_frame(&hello.to_frame()), Some(hello));
        assert_eq!(Hello::from_frame(&frame), None);

        let response = Frame {
            kind: Kind::Response,
            payload: Bytes::new(),
            ..frame.clone()
        };
        let refusal = Frame::refusal(frame.id, frame.service);
        let closing = Frame::closing("the node stops");
        let frames = [hello.to_frame(), frame, response, refusal, closing];
        let mut wire = BytesMut::new();
        for frame in &frames {
            frame.encode(&mut wire);
        }
        let stored = golden("peer-frames-1.bin", &wire);
        let mut stored = BytesMut::from(&stored[..]);
        for frame in frames {
            assert_eq!(Frame::decode(&mut stored), Ok(Some(frame)));
        }
        assert!(stored.is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_as_soon_as_it_is_seen() {
        let wrong = |bytes: &[u8]| parse(bytes).unwrap_err();
        assert_eq!(
            wrong(&[255; 4]),
            FrameError::Oversized {
                bytes: (1 << 32) + 3
            }
        );
        assert_eq!(wrong(&[10, 0, 0, 0]), FrameError::Short { bytes: 14 });
        let mut frame = BytesMut::new();
        Frame::refusal(1, Service(1)).encode(&mut frame);
        let changed = |at: usize, to: u8| {
            let mut copy = frame.to_vec();
            copy[at] = to;
            wrong(&copy)
        };
        assert_eq!(changed(4, 2), FrameError::UnknownVersion(2));
        let newer = FrameError::UnknownVersion(2).to_string();
        assert_eq!(newer, "frame version 2 is not known here, only 1");
        assert_eq!(changed(5, 9), FrameError::UnknownKind(9));
        assert_eq!(
            changed(0, 12),
            FrameError::BadPayload {
                kind: Kind::Refusal,
                bytes: 1
            }
        );
        assert_eq!(
            changed(5, 0),
            FrameError::BadPayload {
                kind: Kind::Hello,
                bytes: 0
            }
        );
        assert_eq!(Frame::closing("a\nb").reason(), "a b");
    }
}
