//! Messages of channels: the number of a channel, and bytes for it. In their base64 form the
//! number is a digit and the bytes are text.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};

/// Standard input of a process.
pub const STDIN: u8 = 0;
/// Standard output.
pub const STDOUT: u8 = 1;
/// Standard error.
pub const STDERR: u8 = 2;
/// How it ended.
pub const ERROR: u8 = 3;
/// Sizes of the terminal.
pub const RESIZE: u8 = 4;
/// The channel that the next byte names ends (`v5.channel.k8s.io`).
pub const CLOSE: u8 = 255;

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// As they are.
    Binary,
    /// As base64, in messages of text.
    Base64,
}

impl Coding {
    /// The channel and the bytes; none if it is no message of a channel.
    pub fn decode(self, mut message: Bytes) -> Option<(u8, Bytes)> {
        if message.is_empty() {
            return None;
        }
        let bytes = message.split_off(1);
        match self {
            Coding::Binary => Some((message[0], bytes)),
            Coding::Base64 => {
                let channel = message[0].checked_sub(b'0')?;
                Some((channel, STANDARD.decode(bytes).ok()?.into()))
            }
        }
    }

    /// A message. Where it is text, channels are single digits.
    pub fn encode(self, channel: u8, bytes: &[u8]) -> Bytes {
        match self {
            Coding::Binary => {
                let mut message = BytesMut::with_capacity(bytes.len() + 1);
                message.put_u8(channel);
                message.put_slice(bytes);
                message.freeze()
            }
            Coding::Base64 => {
                let digit = char::from(b'0'.saturating_add(channel));
                format!("{digit}{}", STANDARD.encode(bytes)).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The examples of Kubernetes' package `wsstream`.
    #[test]
    fn messages_are_as_kubernetes_writes_them() {
        let binary = Coding::Binary.encode(STDIN, b"foo\n");
        assert_eq!(&binary[..], [0, 102, 111, 111, 10]);
        let text = Coding::Base64.encode(STDIN, b"foo\n");
        assert_eq!(&text[..], b"0Zm9vCg==");
        for (coding, message) in [(Coding::Binary, binary), (Coding::Base64, text)] {
            let read = coding.decode(message);
            assert_eq!(read, Some((STDIN, Bytes::from_static(b"foo\n"))));
        }
    }

    #[test]
    fn what_is_no_message_is_none() {
        for message in ["", "/Zg==", "0Zg=", "0*"] {
            let message = Bytes::from_static(message.as_bytes());
            assert_eq!(Coding::Base64.decode(message), None);
        }
        assert_eq!(Coding::Binary.decode(Bytes::new()), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(channel in 0..9u8, bytes: Vec<u8>) {
            for coding in [Coding::Binary, Coding::Base64] {
                let read = coding.decode(coding.encode(channel, &bytes));
                prop_assert_eq!(read, Some((channel, Bytes::from(bytes.clone()))));
            }
        }
    }
}
