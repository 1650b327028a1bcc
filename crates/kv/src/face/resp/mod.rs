//! RESP, the Redis serialization protocol, versions 2 and 3 (Redis: "RESP protocol
//! description").
//!
//! [`Parser`] takes requests off a buffer, [`write()`] puts replies into one. Neither knows of
//! connections.

mod error;
mod inline;
mod limits;
mod parser;
mod writer;

#[cfg(test)]
mod tests;

use bytes::{BufMut as _, Bytes, BytesMut};

pub use error::ProtocolError;
pub use limits::Limits;
pub use parser::Parser;
pub use writer::{Version, write, write_array_header, write_error, write_push};

/// Writes a request as clients do: an array of strings.
pub fn write_request(out: &mut BytesMut, words: &[Bytes]) {
    write_array_header(out, words.len());
    for word in words {
        writer::write_header(out, b'$', word.len());
        out.put_slice(word);
        out.put_slice(b"\r\n");
    }
}
