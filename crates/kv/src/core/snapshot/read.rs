//! Reads a state.

use atoll_base::id::ReplicaId;
use bytes::Bytes;

use super::{
    SnapshotError, VERSION_ABSENCES, VERSION_BRANCHES, VERSION_HIDDEN, VERSION_TRANSACTIONS,
    absences, transactions, values,
};
use crate::core::{
    codec::{CodecError, Reader},
    data::{DATABASES, Database, Entry, HIDDEN, Keyspace, Used, Uses},
    machine::{Answered, Machine},
    partition::State,
    paxos::{Ballot, LogIndex, Position},
    sessions::{Roll, Session},
};

/// Bytes that a session takes at least.
const SESSION_BYTES_MIN: usize = 4;
/// Bytes that a key with its value takes at least.
const ENTRY_BYTES_MIN: usize = 5;

pub(super) fn state(content: Bytes, version: u8) -> Result<State<Machine>, SnapshotError> {
    let from = &mut Reader::new(content);
    let birth = Ballot {
        configuration: from.number()?,
        round: from.number()?,
        replica: ReplicaId(from.number()?),
    };
    let index = LogIndex(from.number()?);
    // It has to leave room to count on.
    if index.0 > u64::MAX / 2 {
        return Err(CodecError::Number.into());
    }
    let now_ms = from.number()?;
    let mut state = State::new(Machine::default());
    state.applied = Position { birth, index };
    state.now_ms = now_ms;
    for _ in 0..from.count(SESSION_BYTES_MIN)? {
        let session = Session {
            replica: ReplicaId(from.number()?),
            boot: from.number()?,
        };
        let answered_below = from.number()?;
        let mut replies = Vec::new();
        while from.flag()? {
            replies.push((from.number()?, Answered::decode(from.bytes()?)?));
        }
        state.sessions.restore(session, answered_below, replies);
    }
    let up_to = from.number()?;
    let mut present = Vec::new();
    for _ in 0..from.count(1)? {
        present.push(ReplicaId(from.number()?));
    }
    let roll = Roll::new(up_to, present);
    if state.sessions.remembers_gone(&roll) {
        return Err(SnapshotError::Impossible("a session that is gone"));
    }
    state.sessions.call(&roll);
    let mut keyspace = Keyspace::default();
    for index in 0..DATABASES {
        database(from, keyspace.database_mut(index), Uses::Last.first(now_ms))?;
    }
    if version >= VERSION_HIDDEN {
        database(
            from,
            keyspace.database_mut(HIDDEN),
            Uses::Last.first(now_ms),
        )?;
    }
    state.machine = Machine::of(keyspace);
    if version >= VERSION_TRANSACTIONS {
        let transactions = transactions::read(from)?;
        state.machine = state.machine.with_transactions(transactions);
    }
    if version >= VERSION_ABSENCES {
        let absences = absences::read(from)?;
        state.machine = state.machine.with_absences(absences);
    }
    if version >= VERSION_BRANCHES {
        let known = state.machine.transactions().clone();
        let known = transactions::read_branches(from, known)?;
        state.machine = state.machine.with_transactions(known);
    } else if state.machine.transactions().knows_branches() {
        return Err(SnapshotError::Impossible("a branch in a version without"));
    }
    from.clone().finish()?;
    Ok(state)
}

/// Keys count as used when the state was written down: more is not known of them.
fn database(from: &mut Reader, database: &mut Database, used: Used) -> Result<(), SnapshotError> {
    for _ in 0..from.count(ENTRY_BYTES_MIN)? {
        let key = from.bytes()?;
        let (version, expires_at_ms) = (from.number()?, optional(from)?);
        let mut entry = Entry::new(values::read(from)?, expires_at_ms, version);
        entry.set_used(used);
        if database.insert(&key, entry).is_some() {
            return Err(SnapshotError::Impossible("a key twice"));
        }
    }
    Ok(())
}

/// A number that may be none.
pub(super) fn optional(from: &mut Reader) -> Result<Option<u64>, CodecError> {
    from.flag()?.then(|| from.number()).transpose()
}
