//! Snapshots on their way to another replica, in pieces that fit a frame.

use bytes::Bytes;

use super::parts::{
    read_ballot, read_configuration, read_position, write_ballot, write_configuration,
    write_position,
};
use crate::core::{
    codec::{CodecError, Reader, Writer},
    paxos::{Ballot, Configuration, Position},
};

/// A part of a snapshot, with what the whole is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The ballot that the snapshot is sent under.
    pub ballot: Ballot,
    /// The sender's configuration.
    pub configuration: Configuration,
    /// Which snapshot.
    pub of: Whole,
    /// Where in it these bytes begin.
    pub offset: u64,
    /// The bytes.
    pub bytes: Bytes,
}

/// How far a snapshot has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Which snapshot.
    pub of: Whole,
    /// Everything before is there; what follows is wanted.
    pub offset: u64,
}

/// What tells a snapshot from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// The last entry that it holds.
    pub base: Position,
    /// Its length.
    pub bytes: u64,
    /// The checksum at its end.
    pub checksum: u64,
}

pub(super) fn write_piece(writer: &mut Writer, piece: &Piece) {
    write_ballot(writer, piece.ballot);
    write_configuration(writer, &piece.configuration);
    write_whole(writer, piece.of);
    writer.number(piece.offset).bytes(&piece.bytes);
}

pub(super) fn read_piece(reader: &mut Reader) -> Result<Piece, CodecError> {
    Ok(Piece {
        ballot: read_ballot(reader)?,
        configuration: read_configuration(reader)?,
        of: read_whole(reader)?,
        offset: reader.number()?,
        bytes: reader.bytes()?,
    })
}

pub(super) fn write_arrived(writer: &mut Writer, arrived: Arrived) {
    write_whole(writer, arrived.of);
    writer.number(arrived.offset);
}

pub(super) fn read_arrived(reader: &mut Reader) -> Result<Arrived, CodecError> {
    Ok(Arrived {
        of: read_whole(reader)?,
        offset: reader.number()?,
    })
}

fn write_whole(writer: &mut Writer, whole: Whole) {
    write_position(writer, whole.base);
    writer.number(whole.bytes).number(whole.checksum);
}

fn read_whole(reader: &mut Reader) -> Result<Whole, CodecError> {
    Ok(Whole {
        base: read_position(reader)?,
        bytes: reader.number()?,
        checksum: reader.number()?,
    })
}
