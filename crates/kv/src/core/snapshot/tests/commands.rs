//! Commands by chance.

use bytes::Bytes;
use proptest::prelude::*;

/// Commands of every type, on few keys. `K` is any key, `S`, `L`, `H`, `Z`, `T`, `X` ones that
/// mostly hold strings, lists, hashes, sorted sets, sets and streams; `N` is a small number, `B`
/// a large one, `V` a short word, `W` a long one, `E` a moment soon.
pub(super) const COMMANDS: [&str; 72] = [
    "SET S N",
    "SET S V",
    "SET S W PX N",
    "APPEND S V",
    "INCRBY S N",
    "SETRANGE S N V",
    "SETBIT S N 1",
    "PFADD S V W N",
    "EXPIRE K N",
    "PEXPIREAT K E",
    "PERSIST K",
    "DEL K",
    "COPY K K REPLACE",
    "RENAME K K",
    "SORT L BY nosort STORE L",
    "RPUSH L V",
    "LPUSH L W",
    "RPUSH L W W W W",
    "LINSERT L BEFORE V N",
    "LREM L 1 V",
    "LPOP L",
    "RPOP L N",
    "LSET L 0 W",
    "LTRIM L 0 N",
    "LMOVE L L LEFT RIGHT",
    "SADD T N",
    "SADD T B",
    "SADD T V",
    "SADD T W",
    "SREM T N",
    "SPOP T",
    "SUNIONSTORE T T T",
    "SRANDMEMBER T N",
    "SMOVE T T V",
    "ZADD Z N V",
    "ZADD Z B W",
    "ZADD Z 0.5 V",
    "ZINCRBY Z N V",
    "ZREM Z V",
    "ZPOPMIN Z",
    "ZUNIONSTORE Z 2 Z Z",
    "ZRANGESTORE Z Z 0 N",
    "GEOADD Z 13.4 52.5 V",
    "HSET H V N",
    "HSET H V W",
    "HSET H N V N V N V",
    "HDEL H V",
    "HINCRBY H N N",
    "HPEXPIRE H N FIELDS 1 V",
    "HPEXPIREAT H E FIELDS 2 V N",
    "HPERSIST H FIELDS 1 V",
    "HGETALL H",
    "HRANDFIELD H N",
    "XADD X * V N",
    "XADD X MAXLEN 5 * V W",
    "XDEL X 1-1",
    "XTRIM X MAXLEN N",
    "XGROUP CREATE X V 0 MKSTREAM",
    "XGROUP CREATECONSUMER X V N",
    "XREADGROUP GROUP V N COUNT 2 STREAMS X >",
    "XACK X V 1-1",
    "XAUTOCLAIM X V V 0 0",
    "XSETID X 999999999999999-1",
    "XGROUP DESTROY X V",
    "SCAN 0 COUNT 3",
    "RANDOMKEY",
    "OBJECT ENCODING K",
    "TYPE K",
    "HSCAN H 0",
    "SSCAN T 0",
    "ZSCAN Z 0",
    "PING",
];

/// Fills tables: one command that adds many.
pub(super) const FILLERS: [(&str, &str); 4] = [
    ("SADD", "T1"),
    ("HSET", "H1"),
    ("ZADD", "Z1"),
    ("RPUSH", "L1"),
];

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) command: usize,
    pub(super) database: usize,
    pub(super) chance: u64,
    pub(super) passes_ms: u64,
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let commands = COMMANDS.len() + FILLERS.len();
    let database = prop_oneof![9 => Just(0_usize), 1 => Just(15)];
    (0..commands, database, any::<u64>(), 0_u64..4).prop_map(
        |(command, database, chance, passes_ms)| Step {
            command,
            database,
            chance,
            passes_ms,
        },
    )
}

impl Step {
    pub(super) fn words(&self, now_ms: u64) -> Vec<Bytes> {
        let mut chance = self.chance;
        let mut draw = |bound: u64| {
            chance = chance.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (chance >> 33) % bound
        };
        let Some(line) = COMMANDS.get(self.command) else {
            let (name, key) = FILLERS[self.command - COMMANDS.len()];
            let mut words = vec![name.to_owned(), key.to_owned()];
            let pairs = name == "HSET" || name == "ZADD";
            for number in 0..140 {
                words.extend(pairs.then(|| number.to_string()));
                words.push(format!("m{number}"));
            }
            return words.into_iter().map(Bytes::from).collect();
        };
        let word = |word: &str| match word {
            "K" => format!(
                "{}{}",
                ["S", "L", "H", "Z", "T", "X"][draw(6) as usize],
                draw(3)
            ),
            // Now and then one of another type.
            "S" | "L" | "H" | "Z" | "T" | "X" if draw(12) == 0 => format!("S{}", draw(3)),
            "S" | "L" | "H" | "Z" | "T" | "X" => format!("{word}{}", draw(3)),
            "N" => draw(9).to_string(),
            "B" => (i64::MAX - draw(1 << 40).cast_signed()).to_string(),
            "V" => format!("v{}", draw(5)),
            "W" => ["w", "y"][draw(2) as usize].repeat(60 + 700 * draw(9) as usize),
            "E" => (now_ms + draw(9)).to_string(),
            other => other.to_owned(),
        };
        line.split(' ').map(word).map(Bytes::from).collect()
    }
}
