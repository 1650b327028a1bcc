//! HTTP/2 frame by frame (RFC 9113 section 4.1), for what no library would send.

use atoll_world::net::Stream;
use tokio::io::AsyncReadExt;

use crate::rig::in_time;

pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Error codes, as they stand in frames.
pub(crate) const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
pub(crate) const CANCEL: [u8; 4] = [0, 0, 0, 8];
pub(crate) const ENHANCE_YOUR_CALM: [u8; 4] = [0, 0, 0, 11];

/// The fields of `GET http://a/`.
pub(crate) const GET: &[u8] = b"\x82\x86\x84\x41\x01a";

/// A frame as it is sent.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// What a client begins with.
pub(crate) fn begin() -> Vec<u8> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    [preface, frame(SETTINGS, 0, 0, &[])].concat()
}

/// A whole request without a body; the client's are numbered 0, 1, 2 and so on.
pub(crate) fn get(number: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, id_of(number), GET)
}

/// The end of that request, before it was answered.
pub(crate) fn reset(number: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, id_of(number), &CANCEL)
}

/// Clients' streams have odd numbers.
fn id_of(number: u32) -> u32 {
    2 * number + 1
}

/// A frame as it came.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) payload: Vec<u8>,
}

/// The next frame; `None` at the connection's end.
pub(crate) async fn next(stream: &mut Stream) -> Option<Frame> {
    in_time("a frame", async {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.ok()?;
        Some(Frame {
            kind: head[3],
            payload,
        })
    })
    .await
}
