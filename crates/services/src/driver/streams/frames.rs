//! What is said in sessions, as frames of pipes: a byte that tells what it is, and the rest. Who
//! does not understand a frame ends the session.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use serde_json::Value;

use crate::core::streams::{ConnectionId, Forward, FromContainer, ToContainer};

/// Something that goes through a pipe.
pub(in crate::driver) trait Frame: Sized + Send + 'static {
    /// Writes it.
    fn write(self) -> Bytes;

    /// Reads it; none if it can't be read.
    fn read(frame: Bytes) -> Option<Self>;
}

/// A frame of a kind.
pub(in crate::driver) fn frame(kind: u8, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(1 + body.len());
    frame.put_u8(kind);
    frame.put_slice(body);
    frame.freeze()
}

impl Frame for ToContainer {
    fn write(self) -> Bytes {
        match self {
            ToContainer::Stdin(bytes) => frame(1, &bytes),
            ToContainer::StdinEnd => frame(2, &[]),
            ToContainer::Resize { width, height } => {
                let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
                frame(3, &size)
            }
        }
    }

    fn read(mut frame: Bytes) -> Option<Self> {
        match frame.try_get_u8().ok()? {
            1 => Some(ToContainer::Stdin(frame)),
            2 => Some(ToContainer::StdinEnd),
            3 => Some(ToContainer::Resize {
                width: frame.try_get_u16().ok()?,
                height: frame.try_get_u16().ok()?,
            }),
            _ => None,
        }
    }
}

impl Frame for FromContainer {
    fn write(self) -> Bytes {
        match self {
            FromContainer::Stdout(bytes) => frame(1, &bytes),
            FromContainer::Stderr(bytes) => frame(2, &bytes),
            FromContainer::Ended(status) => frame(3, status.to_string().as_bytes()),
        }
    }

    fn read(mut frame: Bytes) -> Option<Self> {
        match frame.try_get_u8().ok()? {
            1 => Some(FromContainer::Stdout(frame)),
            2 => Some(FromContainer::Stderr(frame)),
            3 => {
                let status: Value = serde_json::from_slice(&frame).ok()?;
                Some(FromContainer::Ended(status))
            }
            _ => None,
        }
    }
}

impl Frame for Forward {
    fn write(self) -> Bytes {
        let of = |kind: u8, ConnectionId(id): ConnectionId, body: &[u8]| {
            frame(kind, &[&id.to_be_bytes(), body].concat())
        };
        match self {
            Forward::Open(id, port) => of(1, id, &port.to_be_bytes()),
            Forward::Data(id, bytes) => of(2, id, &bytes),
            Forward::End(id) => of(3, id, &[]),
            Forward::Failed(id, why) => of(4, id, why.as_bytes()),
        }
    }

    fn read(mut frame: Bytes) -> Option<Self> {
        let kind = frame.try_get_u8().ok()?;
        let id = ConnectionId(frame.try_get_u64().ok()?);
        match kind {
            1 => Some(Forward::Open(id, frame.try_get_u16().ok()?)),
            2 => Some(Forward::Data(id, frame)),
            3 => Some(Forward::End(id)),
            4 => Some(Forward::Failed(
                id,
                String::from_utf8_lossy(&frame).into_owned(),
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn round<F: Frame + Clone + PartialEq + std::fmt::Debug>(all: Vec<F>) {
        for one in all {
            let written = one.clone().write();
            assert_eq!(F::read(written.clone()), Some(one));
            for end in 0..written.len() {
                // Cut off, it is something else or nothing.
                let _ = F::read(written.slice(..end));
            }
        }
        assert_eq!(F::read(Bytes::new()), None);
        assert_eq!(F::read(Bytes::from_static(&[9; 12])), None);
    }

    #[test]
    fn what_is_said_is_read_as_written() {
        let text = Bytes::from_static(b"text");
        round(vec![
            ToContainer::Stdin(text.clone()),
            ToContainer::StdinEnd,
            ToContainer::Resize {
                width: 80,
                height: 25,
            },
        ]);
        round(vec![
            FromContainer::Stdout(text.clone()),
            FromContainer::Stderr(text.clone()),
            FromContainer::Ended(json!({"status": "Success"})),
        ]);
        let id = ConnectionId(7);
        round(vec![
            Forward::Open(id, 80),
            Forward::Data(id, text),
            Forward::End(id),
            Forward::Failed(id, "why".to_owned()),
        ]);
    }
}
