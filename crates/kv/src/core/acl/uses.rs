//! What commands do with their keys (Redis: "Command key specifications").

use std::{collections::HashMap, sync::LazyLock};

use bytes::Bytes;

use crate::core::command::{Command, Flags};

/// What a command does with one of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// `RO`, `RW`, `OW` or `RM`: reads it, changes it, writes over it, removes it.
    pub mode: &'static str,
    /// What the value is for: `access`, `insert`, `update`, `delete`.
    pub purposes: &'static [&'static str],
}

impl KeyUse {
    /// What is in the key, or follows from it, is told or copied.
    pub fn reads(&self) -> bool {
        self.purposes.contains(&"access")
    }

    /// The key's value changes.
    pub fn writes(&self) -> bool {
        self.purposes.iter().any(|purpose| *purpose != "access")
    }
}

const fn of(mode: &'static str, purposes: &'static [&'static str]) -> KeyUse {
    KeyUse { mode, purposes }
}

/// Whether it is there, and its size or type, at most.
const LOOKS: KeyUse = of("RO", &[]);
const READS: KeyUse = of("RO", &["access"]);
const REPLACES: KeyUse = of("OW", &["update"]);
const CREATES: KeyUse = of("OW", &["insert"]);
const REMOVES: KeyUse = of("RM", &["delete"]);
const INSERTS: KeyUse = of("RW", &["insert"]);
const UPDATES: KeyUse = of("RW", &["update"]);
const DELETES: KeyUse = of("RW", &["delete"]);
const COUNTS: KeyUse = of("RW", &["access"]);
const TAKES: KeyUse = of("RW", &["access", "delete"]);
const MERGES: KeyUse = of("RW", &["access", "insert"]);
const CHANGES: KeyUse = of("RW", &["access", "update"]);

/// What is done to the first key, what to the others, and by whom.
const USES: &[(KeyUse, KeyUse, &str)] = &[
    (
        LOOKS,
        LOOKS,
        "exists hexists hlen hstrlen llen memory|usage object|encoding object|freq \
         object|idletime object|refcount scard sismember strlen touch type watch xlen zcard",
    ),
    (
        READS,
        READS,
        "bitcount bitfield_ro bitpos dump eval_ro evalsha_ro expiretime fcall_ro geodist geohash \
         geopos georadius_ro georadiusbymember_ro geosearch get getbit getrange hexpiretime hget \
         hgetall hkeys hmget hpexpiretime hpttl hrandfield hscan httl hvals lcs lindex lpos \
         lrange mget pexpiretime pttl sdiff sinter sintercard smembers smismember sort_ro \
         srandmember sscan substr sunion ttl xinfo|consumers xinfo|groups xinfo|stream xpending \
         xrange xread xreadgroup xrevrange zcount zdiff zinter zintercard zlexcount zmscore \
         zrandmember zrange zrangebylex zrangebyscore zrank zrevrange zrevrangebylex \
         zrevrangebyscore zrevrank zscan zscore zunion",
    ),
    (COUNTS, COUNTS, "pfcount pfdebug"),
    // The others are those of the command that is fenced, which is checked, too.
    (CHANGES, LOOKS, "atoll.fenced"),
    (CREATES, CREATES, "msetnx setnx"),
    (
        REPLACES,
        REPLACES,
        "mset psetex restore restore-asking setex",
    ),
    (REMOVES, REMOVES, "del unlink"),
    (
        TAKES,
        TAKES,
        "blmpop blpop brpop bzmpop bzpopmax bzpopmin getdel lmpop lpop migrate rpop spop zmpop \
         zpopmax zpopmin",
    ),
    (
        CHANGES,
        CHANGES,
        "bitfield decr decrby eval evalsha fcall getex getset hincrby hincrbyfloat incr incrby \
         incrbyfloat move set setbit zincrby",
    ),
    (
        DELETES,
        DELETES,
        "hdel lrem ltrim srem xautoclaim xdel xgroup|delconsumer xgroup|destroy xtrim zrem \
         zremrangebylex zremrangebyrank zremrangebyscore",
    ),
    (
        INSERTS,
        INSERTS,
        "append hsetnx linsert lpush lpushx pfadd rpush rpushx sadd xgroup|create \
         xgroup|createconsumer",
    ),
    (
        UPDATES,
        UPDATES,
        "expire expireat geoadd hexpire hexpireat hmset hpersist hpexpire hpexpireat hset lset \
         persist pexpire pexpireat setrange xack xadd xclaim xgroup|setid xsetid zadd",
    ),
    (
        REPLACES,
        READS,
        "bitop geosearchstore sdiffstore sinterstore sunionstore zdiffstore zinterstore \
         zrangestore zunionstore",
    ),
    (READS, REPLACES, "copy georadius georadiusbymember sort"),
    (TAKES, CREATES, "renamenx"),
    (TAKES, REPLACES, "rename"),
    (TAKES, INSERTS, "blmove brpoplpush lmove rpoplpush smove"),
    (MERGES, READS, "pfmerge"),
];

static BY_NAME: LazyLock<HashMap<&'static str, (KeyUse, KeyUse)>> = LazyLock::new(|| {
    let entries = USES.iter().flat_map(|(first, others, names)| {
        let names = names.split(' ');
        names.map(move |name| (name, (*first, *others)))
    });
    entries.collect()
});

/// Whether somebody has said what this command does with keys.
#[cfg(test)]
pub(super) fn is_known(command: &Command) -> bool {
    BY_NAME.contains_key(command.name)
}

/// What this call does with its first key, and with the others. Of two commands the words say
/// it.
pub fn uses_of(command: &Command, words: &[Bytes]) -> (KeyUse, KeyUse) {
    let has = |from: usize, name: &str| {
        let mut options = words.iter().skip(from);
        options.any(|word| word.eq_ignore_ascii_case(name.as_bytes()))
    };
    let usual = match command.name {
        // As in Redis, whatever place the word is at.
        "set" if !has(3, "GET") => REPLACES,
        "bitfield" if !has(2, "SET") && !has(2, "INCRBY") => READS,
        _ if command.flags.has(Flags::READONLY) => READS,
        _ => CHANGES,
    };
    match command.name {
        "set" | "bitfield" => (usual, usual),
        name => BY_NAME.get(name).copied().unwrap_or((usual, usual)),
    }
}
