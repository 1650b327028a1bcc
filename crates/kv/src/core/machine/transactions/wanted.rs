//! Which keys an operation touches, and so which locks are in its way.

use std::{collections::HashSet, ops::Range};

use bytes::Bytes;
use foldhash::fast::RandomState;

use super::{Locks, Prepare, Transact};
use crate::core::{
    command::{self, Command},
    data::DATABASES,
    machine::{Call, Operation, Script, Step},
    route,
};

/// What an operation touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::core::machine) enum Wanted {
    /// These keys of databases.
    Keys(Vec<(usize, Bytes)>),
    /// Any key.
    Everything,
}

impl Wanted {
    /// What a transaction takes hold of.
    pub(in crate::core::machine) fn of(prepare: &Prepare) -> Wanted {
        match &prepare.locks {
            Locks::Everything => Wanted::Everything,
            Locks::Keys(keys) => {
                let watched = prepare.watched.iter();
                let watched = watched.map(|(database, key, _)| (*database, key.clone()));
                Wanted::Keys(keys.iter().cloned().chain(watched).collect())
            }
        }
    }

    /// Whether both touch a key.
    pub(in crate::core::machine) fn meets(&self, other: &Wanted) -> bool {
        match (self, other) {
            (Wanted::Keys(keys), _) | (_, Wanted::Keys(keys)) if keys.is_empty() => false,
            (Wanted::Keys(keys), Wanted::Keys(others)) => {
                let others: HashSet<_, RandomState> = others.iter().collect();
                keys.iter().any(|key| others.contains(key))
            }
            _ => true,
        }
    }

    fn add_call(&mut self, call: &Call) {
        let Wanted::Keys(keys) = self else {
            return;
        };
        let Some(command) = command::find(&call.words) else {
            return;
        };
        let Some(places) = route::reach(command, &call.words) else {
            *self = Wanted::Everything;
            return;
        };
        let words = places.iter().filter_map(|place| call.words.get(*place));
        keys.extend(words.flat_map(|key| {
            let databases = databases_of(command, call.database);
            databases.map(|database| (database, key.clone()))
        }));
    }

    fn add_script(&mut self, script: &Script) {
        if let Wanted::Keys(keys) = self {
            let named = script.keys.iter();
            keys.extend(named.map(|key| (script.database, key.clone())));
        }
    }

    fn add_watched(&mut self, watched: &[(usize, Bytes, u64)]) {
        if let Wanted::Keys(keys) = self {
            let watched = watched.iter();
            keys.extend(watched.map(|(database, key, _)| (*database, key.clone())));
        }
    }
}

/// Whether a command works on databases other than the chosen one.
pub(in crate::core::machine) fn names_databases(command: &Command) -> bool {
    matches!(command.name, "copy" | "move" | "swapdb" | "flushall")
}

/// Databases whose keys a command may touch, where one is chosen.
pub(in crate::core::machine) fn databases_of(command: &Command, chosen: usize) -> Range<usize> {
    match names_databases(command) {
        true => 0..DATABASES,
        false => chosen..chosen + 1,
    }
}

/// What an operation has to wait for; nothing, if it waits for nobody: what owners log by
/// themselves, and steps of transactions that don't say so.
pub(in crate::core::machine) fn wanted(operation: &Bytes) -> Option<Wanted> {
    let mut wanted = Wanted::Keys(Vec::new());
    // Whoever applies what can't be read refuses it.
    match Operation::decode(operation.clone()).ok()? {
        Operation::Call(call) | Operation::Wait { call, .. } => wanted.add_call(&call),
        Operation::Transaction { calls, watched } => {
            wanted.add_watched(&watched);
            for call in &calls {
                wanted.add_call(call);
            }
        }
        Operation::Versions(keys) => wanted = Wanted::Keys(keys),
        Operation::Script(script) => wanted.add_script(&script),
        Operation::Program { steps, watched } => {
            wanted.add_watched(&watched);
            for step in &steps {
                match step {
                    Step::Call(call) => wanted.add_call(call),
                    Step::Script(script) => wanted.add_script(script),
                }
            }
        }
        Operation::Expire(_)
        | Operation::Evict(_)
        | Operation::Sum
        | Operation::Compare { .. }
        | Operation::Tend(_)
        | Operation::Decided(_) => return None,
        Operation::Transact(Transact::Prepare(prepare)) if prepare.waits => {
            wanted = Wanted::of(&prepare);
        }
        Operation::Transact(_) => return None,
    }
    Some(wanted)
}

/// The step by which an operation takes hold, if it is one.
pub(in crate::core::machine) fn prepares(operation: &Bytes) -> Option<Prepare> {
    if !Operation::is_transact(operation) {
        return None;
    }
    match Operation::decode(operation.clone()) {
        Ok(Operation::Transact(Transact::Prepare(prepare))) => Some(prepare),
        _ => None,
    }
}
