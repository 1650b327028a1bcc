//! What the tests of the core share: a store in memory, and a machine that stands on it.

mod model;
mod properties;
mod script;
mod stories;

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    core::{
        effects::{Effects, Space, Table, ValueError, Values, Write, revision_key},
        machine::{Machine, Outcome},
        reclaim::ReclaimCursor,
    },
    proto::internal::{Command, Identity, System, command::Op, identity},
};

/// The tables, as a store would hold them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Memory(BTreeMap<(Table, Bytes), Bytes>);

impl Memory {
    pub(crate) fn write(&mut self, writes: &[Write]) {
        for write in writes {
            let row = (write.table, write.key.clone());
            match &write.value {
                Some(value) => self.0.insert(row, value.clone()),
                None => self.0.remove(&row),
            };
        }
    }

    pub(crate) fn restore(&self, applied_index: u64) -> Machine {
        Machine::restore(applied_index, |table| {
            let rows = self.0.iter().filter(move |((of, _), _)| *of == table);
            rows.map(|((_, key), value)| Ok((key.clone(), value.clone())))
        })
        .expect("the store holds what the machine wrote")
    }

    pub(crate) fn len(&self, table: Table) -> usize {
        self.0.keys().filter(|(of, _)| *of == table).count()
    }
}

impl Values for Memory {
    fn get(&self, space: Space, main: i64, sub: u32) -> Result<Option<Bytes>, ValueError> {
        Ok(self
            .0
            .get(&(space.table(), revision_key(main, sub)))
            .cloned())
    }
}

/// A machine over a store, fed one command at a time.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) machine: Machine,
    /// What was flushed.
    pub(crate) store: Memory,
    /// What waits for the next flush.
    pub(crate) pending: Effects,
    /// The log after what was flushed.
    unflushed: Vec<Command>,
}

impl Node {
    pub(crate) fn new() -> Node {
        Node {
            machine: Machine::new(),
            store: Memory::default(),
            pending: Effects::default(),
            unflushed: Vec::new(),
        }
    }

    pub(crate) fn apply(&mut self, command: &Command) -> Outcome {
        let index = self.machine.applied_index() + 1;
        self.unflushed.push(command.clone());
        self.machine
            .apply(index, command, &self.store, &mut self.pending)
            .expect("the store has every value")
    }

    pub(crate) fn flush(&mut self) {
        let mark = self.machine.flush_mark();
        self.store.write(&std::mem::take(&mut self.pending).writes);
        self.machine.flushed(mark);
        self.unflushed.clear();
    }

    /// Loses what was not flushed, and checks that the log after it gives the same machine.
    pub(crate) fn crash(&mut self) {
        let log = std::mem::take(&mut self.unflushed);
        let flushed_index = self.machine.applied_index() - log.len() as u64;
        let restored = self.restored(flushed_index);
        let lost = std::mem::replace(&mut self.machine, restored);
        let lost_effects = std::mem::take(&mut self.pending);
        for command in &log {
            self.apply(command);
        }
        assert_eq!(self.machine, lost, "the log gives the same machine");
        assert_eq!(
            self.pending, lost_effects,
            "the log asks for the same effects"
        );
    }

    /// Flushes, and checks that the store alone gives the very same machine.
    pub(crate) fn restart(&mut self) {
        self.flush();
        let restored = self.restored(self.machine.applied_index());
        assert_eq!(restored, self.machine, "the store gives the same machine");
        self.machine = restored;
    }

    /// What was flushed, told of its members as the log would tell it.
    fn restored(&self, applied_index: u64) -> Machine {
        let mut machine = self.store.restore(applied_index);
        machine.restore_members(self.machine.members.clone());
        machine
    }

    /// Reclaims all there is to reclaim, in steps of `budget`.
    pub(crate) fn reclaim(&mut self, budget: usize, min_pinned: Option<i64>) {
        for space in [Space::User, Space::System] {
            let mut next = Some(ReclaimCursor::default());
            while let Some(cursor) = next {
                let keyspace = self.machine.keyspace_mut(space);
                let (deletes, then) = keyspace.reclaim(cursor, budget, min_pinned);
                assert!(deletes.len() <= budget, "a step keeps to its budget");
                self.store.write(&deletes);
                next = then;
            }
        }
    }

    pub(crate) fn hash(&self, space: Space, revision: i64, step: usize) -> u32 {
        let keyspace = self.machine.keyspace(space);
        let mut walk = keyspace.hash_begin(revision).expect("a readable revision");
        while !keyspace
            .hash_step(&mut walk, step, &self.store)
            .expect("the store has it")
        {}
        walk.hash()
    }
}

pub(crate) fn command(identity: &Identity, op: Op) -> Command {
    Command {
        origin: None,
        identity: Some(identity.clone()),
        op: Some(op),
    }
}

pub(crate) fn system() -> Identity {
    Identity {
        who: Some(identity::Who::System(System {})),
    }
}
