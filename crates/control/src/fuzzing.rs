//! What fuzz targets call: every parser here of bytes that come from outside, with what must
//! hold whatever the bytes are. The same functions replay the corpora in a normal test.

use std::{collections::BTreeMap, sync::LazyLock};

use axum::http::{Request, header};
use bytes::{Buf as _, Bytes};
use prost::Message;
use prost_reflect::{DynamicMessage, MethodDescriptor};

use crate::{
    core::{
        effects::{Effects, Space, Table, ValueError, Values, revision_key},
        level::SERVED,
        machine::Machine,
    },
    driver::{backup::format, propose, services, system_identity, tokens::JoinToken},
    face::{Connection, Limits, browser, check, gateway, unary},
    log::{
        network, serve, snapshot,
        types::{self, DecodeError},
    },
    proto::{
        etcdserverpb as pb,
        internal::{Batch, Command, RaiseFeatureLevel, command::Op},
        raft::{self, record::Kind},
    },
};

/// A join token as somebody typed it: what is one is written as it was read.
pub fn join_token(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(token) = JoinToken::parse(&text) {
        assert_eq!(token.reveal(), text.trim());
        assert_eq!(JoinToken::parse(&token.reveal()), Some(token));
    }
}

/// A backup file, with its checksum and without: an error, or rows that are a state or not.
pub fn backup(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    for skip_checksum in [false, true] {
        let Ok((_, mut frames)) = format::verify(bytes.clone(), skip_checksum) else {
            continue;
        };
        let mut rows = Rows::default();
        while let Ok(Some(read)) = frames.rows() {
            for row in read.rows {
                let table = Table::ALL
                    .into_iter()
                    .find(|table| table.name() == row.table);
                if let Some(table) = table {
                    rows.0.insert((table, row.key), row.value);
                }
            }
        }
        if let Ok(machine) = rows.restore(1) {
            let all = pb::RangeRequest {
                key: Bytes::from_static(b"\0"),
                range_end: Bytes::from_static(b"\0"),
                ..Default::default()
            };
            // What is found may be garbled, which is said, or not be allowed.
            drop(machine.range(&crate::driver::system_identity(), &all, &rows));
        }
    }
}

/// The body of a request to the JSON gateway: the first byte chooses the path. What is read as
/// a message is the same message after it was written as JSON and read again.
pub fn gateway_json(bytes: &[u8]) {
    static METHODS: LazyLock<Vec<MethodDescriptor>> =
        LazyLock::new(|| gateway::methods().into_values().collect());
    let Some((path, json)) = bytes.split_first() else {
        return;
    };
    let method = &METHODS[usize::from(*path) % METHODS.len()];
    let Ok(mut framed) = gateway::messages(method, json) else {
        return;
    };
    while !framed.is_empty() {
        let length = unary::message_bytes(&framed, usize::MAX).expect("frames of ours");
        framed.advance(unary::PREFIX_BYTES);
        let message = DynamicMessage::decode(method.input(), framed.split_to(length));
        let message = message.expect("a message of ours");
        let mut text = Vec::new();
        let mut serializer = serde_json::Serializer::new(&mut text);
        message
            .serialize_with_options(&mut serializer, &gateway::SERIALIZE)
            .expect("a message is JSON");
        let again = gateway::messages(method, &text).expect("JSON of ours");
        assert_eq!(again.slice(unary::PREFIX_BYTES..), message.encode_to_vec());
    }
}

/// Requests of clients, as the commands of an encoded `Batch`: what the face lets through can
/// be carried by the log, has an answer, and leaves rows that bring the same state back.
pub fn requests(bytes: &[u8]) {
    if let Ok(batch) = Batch::decode(bytes) {
        serve_all(batch.commands);
    }
}

/// A transaction as a client sends it: as [`requests`].
pub fn txn(bytes: &[u8]) {
    if let Ok(request) = pb::TxnRequest::decode(bytes) {
        serve_all(vec![Command {
            op: Some(Op::Txn(request)),
            ..Command::default()
        }]);
    }
}

fn serve_all(requests: Vec<Command>) {
    let (mut machine, mut rows) = (Machine::new(), Rows::default());
    if requests.iter().any(|it| matches!(it.op, Some(Op::Both(_)))) {
        raise_level(&mut machine, &mut rows, &requests);
    }
    let first = machine.applied_index() + 1;
    for (index, request) in (first..).zip(requests) {
        let Some(command) = admitted(request) else {
            continue;
        };
        let mut effects = Effects::default();
        machine
            .apply(index, &command, &rows, &mut effects)
            .expect("the rows have every value");
        let mark = machine.flush_mark();
        rows.write(effects);
        machine.flushed(mark);
    }
    let restored = rows.restore(machine.applied_index());
    let mut restored = restored.expect("rows of ours");
    restored.restore_members(machine.members.clone());
    assert_eq!(restored, machine);
}

/// Brings a fresh cluster, whose members are those who propose, to the newest level.
fn raise_level(machine: &mut Machine, rows: &mut Rows, requests: &[Command]) {
    let proposers = requests.iter().filter_map(|it| it.origin.as_ref());
    let members = proposers
        .map(|it| (it.node, Some(SERVED)))
        .chain([(0, Some(SERVED))]);
    let mut effects = Effects::default();
    machine.members_changed(1, members.collect(), &mut effects);
    let raise = Command {
        identity: Some(system_identity()),
        op: Some(Op::RaiseFeatureLevel(RaiseFeatureLevel {
            level: SERVED.max.0,
        })),
        ..Command::default()
    };
    machine
        .apply(2, &raise, rows, &mut effects)
        .expect("the rows have every value");
    let mark = machine.flush_mark();
    rows.write(effects);
    machine.flushed(mark);
}

/// The command as the state machine gets it, if the face lets its request through.
fn admitted(command: Command) -> Option<Command> {
    let ops_max = Limits::default().txn_ops_max;
    match command.op.as_ref()? {
        Op::Put(request) => check::put(request).ok()?,
        Op::DeleteRange(request) => check::delete_range(request).ok()?,
        Op::Txn(request) => {
            check::txn(request, ops_max).ok()?;
            check::txn_only_reads(request);
        }
        Op::Both(both) => {
            let parts = both.parts.iter().filter_map(|it| it.txn.as_ref());
            for txn in parts.chain(&both.system) {
                check::txn(txn, ops_max).ok()?;
            }
        }
        _ => {}
    }
    let batch = propose::batch_of(&[command.encode_to_vec().into()]);
    let mut batch = Batch::decode(batch).expect("the log carries what the face lets through");
    batch.commands.pop()
}

/// A message of a peer: the first byte is the service's number.
pub fn peer_message(bytes: &[u8]) {
    fn as_message<T: Message + Default, R>(
        bytes: &[u8],
        convert: impl FnOnce(T) -> Result<R, DecodeError>,
    ) -> Option<R> {
        convert(T::decode(bytes).ok()?).ok()
    }
    let Some((service, bytes)) = bytes.split_first() else {
        return;
    };
    let services = [
        network::APPEND,
        network::HEARTBEAT,
        network::VOTE,
        network::PRE_VOTE,
        network::SNAPSHOT,
        network::TRANSFER,
        services::PROPOSE,
        services::READ_INDEX,
        services::LEASE,
        services::MEMBER,
    ];
    let Some(service) = services.into_iter().find(|known| known.0 == *service) else {
        return;
    };
    if service == network::APPEND || service == network::HEARTBEAT {
        if let Some(request) = as_message(bytes, serve::append_from_proto) {
            network::last_log_id(&request);
        }
        as_message::<raft::AppendResponse, _>(bytes, |answer| {
            Ok(network::append_result(answer).is_ok())
        });
    } else if service == network::VOTE || service == network::PRE_VOTE {
        as_message(bytes, serve::vote_from_proto);
        as_message(bytes, |answer: raft::VoteResponse| {
            types::vote_from_proto(answer.vote)
        });
    } else if service == network::SNAPSHOT {
        let chunk = as_message(bytes, Ok::<raft::SnapshotChunk, _>);
        if let Some(chunk) = chunk {
            drop(snapshot::batch_of(chunk.rows));
            if let Some(meta) = chunk.end.and_then(|end| end.meta) {
                drop(types::applied_from_proto(meta));
            }
        }
    } else if service == network::TRANSFER {
        as_message(bytes, serve::transfer_from_proto);
    } else if service == services::PROPOSE {
        if let Some(request) = as_message(bytes, Ok::<raft::ProposeRequest, _>) {
            drop(Batch::decode(propose::batch_of(&request.commands)));
        }
    } else if service == services::READ_INDEX {
        as_message(bytes, Ok::<raft::ReadIndexResponse, _>);
    } else if service == services::LEASE {
        as_message(bytes, Ok::<raft::LeaseRequest, _>);
        as_message(bytes, Ok::<raft::LeaseResponse, _>);
    } else {
        as_message(bytes, Ok::<raft::MemberRequest, _>);
        as_message(bytes, Ok::<raft::MemberResponse, _>);
    }
}

/// A record of the journal: what can be read is written again so that it reads the same.
pub fn log_record(bytes: &[u8]) {
    let Ok(kind) = types::decode_record(Bytes::copy_from_slice(bytes)) else {
        return;
    };
    let again = types::decode_record(types::encode_record(kind.clone()));
    assert_eq!(again.expect("a record of ours"), kind);
    match kind {
        Kind::Entry(entry) => {
            if let Ok(entry) = types::entry_from_proto(entry) {
                let again = types::entry_from_proto(types::entry_to_proto(&entry));
                assert_eq!(again.expect("an entry of ours"), entry);
            }
        }
        Kind::Vote(vote) => {
            let read = types::vote_from_proto(Some(vote)).expect("it is there");
            assert_eq!(types::vote_to_proto(&read), vote);
        }
        Kind::TruncatedAfter(_) | Kind::Purged(_) => {}
    }
}

/// Host and Origin, a line each: on loopback only names that are loopback's own get through,
/// and a page's origin only if it is the host itself.
pub fn browser_headers(bytes: &[u8]) {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let (host, origin) = (lines.next().unwrap_or_default(), lines.next());
    let mut request = Request::builder().uri("/health").header(header::HOST, host);
    if let Some(origin) = origin {
        request = request.header(header::ORIGIN, origin);
    }
    // Bytes that no header can have never come this far.
    let Ok(request) = request.body(()) else {
        return;
    };
    let connection = Connection {
        loopback: true,
        ..Connection::default()
    };
    if browser::check(&request, &connection, &[]).is_ok() {
        let host = std::str::from_utf8(host).expect("text, or it were refused");
        let own = host.starts_with(|first: char| first.is_ascii_digit() || first == '[')
            || host.to_ascii_lowercase().starts_with("localhost");
        assert!(own, "{host:?} is a name of loopback");
        if let Some(origin) = origin {
            assert!(
                origin.ends_with(host.as_bytes()),
                "the page's host is this one"
            );
        }
    }
}

/// Rows as a store has them.
#[derive(Default)]
struct Rows(BTreeMap<(Table, Bytes), Bytes>);

impl Values for Rows {
    fn get(&self, space: Space, main: i64, sub: u32) -> Result<Option<Bytes>, ValueError> {
        let row = (space.table(), revision_key(main, sub));
        Ok(self.0.get(&row).cloned())
    }
}

impl Rows {
    fn write(&mut self, effects: Effects) {
        for write in effects.writes {
            let row = (write.table, write.key);
            match write.value {
                Some(value) => self.0.insert(row, value),
                None => self.0.remove(&row),
            };
        }
    }

    fn restore(&self, applied_index: u64) -> Result<Machine, crate::core::restore::RestoreError> {
        Machine::restore(applied_index, |table| {
            let rows = self.0.iter().filter(move |((of, _), _)| *of == table);
            rows.map(|((_, key), value)| Ok((key.clone(), value.clone())))
        })
    }
}

#[cfg(test)]
mod tests {
    use atoll_world::corpus::replay;

    #[test]
    fn the_corpora_of_the_fuzzer_are_read() {
        replay("join_token", super::join_token);
        replay("backup", super::backup);
        replay("gateway_json", super::gateway_json);
        replay("requests", super::requests);
        replay("txn", super::txn);
        replay("peer_message", super::peer_message);
        replay("log_record", super::log_record);
        replay("browser_headers", super::browser_headers);
        // The crate that reads configurations reads no files.
        replay("configuration", atoll_base::fuzzing::configuration);
    }
}
