//! The partitions' logs as bytes: records of the journal, and what nodes send each other.

mod changes;
mod packet;
mod parts;
mod piece;
mod publications;
mod record;
#[cfg(test)]
mod tests;

pub use changes::{Changes, change_bytes, decode_question, encode_question};
pub use packet::{Bundle, Packet};
pub use piece::{Arrived, Piece, Whole};
pub use publications::{decode_publications, encode_publications, publication_bytes};
pub use record::{
    Checkpoint, FileMark, Logged, decode_record, encode_checkpoint, encode_forgotten, encode_noted,
    encode_record,
};
