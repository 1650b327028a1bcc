//! Where a command goes: which partitions it touches, what each of them is asked, and how their
//! answers become one.
//!
//! Commands that Redis promises nothing for beyond single keys (or whose promise over a whole
//! database nobody can use: DBSIZE, KEYS) are cut into parts. Each part is atomic, all of them
//! together are not: another client may see some done and others not yet, and if one fails the
//! rest may have been done. Everything else that touches several partitions is
//! [`Plan::Atomic`].

mod merge;
mod scan;
mod sort;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod whole;

use std::collections::{BTreeMap, BTreeSet};

use atoll_base::id::PartitionId;
use bytes::Bytes;

pub use merge::Merge;
pub use scan::Scan;

use super::command::{Command, CommandError, Flags, KeyPlaces};

/// What to do with a command.
#[derive(Debug)]
pub enum Plan {
    /// It touches no key: any partition can run it.
    Anywhere,
    /// It runs as it is in this partition.
    One(PartitionId),
    /// Parts run in their partitions at the same time.
    Parts(Vec<Part>, Merge),
    /// It runs as it is in every partition at the same time.
    Every(Merge),
    /// It runs in one partition after the other, in random order, until one answers something.
    /// So every partition that has something to say is as likely to be heard as any other.
    Search,
    /// It runs in one partition after the other, as this says.
    Scan(Scan),
    /// It has to run in all of these, two at least, at one moment.
    Atomic(Vec<PartitionId>),
}

/// A part of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it runs.
    pub partition: PartitionId,
    /// The command's words, with the keys of this partition only.
    pub words: Vec<Bytes>,
    /// Which of the command's keys these are, counted from 0.
    pub keys: Vec<usize>,
}

/// How far a command may be spread.
enum Spread {
    /// Key by key.
    Keys(Merge),
    /// Over all partitions, whatever its words are.
    Every(Merge),
    /// Over all partitions, until one has something.
    Search,
    /// Over all partitions, from one to the next.
    Scan,
    /// Over all partitions at one moment.
    EveryAtomic,
    /// Not at all.
    No,
}

fn spread(command: &Command) -> Spread {
    match command.name {
        "del" | "unlink" | "exists" | "touch" => Spread::Keys(Merge::Sum),
        "mget" => Spread::Keys(Merge::Places),
        "dbsize" => Spread::Every(Merge::Sum),
        "keys" => Spread::Every(Merge::Concatenation),
        "flushdb" | "flushall" => Spread::Every(Merge::Status),
        "randomkey" => Spread::Search,
        "scan" => Spread::Scan,
        "swapdb" => Spread::EveryAtomic,
        _ => Spread::No,
    }
}

/// What to do with a command that names no keys on some of the partitions only: as
/// [`plan`] says of all of them. None, if it can't be had that way.
pub fn plan_some(
    command: &Command,
    words: &[Bytes],
    partitions: u16,
) -> Option<Result<Plan, CommandError>> {
    Some(match spread(command) {
        Spread::Every(merge) if !command.flags.has(Flags::WRITE) => Ok(Plan::Every(merge)),
        Spread::Search => Ok(Plan::Search),
        Spread::Scan => Scan::new(words, partitions).map(Plan::Scan),
        _ => return None,
    })
}

/// What COMMAND DOCS adds about commands that are not atomic over several partitions.
pub fn promise(command: &Command) -> Option<&'static str> {
    match spread(command) {
        Spread::Keys(_) => Some(
            "Keys of different partitions are looked up or removed one by one, not at one moment.",
        ),
        Spread::Every(_) | Spread::Search => {
            Some("Goes through the partitions one by one, not at one moment.")
        }
        Spread::Scan => Some("Goes through the partitions one after the other."),
        Spread::EveryAtomic | Spread::No => None,
    }
}

/// Where keys are among these words, which call this command; none, if it may touch any key.
pub fn reach(command: &Command, words: &[Bytes]) -> Option<Vec<usize>> {
    let looks_further =
        matches!(command.name, "sort" | "sort_ro") && sort::patterns(words).next().is_some();
    let places = command.keys.of(words);
    let is_wide = matches!(
        spread(command),
        Spread::Every(_) | Spread::Search | Spread::Scan | Spread::EveryAtomic
    );
    (!looks_further && !is_wide).then_some(places)
}

/// What to do with these words, which call this command, where there are so many partitions.
///
/// # Errors
/// [`CommandError`], if the words themselves have to say where it goes and don't.
pub fn plan(
    command: &Command,
    words: &[Bytes],
    partitions: u16,
    partition_of: impl Fn(&[u8]) -> PartitionId,
) -> Result<Plan, CommandError> {
    if partitions <= 1 {
        return Ok(Plan::One(PartitionId(0)));
    }
    if matches!(command.name, "sort" | "sort_ro") {
        return Ok(plan_sort(command, words, partitions, partition_of));
    }
    // Most commands have one key; it needs no list.
    let one = matches!(
        command.keys,
        KeyPlaces::Range {
            first: 1,
            last: 1,
            ..
        }
    );
    if let (true, Some(key)) = (one, words.get(1)) {
        return Ok(Plan::One(partition_of(key)));
    }
    let places = command.keys.of(words);
    if let [place] = places[..] {
        return Ok(Plan::One(partition_of(&words[place])));
    }
    if places.is_empty() {
        return Ok(match spread(command) {
            Spread::Every(merge) => Plan::Every(merge),
            Spread::Search => Plan::Search,
            Spread::Scan => Plan::Scan(Scan::new(words, partitions)?),
            Spread::EveryAtomic => Plan::Atomic((0..partitions).map(PartitionId).collect()),
            Spread::Keys(_) | Spread::No => Plan::Anywhere,
        });
    }
    let owners: Vec<PartitionId> = places
        .iter()
        .map(|place| partition_of(&words[*place]))
        .collect();
    if owners.iter().all(|owner| *owner == owners[0]) {
        return Ok(Plan::One(owners[0]));
    }
    if let Spread::Keys(merge) = spread(command) {
        return Ok(Plan::Parts(parts(words, &places, &owners), merge));
    }
    let all: BTreeSet<PartitionId> = owners.into_iter().collect();
    Ok(Plan::Atomic(all.into_iter().collect()))
}

/// SORT looks at its keys, and at those that BY and GET make of what it finds: if nothing says
/// where these are, they may be anywhere.
fn plan_sort(
    command: &Command,
    words: &[Bytes],
    partitions: u16,
    partition_of: impl Fn(&[u8]) -> PartitionId,
) -> Plan {
    let keys = command
        .keys
        .of(words)
        .into_iter()
        .map(|place| &words[place]);
    let mut touched: BTreeSet<PartitionId> = keys.map(|key| partition_of(key)).collect();
    for pattern in sort::patterns(words) {
        if !sort::has_fixed_tag(pattern) {
            touched.extend((0..partitions).map(PartitionId));
            break;
        }
        touched.insert(partition_of(pattern));
    }
    let touched: Vec<PartitionId> = touched.into_iter().collect();
    match touched[..] {
        [] => Plan::Anywhere,
        [one] => Plan::One(one),
        _ => Plan::Atomic(touched),
    }
}

/// One part for each of the keys' partitions, in their order. Words before the first key are in
/// all; there are none between or after the keys of commands that are split.
fn parts(words: &[Bytes], places: &[usize], owners: &[PartitionId]) -> Vec<Part> {
    let shared = &words[..places[0]];
    let mut parts: BTreeMap<PartitionId, Part> = BTreeMap::new();
    for (key, (place, owner)) in places.iter().zip(owners).enumerate() {
        let part = parts.entry(*owner).or_insert_with(|| Part {
            partition: *owner,
            words: shared.to_vec(),
            keys: Vec::new(),
        });
        part.words.push(words[*place].clone());
        part.keys.push(key);
    }
    parts.into_values().collect()
}

/// What to do with all of these at one moment: [`Plan::Anywhere`], [`Plan::One`] or
/// [`Plan::Atomic`]. `watched` are further keys that are looked at.
///
/// # Errors
/// As for [`plan`].
pub fn plan_transaction<'a>(
    calls: impl IntoIterator<Item = (&'a Command, &'a [Bytes])>,
    watched: impl IntoIterator<Item = &'a [u8]>,
    partitions: u16,
    partition_of: impl Fn(&[u8]) -> PartitionId,
) -> Result<Plan, CommandError> {
    let mut all: BTreeSet<PartitionId> = watched.into_iter().map(&partition_of).collect();
    for (command, words) in calls {
        match plan(command, words, partitions, &partition_of)? {
            Plan::Anywhere => {}
            Plan::One(partition) => {
                all.insert(partition);
            }
            Plan::Parts(parts, _) => all.extend(parts.iter().map(|part| part.partition)),
            Plan::Atomic(touched) => all.extend(touched),
            Plan::Every(_) | Plan::Search | Plan::Scan(_) => {
                all.extend((0..partitions).map(PartitionId));
            }
        }
    }
    let all: Vec<PartitionId> = all.into_iter().collect();
    Ok(match all[..] {
        [] => Plan::Anywhere,
        [one] => Plan::One(one),
        _ => Plan::Atomic(all),
    })
}
