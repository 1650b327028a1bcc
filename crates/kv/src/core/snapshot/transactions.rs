//! Transactions over several partitions, as far as a partition knows them.

use bytes::Bytes;

use super::{SnapshotError, sink::Sink};
use crate::core::{
    codec::{Reader, Writer},
    data::{HIDDEN, Key},
    machine::{
        BranchId, Decision, Locks, Operation, Prepare, Prepared, Standing, Terms, Transact,
        TransactionId, Transactions,
    },
    paxos::LogIndex,
};

/// Bytes that a transaction takes at least.
const BYTES_MIN: usize = 4;
/// Bytes that a branch takes at least.
const BRANCH_BYTES_MIN: usize = 20;

pub(super) fn write<F: FnMut(Bytes)>(to: &mut Sink<F>, transactions: &Transactions) {
    let prepared = transactions.prepared();
    to.length(prepared.len());
    for (id, prepared) in prepared {
        // What it brought is kept as the one step that would have brought all of it.
        let keys = prepared.keys.iter();
        let keys = keys.map(|(database, key)| (*database, Bytes::copy_from_slice(key)));
        let step = Operation::Transact(Transact::Prepare(Prepare {
            id,
            home: prepared.home,
            participants: prepared.participants.clone(),
            locks: Locks::Keys(keys.collect()),
            watched: Vec::new(),
            calls: prepared.calls.clone(),
            waits: false,
            branch: prepared.branch,
        }));
        to.number(prepared.now_ms)
            .number(prepared.seed)
            .number(prepared.index.0)
            .byte(u8::from(prepared.locks_everything))
            .bytes(&Operation::with_terms(step.encode(), &prepared.terms));
    }
    let decisions = transactions.decisions();
    to.length(decisions.len());
    for (id, decision) in decisions {
        let mut name = Writer::default();
        id.write(&mut name);
        to.raw(&name.finish()).byte(u8::from(decision.commits));
        to.length(decision.participants.len());
        for participant in &decision.participants {
            to.number(participant.0.into());
        }
    }
}

pub(super) fn read(from: &mut Reader) -> Result<Transactions, SnapshotError> {
    let mut transactions = Transactions::default();
    for _ in 0..from.count(BYTES_MIN)? {
        let (now_ms, seed) = (from.number()?, from.number()?);
        let index = LogIndex(from.number()?);
        let locks_everything = from.flag()?;
        let (terms, step) = Operation::decode_with_terms(from.bytes()?)?;
        let (id, prepared) = prepared(step, terms)?;
        let prepared = Prepared {
            now_ms,
            seed,
            index,
            locks_everything,
            ..prepared
        };
        if !transactions.restore_prepared(id, prepared) {
            return Err(SnapshotError::Impossible("a key that is locked twice"));
        }
    }
    for _ in 0..from.count(BYTES_MIN)? {
        let id = TransactionId::read(from)?;
        let decision = Decision {
            commits: from.flag()?,
            participants: (0..from.count(1)?)
                .map(|_| from.partition())
                .collect::<Result<_, _>>()?,
        };
        if !transactions.restore_decision(id, decision) {
            return Err(SnapshotError::Impossible("a decision twice"));
        }
    }
    Ok(transactions)
}

/// Branches that are decided outside; what is held of them is among the transactions.
pub(super) fn write_branches<F: FnMut(Bytes)>(to: &mut Sink<F>, transactions: &Transactions) {
    let branches = transactions.branches();
    to.length(branches.len());
    for (branch, standing) in branches {
        let mut writer = Writer::default();
        branch.write(&mut writer);
        standing.write(&mut writer);
        to.raw(&writer.finish());
    }
}

pub(super) fn read_branches(
    from: &mut Reader,
    mut transactions: Transactions,
) -> Result<Transactions, SnapshotError> {
    for _ in 0..from.count(BRANCH_BYTES_MIN)? {
        let branch = BranchId::read(from)?;
        let standing = Standing::read(from)?;
        if !transactions.restore_branch(branch, standing) {
            return Err(SnapshotError::Impossible("a branch as none can stand"));
        }
    }
    Ok(transactions)
}

fn prepared(step: Operation, terms: Terms) -> Result<(TransactionId, Prepared), SnapshotError> {
    let Operation::Transact(Transact::Prepare(prepare)) = step else {
        return Err(SnapshotError::Impossible("a lock of no transaction"));
    };
    let Locks::Keys(keys) = prepare.locks else {
        return Err(SnapshotError::Impossible("a lock without keys"));
    };
    if keys.iter().any(|(database, _)| *database > HIDDEN) {
        return Err(SnapshotError::Impossible("a database that can't be"));
    }
    let keys = keys.into_iter();
    let prepared = Prepared {
        home: prepare.home,
        participants: prepare.participants,
        now_ms: 0,
        seed: 0,
        index: LogIndex::default(),
        terms,
        locks_everything: false,
        keys: keys
            .map(|(database, key)| (database, Key::from(&key[..])))
            .collect(),
        calls: prepare.calls,
        branch: prepare.branch,
    };
    Ok((prepare.id, prepared))
}
