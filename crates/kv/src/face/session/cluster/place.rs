//! Whether a command is asked where its keys are.

use atoll_ring::slot::Slot;
use bytes::Bytes;

use crate::{
    api::{Consistency, Redirect, Route},
    core::{
        command::{Command, CommandError, Flags, KeyPlaces},
        data::parse_integer,
    },
    face::session::{Session, transaction::Queued},
};

const CROSSSLOT: CommandError =
    CommandError::Other("CROSSSLOT Keys in request don't hash to the same slot");

impl Session {
    /// Refuses what Redis refuses on a cluster's node, and sends the client to where the keys
    /// are. What is in a transaction is looked at when it is queued, and all of it by EXEC.
    pub(in crate::face::session) fn check_place(
        &self,
        command: &Command,
        words: &[Bytes],
    ) -> Result<(), CommandError> {
        // Any node takes commands of an eventual keyspace.
        if self.cluster.is_none() || self.keyspace.is_some() {
            return Ok(());
        }
        match command.name {
            "swapdb" => {
                return Err(CommandError::Other(
                    "ERR SWAPDB is not allowed in cluster mode",
                ));
            }
            "move" => {
                return Err(CommandError::Other(
                    "ERR MOVE is not allowed in cluster mode",
                ));
            }
            "copy" if copies_away(words) => {
                return Err(CommandError::Other(
                    "ERR Copying to another database is not allowed in cluster mode",
                ));
            }
            _ => {}
        }
        match slot(command, words)? {
            Some(slot) => self.check_slot(slot, command.flags.has(Flags::WRITE)),
            None => Ok(()),
        }
    }

    /// The same of everything that was queued.
    pub(in crate::face::session) fn check_places(
        &self,
        calls: &[Queued],
    ) -> Result<(), CommandError> {
        if self.cluster.is_none() {
            return Ok(());
        }
        let mut common = None;
        for (command, words, _) in calls {
            if let Some(slot) = slot(command, words)?
                && *common.get_or_insert(slot) != slot
            {
                return Err(CROSSSLOT);
            }
        }
        let mut commands = calls.iter().map(|(command, ..)| command);
        match common {
            Some(slot) => self.check_slot(
                slot,
                commands.any(|command| command.flags.has(Flags::WRITE)),
            ),
            None => Ok(()),
        }
    }

    fn check_slot(&self, slot: Slot, writes: bool) -> Result<(), CommandError> {
        let route = self.cluster.as_ref().map(|cluster| cluster.route(slot));
        let reads_here = self.consistency == Consistency::Stale && !writes;
        match route {
            None | Some(Route::Here) => Ok(()),
            Some(Route::Replica(_)) if reads_here => Ok(()),
            Some(
                Route::Replica(Redirect { host, port }) | Route::Elsewhere(Redirect { host, port }),
            ) => Err(CommandError::Text(format!(
                "MOVED {} {host}:{port}",
                slot.number()
            ))),
        }
    }

    /// Whether cluster clients ask this of every owner, and put the answers together: each then
    /// tells of what it owns. FLUSHALL and FLUSHDB are the same wherever and however often they
    /// are asked.
    pub(in crate::face::session) fn is_of_part(&self, command: &Command) -> bool {
        self.cluster.is_some() && matches!(command.name, "dbsize" | "keys" | "randomkey" | "scan")
    }
}

/// The slot of a command's keys, if it has any.
///
/// # Errors
/// They are in several.
fn slot(command: &Command, words: &[Bytes]) -> Result<Option<Slot>, CommandError> {
    // Most commands have one key or none; they need no list.
    match command.keys {
        KeyPlaces::None => return Ok(None),
        KeyPlaces::Range {
            first: 1, last: 1, ..
        } => return Ok(words.get(1).map(|key| Slot::of_key(key))),
        _ => {}
    }
    let mut places = command.keys.of(words).into_iter();
    let mut slots = places
        .by_ref()
        .filter_map(|place| words.get(place))
        .map(|key| Slot::of_key(key));
    let Some(first) = slots.next() else {
        return Ok(None);
    };
    match slots.all(|slot| slot == first) {
        true => Ok(Some(first)),
        false => Err(CROSSSLOT),
    }
}

/// Whether COPY names another database than the one there is.
fn copies_away(words: &[Bytes]) -> bool {
    let options = words.get(3..).unwrap_or_default();
    let named = options
        .windows(2)
        .find(|pair| pair[0].eq_ignore_ascii_case(b"DB"));
    named.is_some_and(|pair| parse_integer(&pair[1]).is_some_and(|index| index != 0))
}
