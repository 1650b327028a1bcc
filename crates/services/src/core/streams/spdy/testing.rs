//! A client for tests: it writes frames, and reads what a session sends.

use bytes::{Buf, Bytes};

use super::{
    Headers,
    headers::{Deflater, Inflater},
};

/// What a session sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// A stream was accepted, with these headers.
    Reply(u32, Headers),
    /// A stream was reset, with this status.
    Reset(u32, u32),
    /// A ping.
    Ping(u32),
    /// A goodbye: the last stream, the status.
    GoAway(u32, u32),
    /// Bytes.
    Data(u32, Vec<u8>),
    /// The end of a stream.
    Fin(u32),
}

pub(crate) struct Client {
    deflater: Deflater,
    inflater: Inflater,
    next: u32,
}

impl Default for Client {
    fn default() -> Self {
        Client {
            deflater: Deflater::new(),
            inflater: Inflater::new(),
            next: 1,
        }
    }
}

impl Client {
    /// Opens the next stream.
    pub(crate) fn open(&mut self, pairs: &[(&str, &str)]) -> Vec<u8> {
        let stream = self.next;
        self.next += 2;
        self.open_as(stream, 0, pairs)
    }

    pub(crate) fn open_as(&mut self, stream: u32, flags: u8, pairs: &[(&str, &str)]) -> Vec<u8> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let block = self.deflater.write(&pairs.iter().map(owned).collect());
        let mut body = stream.to_be_bytes().to_vec();
        body.extend_from_slice(&[0; 6]);
        body.extend_from_slice(&block);
        control(1, flags, &body)
    }

    /// Reads what came; numbers are read by hand, not by the code under test.
    pub(crate) fn read(&mut self, mut bytes: Bytes) -> Vec<Sent> {
        let mut sent = Vec::new();
        while bytes.has_remaining() {
            let (first, second) = (bytes.get_u32(), bytes.get_u32());
            let mut body = bytes.split_to((second & 0xff_ffff) as usize);
            sent.push(match first {
                0x8003_0002 => {
                    let stream = body.get_u32();
                    Sent::Reply(stream, self.inflater.read(&body).unwrap())
                }
                0x8003_0003 => Sent::Reset(body.get_u32(), body.get_u32()),
                0x8003_0006 => Sent::Ping(body.get_u32()),
                0x8003_0007 => Sent::GoAway(body.get_u32(), body.get_u32()),
                stream if second >> 24 == 1 => Sent::Fin(stream),
                stream => Sent::Data(stream, body.to_vec()),
            });
        }
        sent
    }
}

pub(crate) fn control(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80, 3, 0, kind];
    let length = u32::try_from(body.len()).unwrap() | u32::from(flags) << 24;
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

pub(crate) fn reset(stream: u32) -> Vec<u8> {
    let body = [stream.to_be_bytes(), 5u32.to_be_bytes()].concat();
    control(3, 0, &body)
}

pub(crate) fn data(stream: u32, bytes: &[u8], fin: bool) -> Vec<u8> {
    let mut frame = stream.to_be_bytes().to_vec();
    let length = u32::try_from(bytes.len()).unwrap() | u32::from(fin) << 24;
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(bytes);
    frame
}
