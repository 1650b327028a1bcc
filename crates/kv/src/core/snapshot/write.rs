//! Writes a state.

use bytes::Bytes;

use super::{
    MAGIC, VERSION, VERSION_ABSENCES, VERSION_BRANCHES, VERSION_HIDDEN, VERSION_TRANSACTIONS,
    absences, sink::Sink, transactions, values,
};
use crate::core::{
    data::{DATABASES, Database, HIDDEN, Keyspace},
    machine::Machine,
    partition::State,
};

pub(super) fn state<F: FnMut(Bytes)>(to: &mut Sink<F>, state: &State<Machine>) {
    let applied = state.applied;
    let keyspace = state.machine.keyspace();
    let known = state.machine.transactions();
    let has_branches = known.knows_branches();
    let has_absences = has_branches || !state.machine.absences().is_empty();
    let has_transactions = !known.is_empty() || has_absences;
    let has_hidden = !keyspace.database(HIDDEN).is_empty();
    // Where there is nothing of them, versions from before they were there can read the rest.
    to.raw(MAGIC)
        .byte(match (has_absences, has_transactions, has_hidden) {
            _ if has_branches => VERSION_BRANCHES,
            (true, _, _) => VERSION_ABSENCES,
            (false, true, _) => VERSION_TRANSACTIONS,
            (false, false, true) => VERSION_HIDDEN,
            (false, false, false) => VERSION,
        })
        .number(applied.birth.configuration)
        .number(applied.birth.round)
        .number(applied.birth.replica.0)
        .number(applied.index.0)
        .number(state.now_ms);
    let sessions = &state.sessions;
    to.length(sessions.iter().count());
    for (session, answered_below, replies) in sessions.iter() {
        to.number(session.replica.0)
            .number(session.boot)
            .number(answered_below);
        // Counting would mean to go through them twice: a mark before each, and one at the end.
        for (sequence, reply) in replies {
            to.byte(1).number(sequence).bytes(&reply.encode());
        }
        to.byte(0);
    }
    let roll = sessions.roll();
    to.number(roll.up_to()).length(roll.present().len());
    for replica in roll.present() {
        to.number(replica.0);
    }
    write_keyspace(to, keyspace);
    if has_transactions {
        if !has_hidden {
            database(to, keyspace.database(HIDDEN));
        }
        transactions::write(to, known);
    }
    if has_absences {
        absences::write(to, state.machine.absences());
    }
    if has_branches {
        transactions::write_branches(to, known);
    }
}

/// All databases; the hidden one only where something is in it.
pub(super) fn write_keyspace<F: FnMut(Bytes)>(to: &mut Sink<F>, keyspace: &Keyspace) {
    for index in 0..DATABASES {
        database(to, keyspace.database(index));
    }
    if !keyspace.database(HIDDEN).is_empty() {
        database(to, keyspace.database(HIDDEN));
    }
}

fn database<F: FnMut(Bytes)>(to: &mut Sink<F>, database: &Database) {
    to.length(database.len());
    for place in 0..database.len() {
        let Some((key, entry)) = database.at(place) else {
            unreachable!("places are below the length");
        };
        to.bytes(key).number(entry.version());
        optional(to, entry.expires_at_ms());
        values::write(to, &entry.value);
    }
}

/// A number that may be none.
pub(super) fn optional<F: FnMut(Bytes)>(to: &mut Sink<F>, number: Option<u64>) {
    match number {
        None => to.byte(0),
        Some(number) => to.byte(1).number(number),
    };
}
