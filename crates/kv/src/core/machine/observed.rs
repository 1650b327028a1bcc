//! Reads without the owner: what a replica sees of one key, and what may change it.

use bytes::Bytes;

use super::{Answered, Call, Change, Machine, Operation, transactions::names_databases};
use crate::core::{
    command::{self, Command, Effects, Flags, Group, Moment},
    data::Value,
};

/// Commands that draw what they answer; replicas would not draw alike for long.
const DRAWN: [&str; 3] = ["hrandfield", "srandmember", "zrandmember"];

impl Machine {
    /// The reply to a read of one key and the version of that key, where neither rests on a
    /// clock, on chance, or on anything but the key.
    pub(super) fn seen(&mut self, operation: &Bytes) -> Option<(u64, Answered)> {
        let Ok(Operation::Call(call)) = Operation::decode(operation.clone()) else {
            return None;
        };
        let (command, key) = one_key(&call)?;
        if self.transactions.locks(call.database, key) {
            return None;
        }
        let is_plain = !command.flags.has(Flags::WRITE)
            && command.group != Group::Stream
            && command.group != Group::Generic
            && !DRAWN.contains(&command.name);
        let entry = self.keyspace.database(call.database).get(key);
        let is_timeless = entry.is_none_or(|entry| {
            entry.expires_at_ms().is_none()
                && !matches!(&entry.value, Value::Hash(hash) if hash.may_end())
        });
        if !is_plain || !is_timeless {
            return None;
        }
        let version = entry.map_or(0, |entry| entry.version());
        let at = Moment {
            now_ms: 0,
            seed: 0,
            version: 0,
            reading: true,
        };
        let reply = self.call(at, &call, &mut Effects::default());
        Some((version, Answered::Reply(reply)))
    }
}

/// Whether a logged operation may change the one key that a read reads.
pub(super) fn touches(logged: &Bytes, read: &Bytes) -> bool {
    let Ok(Operation::Call(read)) = Operation::decode(read.clone()) else {
        return true;
    };
    let Some((_, key)) = one_key(&read) else {
        return true;
    };
    let Ok(logged) = Operation::decode(logged.clone()) else {
        return true;
    };
    let is_it = |(database, other): &(usize, Bytes)| *database == read.database && other == key;
    let may_change = |call: &Call| {
        let Some(command) = command::find(&call.words) else {
            return true;
        };
        let places = command.keys.of(&call.words);
        // What names no keys may change any, and some name those of other databases.
        let is_elsewhere = call.database != read.database && !names_databases(command);
        command.flags.has(Flags::WRITE)
            && !is_elsewhere
            && (places.is_empty()
                || names_databases(command)
                || places
                    .iter()
                    .any(|place| call.words.get(*place) == Some(key)))
    };
    match &logged {
        Operation::Call(call) | Operation::Wait { call, .. } => may_change(call),
        Operation::Transaction { calls, .. } => calls.iter().any(may_change),
        Operation::Versions(_)
        | Operation::Sum
        | Operation::Compare { .. }
        | Operation::Tend(_) => false,
        Operation::Expire(keys) | Operation::Evict(keys) => keys.iter().any(is_it),
        Operation::Decided(decided) => decided.changes.iter().any(|change| match change {
            Change::Call(call) => may_change(call),
            Change::Expired(database, other) => *database == read.database && other == key,
        }),
        // Nobody knows before it ran.
        Operation::Script(_) | Operation::Program { .. } => true,
        // What it locks may change elsewhere first.
        Operation::Transact(_) => true,
    }
}

/// The command of a call that names one key, and that key.
fn one_key(call: &Call) -> Option<(&'static Command, &Bytes)> {
    let command = command::find(&call.words)?;
    match command.keys.of(&call.words)[..] {
        [place] => Some((command, call.words.get(place)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::core::{
        machine::Decided,
        partition::{Moment, StateMachine as _},
        paxos::LogIndex,
        reply::Reply,
    };

    const WRITES: [&str; 26] = [
        "SET a 1",
        "SET b 2",
        "INCR a",
        "APPEND b x",
        "PEXPIRE a 5",
        "PERSIST a",
        "GETDEL a",
        "HSET b f v",
        "HPEXPIRE b 5 FIELDS 1 f",
        "RPUSH a x y",
        "LMOVE a b LEFT RIGHT",
        "SADD a m n",
        "SMOVE a b m",
        "SUNIONSTORE b a",
        "ZADD b 1 m",
        "SORT a ALPHA STORE b",
        "XADD a * f v",
        "RENAME a b",
        "COPY a b REPLACE",
        "COPY b a DB 1",
        "MOVE a 1",
        "DEL a",
        "UNLINK a b",
        "FLUSHDB",
        "FLUSHALL",
        "SWAPDB 0 1",
    ];
    const READS: [&str; 7] = [
        "GET a",
        "STRLEN a",
        "HGETALL b",
        "LRANGE a 0 -1",
        "SMEMBERS a",
        "ZRANGE b 0 -1",
        "SRANDMEMBER a",
    ];

    fn encoded(database: usize, text: &str) -> Bytes {
        let words = text.split(' ');
        let words = words.map(|word| Bytes::copy_from_slice(word.as_bytes()));
        let words = words.collect();
        Operation::Call(Call { database, words }).encode()
    }

    proptest! {
        #[test]
        fn what_touches_nothing_changes_nothing(
            writes in vec((0..2_usize, select(&WRITES[..])), 1..40),
        ) {
            let mut machine = Machine::default();
            for (at, (database, write)) in (1..).zip(writes) {
                let operation = encoded(database, write);
                let reads = (0..2).flat_map(|database| READS.map(|read| encoded(database, read)));
                let reads: Vec<Bytes> = reads.collect();
                let before: Vec<_> = reads.iter().map(|read| machine.seen(read)).collect();
                let at = Moment { now_ms: at, seed: at, index: LogIndex(at) };
                machine.apply(at, &operation);
                for (read, before) in reads.iter().zip(before) {
                    if !touches(&operation, read) {
                        prop_assert_eq!(&machine.seen(read), &before, "{}", write);
                    }
                }
            }
        }
    }

    #[test]
    fn scripts_touch_what_they_were_decided_to_change() {
        let set = Change::Call(Call {
            database: 0,
            words: ["SET", "a", "1"].map(Bytes::from).to_vec(),
        });
        let ended = Change::Expired(1, "b".into());
        let decided = Operation::Decided(Decided {
            changes: vec![set, ended],
            answer: Answered::Reply(Reply::OK).encode(),
        });
        let touched = [(0, "GET a"), (0, "GET b"), (1, "GET a"), (1, "GET b")]
            .map(|(database, read)| touches(&decided.encode(), &encoded(database, read)));
        assert_eq!(touched, [true, false, false, true]);
        let undecided = Operation::Program {
            steps: Vec::new(),
            watched: Vec::new(),
        };
        assert!(touches(&undecided.encode(), &encoded(0, "GET a")));
    }

    #[test]
    fn what_rests_on_more_than_the_key_is_not_told() {
        let mut machine = Machine::default();
        let mut run = |at, text: &str| {
            let at = Moment {
                now_ms: at,
                seed: at,
                index: LogIndex(at),
            };
            machine.apply(at, &encoded(0, text));
            machine.clone()
        };
        let mut set = run(7, "SET a 1");
        let reply = Answered::Reply(Reply::bulk("1"));
        assert_eq!(set.seen(&encoded(0, "GET a")), Some((7, reply)));
        let absent = Answered::Reply(Reply::Null);
        assert_eq!(set.seen(&encoded(0, "GET b")), Some((0, absent)));
        for read in ["MGET a b", "TTL a", "DBSIZE", "RANDOMKEY", "SET a 1"] {
            assert_eq!(set.seen(&encoded(0, read)), None, "{read}");
        }
        let mut ending = run(8, "PEXPIRE a 100");
        assert_eq!(ending.seen(&encoded(0, "GET a")), None);
        let mut members = run(9, "SADD s m");
        assert_eq!(members.seen(&encoded(0, "SRANDMEMBER s")), None);
        assert!(members.seen(&encoded(0, "SCARD s")).is_some());
    }
}
