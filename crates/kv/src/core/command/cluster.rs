//! CLUSTER: the table of its subcommands, and those that look at keys. What the others answer is
//! the face's.

use atoll_ring::slot::Slot;
use bytes::Bytes;

use super::{
    CommandError, Context, Executed,
    session::{ADMIN, ALWAYS, commands, refused},
    table::{Command, Flags, Group, KeyPlaces},
};
use crate::core::{data::parse_integer, reply::Reply};

pub(super) const COMMANDS: &[Command] = commands! { Group::Cluster;
    "cluster", -2, Flags::NONE, "3.0.0", "Depends on subcommand.",
        "A container for commands about the cluster.", subcommands: SUBCOMMANDS;
};

/// Not about the connection, but about keys.
const KEYS: Flags = Flags::READONLY;

const SUBCOMMANDS: &[Command] = commands! { Group::Cluster;
    "cluster|addslots", -3, ADMIN, "3.0.0", "O(1)",
        "Is refused: slots are dealt out by the cluster itself.";
    "cluster|addslotsrange", -4, ADMIN, "7.0.0", "O(1)",
        "Is refused: slots are dealt out by the cluster itself.";
    "cluster|bumpepoch", 2, ADMIN, "3.0.0", "O(1)",
        "Is refused: epochs are the cluster's own.";
    "cluster|count-failure-reports", 3, ADMIN, "3.0.0", "O(1)",
        "Counts failure reports: there are none.";
    "cluster|countkeysinslot", 3, KEYS, "3.0.0", "O(N) where N is the number of keys in the slot's partition",
        "Counts the keys in a slot.", execute: count_keys_in_slot;
    "cluster|delslots", -3, ADMIN, "3.0.0", "O(1)",
        "Is refused: slots are dealt out by the cluster itself.";
    "cluster|delslotsrange", -4, ADMIN, "7.0.0", "O(1)",
        "Is refused: slots are dealt out by the cluster itself.";
    "cluster|failover", -2, ADMIN, "3.0.0", "O(1)",
        "Is refused: a replica takes over by itself.";
    "cluster|flushslots", 2, ADMIN, "3.0.0", "O(1)",
        "Is refused: slots are dealt out by the cluster itself.";
    "cluster|forget", 3, ADMIN, "3.0.0", "O(1)",
        "Is refused: `atoll node remove` takes a node out.";
    "cluster|getkeysinslot", 4, KEYS, "3.0.0", "O(N) where N is the number of keys in the slot's partition",
        "Returns names of keys in a slot.", execute: get_keys_in_slot;
    "cluster|help", 2, ALWAYS, "5.0.0", "O(1)",
        "Tells what CLUSTER can do.";
    "cluster|info", 2, ALWAYS, "3.0.0", "O(N) where N is the number of partitions",
        "Tells about the cluster.";
    "cluster|keyslot", 3, ALWAYS, "3.0.0", "O(N) where N is the number of bytes in the key",
        "Returns the slot of a key.";
    "cluster|links", 2, ALWAYS, "7.0.0", "O(N) where N is the number of nodes",
        "Tells about the links to the other nodes.";
    "cluster|meet", -4, ADMIN, "3.0.0", "O(1)",
        "Is refused: `atoll start --join` brings a node in.";
    "cluster|myid", 2, ALWAYS, "3.0.0", "O(1)",
        "Returns this node's id.";
    "cluster|myshardid", 2, ALWAYS, "7.2.0", "O(1)",
        "Returns the id of this node's shard: it has one of its own.";
    "cluster|nodes", 2, ALWAYS, "3.0.0", "O(N) where N is the number of partitions",
        "Tells about all nodes, a line each.";
    "cluster|replicas", 3, ADMIN, "5.0.0", "O(N) where N is the number of partitions",
        "Tells about the nodes that hold replicas of what a node owns.";
    "cluster|replicate", 3, ADMIN, "3.0.0", "O(1)",
        "Is refused: replicas are dealt out by the cluster itself.";
    "cluster|reset", -2, ADMIN, "3.0.0", "O(1)",
        "Is refused: `atoll node remove` takes a node out.";
    "cluster|saveconfig", 2, ADMIN, "3.0.0", "O(1)",
        "Is answered at once: what the cluster has decided is on disk.";
    "cluster|set-config-epoch", 3, ADMIN, "3.0.0", "O(1)",
        "Is refused: epochs are the cluster's own.";
    "cluster|setslot", -4, ADMIN, "3.0.0", "O(1)",
        "Is refused: slots are dealt out by the cluster itself.";
    "cluster|shards", 2, ALWAYS, "7.0.0", "O(N) where N is the number of partitions",
        "Tells which nodes have which slots, grouped by nodes.";
    "cluster|slaves", 3, ADMIN, "3.0.0", "O(N) where N is the number of partitions",
        "Tells about the nodes that hold replicas of what a node owns.";
    "cluster|slots", 2, ALWAYS, "3.0.0", "O(N) where N is the number of partitions",
        "Tells which nodes have which slots.";
};

/// The slot that a word names (Redis: "CLUSTER COUNTKEYSINSLOT").
///
/// # Errors
/// It is no number, or `refused`: there is no such slot.
pub fn slot_of(word: &[u8], refused: &'static str) -> Result<Slot, CommandError> {
    let number = parse_integer(word).ok_or(CommandError::NotInteger)?;
    u16::try_from(number)
        .ok()
        .and_then(Slot::new)
        .ok_or(CommandError::Other(refused))
}

/// What to say to a number that is no slot's.
pub const NO_SLOT: &str = "ERR Invalid slot";

/// The same where there are two numbers.
pub const NO_SLOT_OR_COUNT: &str = "ERR Invalid slot or number of keys";

fn keys_in<'a>(context: &'a Context<'_>, slot: Slot) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let database = context.database();
    let keys = (0..database.len()).filter_map(|place| database.at(place));
    keys.map(|(key, _)| &**key)
        .filter(move |key| Slot::of_key(key) == slot)
}

/// Those that have ended and were not removed yet count, as in Redis.
fn count_keys_in_slot(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let slot = slot_of(&words[2], NO_SLOT)?;
    Ok(Reply::count(keys_in(context, slot).count()))
}

fn get_keys_in_slot(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let slot = slot_of(&words[2], NO_SLOT_OR_COUNT)?;
    let count = parse_integer(&words[3]).ok_or(CommandError::NotInteger)?;
    let count = usize::try_from(count).map_err(|_| CommandError::Other(NO_SLOT_OR_COUNT))?;
    let keys = keys_in(context, slot).take(count);
    Ok(Reply::Array(keys.map(Reply::bulk).collect()))
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn keys_of_a_slot() {
        story(
            r#"
            > MSET {a}1 x b x {a}2 x
            OK
            > CLUSTER COUNTKEYSINSLOT 15495
            (integer) 2
            > CLUSTER COUNTKEYSINSLOT 1
            (integer) 0
            > CLUSTER GETKEYSINSLOT 15495 10
            1) "{a}1"
            2) "{a}2"
            > CLUSTER GETKEYSINSLOT 15495 1
            1) "{a}1"
            > CLUSTER GETKEYSINSLOT 15495 0
            (empty array)
            > CLUSTER COUNTKEYSINSLOT 16384
            (error) ERR Invalid slot
            > CLUSTER COUNTKEYSINSLOT -1
            (error) ERR Invalid slot
            > CLUSTER COUNTKEYSINSLOT x
            (error) ERR value is not an integer or out of range
            > CLUSTER GETKEYSINSLOT 16384 1
            (error) ERR Invalid slot or number of keys
            > CLUSTER GETKEYSINSLOT 1 -1
            (error) ERR Invalid slot or number of keys
            > CLUSTER GETKEYSINSLOT 1 x
            (error) ERR value is not an integer or out of range
            "#,
        );
    }
}
