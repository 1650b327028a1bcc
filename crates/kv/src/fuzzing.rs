//! What fuzz targets call: every parser here of bytes that come from outside, with what must
//! hold whatever the bytes are. The same functions replay the corpora in a normal test.

use bytes::{Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    core::{
        acl::{self, User},
        dump,
        eventual::{bundle::Bundle as Parcels, partition::Record, replica::Replica},
        keyspaces::Keyspaces,
        machine::Operation,
        partition::Batch,
        rdb::{self, Event, Key, Parser as RdbParser, RdbError, Step},
        wire::Bundle,
    },
    face::resp::{Limits, Parser, ProtocolError, write_request},
};

/// What a client sends; the first byte chooses how it is cut into reads, and whether the client
/// is known. The cut does not matter, and what was read is the same after it was written and
/// read again.
pub fn resp(bytes: &[u8]) {
    /// Larger than a fuzzer's inputs, so that no cut makes a difference.
    const REQUEST_BYTES_MAX: usize = 1 << 24;
    let Some((cut, bytes)) = bytes.split_first() else {
        return;
    };
    let limits = Limits {
        word_bytes_max: REQUEST_BYTES_MAX / 2,
        request_bytes_max: REQUEST_BYTES_MAX,
    };
    let known = cut & 1 == 1;
    let (whole, end) = read(bytes, bytes.len().max(1), limits, known);
    let (cut, end_of_cut) = read(bytes, usize::from(cut >> 1) + 1, limits, known);
    assert_eq!(whole, cut);
    assert_eq!(end, end_of_cut);

    let mut written = BytesMut::new();
    for words in &whole {
        assert!(!words.is_empty());
        write_request(&mut written, words);
    }
    let (again, end) = read(&written, written.len().max(1), limits, true);
    assert_eq!(whole, again);
    assert_eq!(end, None);
}

/// The requests in these bytes, and what ended them.
fn read(
    bytes: &[u8],
    piece: usize,
    limits: Limits,
    known: bool,
) -> (Vec<Vec<Bytes>>, Option<ProtocolError>) {
    let mut parser = Parser::new(limits);
    let mut buffer = BytesMut::new();
    let mut requests = Vec::new();
    for piece in bytes.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match parser.next(&mut buffer, known) {
                Ok(Some(words)) => requests.push(words),
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

/// What a client hands to RESTORE, but for version and checksum, which a fuzzer would never
/// guess. What was read is the same after it was dumped and read again.
pub fn dump(bytes: &[u8]) {
    let mut payload = bytes.to_vec();
    dump::seal(&mut payload);
    if let Ok(value) = dump::restore(&payload) {
        let dumped = dump::dump(&value);
        let again = dump::restore(&dumped).map(|again| dump::dump(&again));
        assert_eq!(again, Ok(dumped));
    }
}

/// A file that is imported; the first byte chooses how it is cut into reads, which does not
/// matter. Whatever of a value RESTORE would take can also be written element by element.
pub fn rdb(bytes: &[u8]) {
    let Some((cut, bytes)) = bytes.split_first() else {
        return;
    };
    let whole = rdb_keys(bytes, bytes.len().max(1));
    let cut = rdb_keys(bytes, usize::from(*cut) + 1);
    assert_eq!(whole, cut);
}

/// The keys of a file with their values, and what ended it.
type RdbKeys = (Vec<(Key, Vec<u8>)>, Option<RdbError>);

fn rdb_keys(bytes: &[u8], piece: usize) -> RdbKeys {
    let mut parser = RdbParser::default();
    let (mut begin, mut end) = (0, 0);
    let mut keys: Vec<(Key, Vec<u8>)> = Vec::new();
    let mut refused = false;
    loop {
        let (event, length) = match parser.next(&bytes[begin..end]) {
            Ok(Step::Found(event, length)) => (event, length),
            Ok(Step::More(_)) if end == bytes.len() => {
                return (keys, Some(parser.short(end - begin)));
            }
            Ok(Step::More(count)) => {
                assert!(count > 0);
                end = end.saturating_add(count.max(piece)).min(bytes.len());
                continue;
            }
            Err(error) => return (keys, Some(error)),
        };
        begin += length;
        match (event, keys.last_mut()) {
            (Event::Key(key), _) => {
                refused = false;
                keys.push((key, Vec::new()));
            }
            (Event::Between(bytes), Some((_, body))) => body.extend_from_slice(bytes),
            (Event::Element(bytes), Some((key, body))) => {
                let kind = key.kind.expect("a module's value has no elements");
                refused |= rdb::elements(kind, body, bytes).is_err();
                body.extend_from_slice(bytes);
            }
            (
                Event::ValueEnd,
                Some((
                    Key {
                        kind: Some(kind), ..
                    },
                    body,
                )),
            ) => {
                let restored = dump::restore(&rdb::payload(*kind, body));
                assert!(restored.is_err() || !refused, "{kind}: {body:02x?}");
            }
            (Event::End, _) => return (keys, None),
            _ => {}
        }
    }
}

/// Rules of a user, as the cluster keeps them and as an operator gives them. What was read is
/// the same after it was written and read again.
pub fn acl(bytes: &[u8]) {
    let words = bytes.split(|byte| *byte == b' ');
    let words: Vec<Bytes> = words.map(Bytes::copy_from_slice).collect();
    let mut given = User::default();
    if given.apply(&words).is_ok() {
        assert_eq!(User::parse(&given.text()), Ok(given));
    }
    if let Ok(kept) = User::parse(bytes) {
        assert_eq!(User::parse(&kept.text()), Ok(kept));
    }
    if let Ok(record) = acl::read_record(bytes) {
        assert_eq!(acl::read_record(&acl::write_record(&record)), Ok(record));
    }
}

/// What another node sends. Packets that were read are the same after they were sent again.
pub fn packets(bytes: &[u8]) {
    let Ok((sender, packets)) = Bundle::decode(Bytes::copy_from_slice(bytes)) else {
        return;
    };
    let mut bundle = Bundle::new(sender);
    for (partition, packet) in &packets {
        bundle.add(*partition, packet);
    }
    let again = Bundle::decode(bundle.encode());
    // A number that is none is not equal to itself.
    assert_eq!(
        format!("{again:?}"),
        format!("{:?}", Ok::<_, ()>((sender, packets)))
    );
}

/// What another node says about eventual partitions, what the journal and snapshots hold of them,
/// and the keyspaces that the cluster has decided on; the first byte chooses. What was read is
/// the same after it was written again.
pub fn eventual(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else {
        return;
    };
    let bytes = Bytes::copy_from_slice(bytes);
    match which % 4 {
        0 => {
            let Ok((sender, parcels)) = Parcels::decode(bytes) else {
                return;
            };
            let mut bundle = Parcels::new(sender);
            for (room, parcel) in &parcels {
                bundle.add(*room, parcel);
            }
            let again = Parcels::decode(bundle.encode());
            // A number that is none is not equal to itself.
            assert_eq!(
                format!("{again:?}"),
                format!("{:?}", Ok::<_, ()>((sender, parcels)))
            );
        }
        1 => {
            if let Ok(record) = Record::decode(bytes) {
                assert_eq!(Record::decode(record.encode()), Ok(record));
            }
        }
        2 => {
            // With the checksum that a fuzzer would never guess.
            let mut sealed = bytes.to_vec();
            sealed.extend(xxh3_64(&bytes).to_le_bytes());
            let sealed = Bytes::from(sealed);
            if let Ok(replica) = Replica::decode(&sealed) {
                let again = Replica::decode(&replica.encode());
                let again = again.map(|again| again.encode());
                assert_eq!(again, Ok(replica.encode()));
            }
        }
        _ => {
            if let Ok(keyspaces) = Keyspaces::decode(bytes) {
                assert_eq!(Keyspaces::decode(keyspaces.encode()), Ok(keyspaces));
            }
        }
    }
}

/// What a log entry or a request holds. What was read is the same after it was written again.
pub fn operation(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(operation) = Operation::decode(bytes.clone()) {
        assert_eq!(Operation::decode(operation.encode()), Ok(operation));
    }
    if let Ok(batch) = Batch::decode(bytes) {
        assert_eq!(Batch::decode(batch.encode()), Ok(batch));
    }
}

#[cfg(test)]
mod tests {
    use atoll_world::corpus::replay;

    #[test]
    fn the_corpora_of_the_fuzzer_are_read() {
        replay("acl", super::acl);
        replay("dump", super::dump);
        replay("eventual", super::eventual);
        replay("packets", super::packets);
        replay("operation", super::operation);
        replay("rdb", super::rdb);
        replay("resp", super::resp);
    }
}
