//! The partitions' logs as bytes: records of the journal, and what nodes send each other.

mod packet;
mod parts;
mod publications;
mod record;
#[cfg(test)]
mod tests;

pub use packet::{Bundle, Packet};
pub use publications::{decode_publications, encode_publications, publication_bytes};
pub use record::{decode_record, encode_record};
