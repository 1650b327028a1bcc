//! SPDY/3.1 as clients of Kubernetes speak it (SPDY protocol draft 3 with the frames of 3.1;
//! github.com/moby/spdystream): many streams on one connection, which the client opens.
//!
//! Bytes go in, events come out; commands go in, bytes come out. There are no windows: these
//! clients never close one, so who reads too slowly holds up the whole connection.
//!
//! Invariants: at most [`STREAMS_MAX`] streams are open; what is kept of the input is less than
//! a control frame and what was fed last; after an error nothing more is read.

mod dictionary;
mod frame;
mod headers;
mod session;

pub use self::{
    frame::{ResetStatus, StreamId},
    headers::Headers,
    session::{Event, STREAMS_MAX, Session},
};

/// Why a connection can't go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpdyError {
    /// A version other than 3.
    #[error("SPDY version {0} is not spoken")]
    Version(u16),
    /// A control frame that is cut short, or about stream 0.
    #[error("a SPDY frame is malformed")]
    Frame,
    /// A control frame of so many bytes.
    #[error("a SPDY control frame has {0} bytes")]
    FrameTooLarge(usize),
    /// Headers that zlib can't read.
    #[error("headers of a SPDY stream can't be decompressed")]
    Compression,
    /// Headers that are none.
    #[error("headers of a SPDY stream are malformed")]
    Headers,
    /// More headers than are taken.
    #[error("headers of a SPDY stream are too large")]
    HeadersTooLarge,
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
