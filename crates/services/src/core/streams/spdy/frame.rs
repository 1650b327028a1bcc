//! Frames: a head of eight bytes, and what it is the length of (SPDY protocol draft 3, sections
//! 2.2 and 2.6).
//!
//! Invariants: a control frame has at most [`CONTROL_BYTES_MAX`] bytes, and nothing longer is
//! kept; data is handed on as it comes, however long its frame is.

use bytes::{Buf, Bytes, BytesMut};

use super::{super::PIECE_BYTES_MAX, SpdyError, headers::BLOCK_BYTES_MAX};

/// The version of the protocol: SPDY/3.1 is 3 on the wire.
const VERSION: u16 = 3;
const HEAD_BYTES: usize = 8;
/// The most bytes of a control frame behind its head.
pub(super) const CONTROL_BYTES_MAX: usize = BLOCK_BYTES_MAX + 16;
/// Data is sent in frames of so many bytes at most.
pub(super) const DATA_BYTES_MAX: usize = 32 * 1024;

const FLAG_FIN: u8 = 1;
const FLAG_UNIDIRECTIONAL: u8 = 2;

/// The number of a stream; those that clients open are odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub u32);

/// Why a stream was reset, as draft 3 numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetStatus(pub u32);

impl ResetStatus {
    /// The stream breaks the protocol.
    pub const PROTOCOL_ERROR: ResetStatus = ResetStatus(1);
    /// The stream was not begun, and may be asked for again.
    pub const REFUSED_STREAM: ResetStatus = ResetStatus(3);
    /// The stream is not wanted any more.
    pub const CANCEL: ResetStatus = ResetStatus(5);
}

/// What a peer sent. Settings, windows and frames that are not known are not among it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    SynStream {
        stream: StreamId,
        fin: bool,
        unidirectional: bool,
        block: Bytes,
    },
    /// SYN_REPLY or HEADERS.
    Headers {
        stream: StreamId,
        fin: bool,
        block: Bytes,
    },
    RstStream {
        stream: StreamId,
        status: ResetStatus,
    },
    Ping {
        id: u32,
    },
    GoAway,
    /// A part of a data frame; `fin` on the last.
    Data {
        stream: StreamId,
        bytes: Bytes,
        fin: bool,
    },
}

/// Cuts bytes into frames.
#[derive(Default)]
pub(super) struct FrameReader {
    input: BytesMut,
    /// The data frame of which the rest is still to come.
    data: Option<DataFrame>,
}

#[derive(Clone, Copy)]
struct DataFrame {
    stream: StreamId,
    left: usize,
    fin: bool,
}

impl FrameReader {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next frame, if it is there.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, SpdyError> {
        loop {
            if let Some(data) = self.data {
                return Ok(self.next_of(data));
            }
            let Some((head, _)) = self.input.split_first_chunk::<HEAD_BYTES>() else {
                return Ok(None);
            };
            let head = Head::parse(*head);
            if !head.is_control() {
                self.input.advance(HEAD_BYTES);
                self.data = Some(head.data()?);
                continue;
            }
            if head.length > CONTROL_BYTES_MAX {
                return Err(SpdyError::FrameTooLarge(head.length));
            }
            if self.input.len() < HEAD_BYTES + head.length {
                return Ok(None);
            }
            self.input.advance(HEAD_BYTES);
            let body = self.input.split_to(head.length).freeze();
            if let Some(frame) = head.control(body)? {
                return Ok(Some(frame));
            }
        }
    }

    fn next_of(&mut self, data: DataFrame) -> Option<Frame> {
        let length = self.input.len().min(data.left).min(PIECE_BYTES_MAX);
        if length < data.left && length == 0 {
            return None;
        }
        let bytes = self.input.split_to(length).freeze();
        let left = data.left - length;
        self.data = (left > 0).then_some(DataFrame { left, ..data });
        Some(Frame::Data {
            stream: data.stream,
            bytes,
            fin: data.fin && left == 0,
        })
    }
}

struct Head {
    first: u32,
    flags: u8,
    length: usize,
}

impl Head {
    fn parse(bytes: [u8; HEAD_BYTES]) -> Head {
        let [a, b, c, d, flags, x, y, z] = bytes;
        Head {
            first: u32::from_be_bytes([a, b, c, d]),
            flags,
            length: u32::from_be_bytes([0, x, y, z]) as usize,
        }
    }

    fn is_control(&self) -> bool {
        self.first >> 31 == 1
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn data(&self) -> Result<DataFrame, SpdyError> {
        Ok(DataFrame {
            stream: stream(self.first)?,
            left: self.length,
            fin: self.has(FLAG_FIN),
        })
    }

    fn control(&self, mut body: Bytes) -> Result<Option<Frame>, SpdyError> {
        let version = (self.first >> 16 & 0x7fff) as u16;
        if version != VERSION {
            return Err(SpdyError::Version(version));
        }
        let fin = self.has(FLAG_FIN);
        let frame = match self.first & 0xffff {
            1 => {
                let stream = stream(number(&mut body)?)?;
                // The stream that it belongs to, its priority and its slot mean nothing here.
                let _associated = number(&mut body)?;
                let _priority_and_slot = body.try_get_u16().map_err(|_| SpdyError::Frame)?;
                Frame::SynStream {
                    stream,
                    fin,
                    unidirectional: self.has(FLAG_UNIDIRECTIONAL),
                    block: body,
                }
            }
            2 | 8 => Frame::Headers {
                stream: stream(number(&mut body)?)?,
                fin,
                block: body,
            },
            3 => Frame::RstStream {
                stream: stream(number(&mut body)?)?,
                status: ResetStatus(number(&mut body)?),
            },
            6 => Frame::Ping {
                id: number(&mut body)?,
            },
            7 => Frame::GoAway,
            // SETTINGS, WINDOW_UPDATE, and what later drafts may have.
            _ => return Ok(None),
        };
        Ok(Some(frame))
    }
}

fn number(body: &mut Bytes) -> Result<u32, SpdyError> {
    body.try_get_u32().map_err(|_| SpdyError::Frame)
}

fn stream(number: u32) -> Result<StreamId, SpdyError> {
    match number & 0x7fff_ffff {
        0 => Err(SpdyError::Frame),
        id => Ok(StreamId(id)),
    }
}

/// Writes frames.
#[derive(Default)]
pub(super) struct FrameWriter(BytesMut);

impl FrameWriter {
    /// What was written since.
    pub(super) fn take(&mut self) -> Bytes {
        self.0.split().freeze()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn head(&mut self, first: u32, flags: u8, length: usize) {
        debug_assert!(length < 1 << 24);
        // The limits of both kinds of frames are far below three bytes' worth.
        let second = u32::from(flags) << 24 | length as u32;
        self.0.extend_from_slice(&first.to_be_bytes());
        self.0.extend_from_slice(&second.to_be_bytes());
    }

    fn control(&mut self, kind: u16, numbers: &[u32], block: &[u8]) {
        let first = 1 << 31 | u32::from(VERSION) << 16 | u32::from(kind);
        self.head(first, 0, 4 * numbers.len() + block.len());
        for number in numbers {
            self.0.extend_from_slice(&number.to_be_bytes());
        }
        self.0.extend_from_slice(block);
    }

    pub(super) fn syn_reply(&mut self, stream: StreamId, block: &[u8]) {
        self.control(2, &[stream.0], block);
    }

    pub(super) fn rst_stream(&mut self, stream: StreamId, status: ResetStatus) {
        self.control(3, &[stream.0, status.0], &[]);
    }

    pub(super) fn ping(&mut self, id: u32) {
        self.control(6, &[id], &[]);
    }

    pub(super) fn go_away(&mut self, last: u32, status: u32) {
        self.control(7, &[last, status], &[]);
    }

    pub(super) fn data(&mut self, stream: StreamId, bytes: &[u8]) {
        for piece in bytes.chunks(DATA_BYTES_MAX) {
            self.head(stream.0, 0, piece.len());
            self.0.extend_from_slice(piece);
        }
    }

    /// Ends this side of a stream.
    pub(super) fn fin(&mut self, stream: StreamId) {
        self.head(stream.0, FLAG_FIN, 0);
    }
}
