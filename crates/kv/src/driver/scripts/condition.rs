//! What this node can't do at the moment: a shard that runs a script does nothing else, and a node
//! that holds too much takes no more.
//!
//! A script's shard can't say so itself, so whoever brings it work looks here first.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use atoll_base::id::PartitionId;
use bytes::Bytes;

use super::is_scripting;
use crate::{
    api::{Condition, EventualStatus, Hindrance, Unhindered},
    core::{
        command::{Command, Flags, KeyPlaces, runs_scripts},
        keyspaces::{KeyspaceNumber, Keyspaces},
        route::{self, Plan},
        script::{self, Flag},
    },
    driver::Kv,
};

impl Condition for Kv {
    fn is_full(&self, command: &Command, words: &[Bytes]) -> bool {
        let shards = self.0.shards.len();
        self.0.memory.is_full(shards) && touches(self, command, words, |it| self.0.owners.owns(it))
    }

    fn hindrance(&self, command: &Command, words: &[Bytes]) -> Option<Hindrance> {
        let after = Duration::from_millis(self.hub().slow_script_ms());
        let slow = self.0.scripts.runs.slow(after);
        let first = slow.first()?;
        let of_shard = |shard| slow.iter().find(|slow| slow.shard == shard);
        let hindered = match is_of_node(command) {
            // While it can do anything else, it answers what it can answer by itself.
            true => {
                let shards = usize::from(self.0.partitions.count()).min(self.0.shards.len());
                let is_hindered = (0..shards).all(|shard| of_shard(shard).is_some());
                is_hindered.then_some(first)
            }
            false => {
                let mut hindered = None;
                touches(self, command, words, |partition| {
                    hindered = of_shard(self.0.shard_of(partition));
                    hindered.is_some()
                });
                hindered
            }
        };
        hindered.map(|slow| Hindrance::Script {
            is_function: slow.is_function,
        })
    }

    fn may_write(&self, command: &Command, words: &[Bytes]) -> bool {
        let may = Unhindered.may_write(command, words);
        may && !(runs_scripts(command) && is_known_to_read(self, command, words))
    }

    fn keyspaces(&self) -> Arc<Keyspaces> {
        Kv::keyspaces(self)
    }

    fn eventual_status(&self) -> BTreeMap<KeyspaceNumber, EventualStatus> {
        Kv::eventual_status(self)
    }
}

/// Whether a script says that it changes nothing, as far as this node knows it.
fn is_known_to_read(kv: &Kv, command: &Command, words: &[Bytes]) -> bool {
    let name = words.get(1).cloned().unwrap_or_default();
    match command.name {
        "fcall" => {
            let known = kv.0.scripts.known.lock().clone();
            let found = known.catalog.find(&name);
            found.is_some_and(|(_, function)| function.flags.contains(&Flag::NoWrites))
        }
        _ => {
            let code = match command.name {
                "evalsha" => super::known_script(kv, &name),
                _ => Some(name),
            };
            let shebang = code.and_then(|code| script::script_flags(&code).ok());
            shebang.is_some_and(|shebang| shebang.only_reads())
        }
    }
}

/// Whether a partition does nothing but run a script, and has for long.
pub(super) fn is_slow(kv: &Kv, partition: PartitionId) -> bool {
    let after = Duration::from_millis(kv.hub().slow_script_ms());
    let shard = kv.0.shard_of(partition);
    let slow = kv.0.scripts.runs.slow(after);
    slow.iter().any(|slow| slow.shard == shard)
}

/// Whether it asks no partition.
fn is_of_node(command: &Command) -> bool {
    let is_of_cache = is_scripting(command) && command.name.starts_with("script|");
    is_of_cache || (command.flags.has(Flags::SESSION) && matches!(command.keys, KeyPlaces::None))
}

/// Whether a command touches a partition of which this is true.
fn touches(
    kv: &Kv,
    command: &Command,
    words: &[Bytes],
    mut is_so: impl FnMut(PartitionId) -> bool,
) -> bool {
    let partitions = kv.0.partitions;
    let of_key = |key: &[u8]| partitions.of_key(key);
    match route::plan(command, words, partitions.count(), of_key) {
        Ok(Plan::One(partition)) => is_so(partition),
        Ok(Plan::Anywhere) => is_so(PartitionId(0)),
        Ok(Plan::Parts(parts, _)) => parts.iter().any(|part| is_so(part.partition)),
        Ok(Plan::Atomic(touched)) => touched.into_iter().any(is_so),
        Ok(Plan::Every(_) | Plan::Search | Plan::Scan(_)) => partitions.ids().any(is_so),
        // Whoever runs it says what is wrong with it.
        Err(_) => false,
    }
}
