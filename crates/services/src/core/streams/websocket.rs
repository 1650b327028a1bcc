//! What is ours of WebSockets (RFC 6455): the handshake and the limits. A library does the
//! framing.

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};

/// The most bytes of a message from a client. kubectl's have 32 KiB; the Python client sends
/// all that it is given at once.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The version of the protocol.
pub const VERSION: &str = "13";

/// What a server adds to the client's key (RFC 6455, section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const KEY_BYTES: usize = 16;

/// How a connection is closed (RFC 6455, section 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// All was said.
    Normal,
    /// The peer broke the protocol.
    Protocol,
    /// A message is too large.
    TooBig,
}

/// `Sec-WebSocket-Accept` for a client's `Sec-WebSocket-Key`; none if that is no key.
pub fn accept(key: &str) -> Option<String> {
    let key = key.trim();
    let nonce = STANDARD.decode(key).ok()?;
    if nonce.len() != KEY_BYTES {
        return None;
    }
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(GUID);
    Some(STANDARD.encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        assert_eq!(
            accept("dGhlIHNhbXBsZSBub25jZQ==").as_deref(),
            Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
        assert_eq!(accept("dGhl"), None);
        assert_eq!(accept("no key"), None);
    }
}
