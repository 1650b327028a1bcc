//! Where a snapshot's bytes go: out in pieces, and into its checksum.

use bytes::Bytes;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use crate::core::codec::Writer;

/// A piece has no more bytes than this.
pub const PIECE_BYTES_MAX: usize = 1 << 20;
/// A number takes no more bytes than this.
const NUMBER_BYTES_MAX: usize = 10;

/// The checksum of bytes.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// Gathers bytes and gives them on in pieces.
pub(super) struct Sink<F: FnMut(Bytes)> {
    writer: Writer,
    bytes: u64,
    checksum: Xxh3Default,
    give: F,
}

impl<F: FnMut(Bytes)> Sink<F> {
    pub(super) fn new(give: F) -> Self {
        Sink {
            writer: Writer::default(),
            bytes: 0,
            checksum: Xxh3Default::new(),
            give,
        }
    }

    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        self.room_for(NUMBER_BYTES_MAX);
        self.writer.number(number);
        self
    }

    pub(super) fn length(&mut self, length: usize) -> &mut Self {
        self.number(length as u64)
    }

    pub(super) fn byte(&mut self, byte: u8) -> &mut Self {
        self.room_for(1);
        self.writer.byte(byte);
        self
    }

    /// Bytes after their length.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.length(bytes.len());
        self.raw(bytes)
    }

    /// Bytes as they are.
    pub(super) fn raw(&mut self, mut bytes: &[u8]) -> &mut Self {
        while !bytes.is_empty() {
            self.room_for(1);
            let room = PIECE_BYTES_MAX - self.writer.len();
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.writer.raw(now);
            bytes = rest;
        }
        self
    }

    fn room_for(&mut self, bytes: usize) {
        if self.writer.len() + bytes > PIECE_BYTES_MAX {
            self.give();
        }
    }

    fn give(&mut self) {
        let piece = std::mem::take(&mut self.writer).finish();
        self.bytes += piece.len() as u64;
        self.checksum.update(&piece);
        (self.give)(piece);
    }

    /// Gives the rest on; the number of all bytes and their checksum.
    pub(super) fn finish(mut self) -> (u64, u64) {
        if !self.writer.is_empty() {
            self.give();
        }
        (self.bytes, self.checksum.digest())
    }
}
