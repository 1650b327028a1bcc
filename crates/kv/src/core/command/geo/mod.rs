//! Places on Earth, as scores of sorted sets.

mod places;
mod search;

use bytes::Bytes;

use super::{
    args,
    table::{Command, Flags, Group, KeyPlaces},
};

/// What most commands of places have in common.
const GEO: Command = Command {
    name: "",
    arity: 0,
    flags: Flags::READONLY,
    keys: KeyPlaces::ONE,
    group: Group::Geo,
    since: "3.2.0",
    summary: "",
    complexity: "O(1) for each member",
    execute: places::geopos,
    subcommands: &[],
};

const STORES: Flags = Flags::WRITE.and(Flags::DENYOOM);
const SEARCHES: &str =
    "O(N+log(M)), N being the number of members in cells around the shape, M that of all";

/// The key that is searched, and those after STORE and STOREDIST.
const SEARCHED_AND_STORED: KeyPlaces = KeyPlaces::Custom(searched_and_stored);

/// Places of options begin where the centre and radius end; a member may be called STORE.
fn searched_and_stored(words: &[Bytes]) -> Vec<usize> {
    let by_member = words
        .first()
        .is_some_and(|name| args::is(name, "GEORADIUSBYMEMBER"));
    let options = if by_member { 5 } else { 6 };
    let stored = (options..words.len().saturating_sub(1))
        .filter(|place| args::is(&words[*place], "STORE") || args::is(&words[*place], "STOREDIST"))
        .map(|place| place + 1)
        .next_back();
    (1..words.len().min(2)).chain(stored).collect()
}

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "geoadd",
        arity: -5,
        flags: STORES,
        summary: "Adds members with their places.",
        complexity: "O(log(N)) for each member, N being the size of the sorted set",
        execute: places::geoadd,
        ..GEO
    },
    Command {
        name: "geodist",
        arity: -4,
        summary: "Returns the distance between two members.",
        complexity: "O(1)",
        execute: places::geodist,
        ..GEO
    },
    Command {
        name: "geohash",
        arity: -2,
        summary: "Returns the places of members as geohashes.",
        execute: places::geohash,
        ..GEO
    },
    Command {
        name: "geopos",
        arity: -2,
        summary: "Returns the longitudes and latitudes of members.",
        ..GEO
    },
    Command {
        name: "georadius",
        arity: -6,
        flags: STORES.and(Flags::MOVABLEKEYS),
        keys: SEARCHED_AND_STORED,
        summary: "Returns, or keeps in a key, the members within a circle around a place.",
        complexity: SEARCHES,
        execute: search::georadius,
        ..GEO
    },
    Command {
        name: "georadius_ro",
        arity: -6,
        since: "3.2.10",
        summary: "Returns the members within a circle around a place.",
        complexity: SEARCHES,
        execute: search::georadius_ro,
        ..GEO
    },
    Command {
        name: "georadiusbymember",
        arity: -5,
        flags: STORES.and(Flags::MOVABLEKEYS),
        keys: SEARCHED_AND_STORED,
        summary: "Returns, or keeps in a key, the members within a circle around one of them.",
        complexity: SEARCHES,
        execute: search::georadiusbymember,
        ..GEO
    },
    Command {
        name: "georadiusbymember_ro",
        arity: -5,
        since: "3.2.10",
        summary: "Returns the members within a circle around one of them.",
        complexity: SEARCHES,
        execute: search::georadiusbymember_ro,
        ..GEO
    },
    Command {
        name: "geosearch",
        arity: -7,
        since: "6.2.0",
        summary: "Returns the members within a circle or a box.",
        complexity: SEARCHES,
        execute: search::geosearch,
        ..GEO
    },
    Command {
        name: "geosearchstore",
        arity: -8,
        flags: STORES,
        keys: KeyPlaces::Range {
            first: 1,
            last: 2,
            step: 1,
        },
        since: "6.2.0",
        summary: "Keeps the members within a circle or a box in a key.",
        complexity: SEARCHES,
        execute: search::geosearchstore,
        ..GEO
    },
];

#[cfg(test)]
mod tests;
