//! Commands against one replica.

mod two;

use bytes::Bytes;

use super::*;
use crate::core::{command::CommandError, reply::Reply};

/// When stories begin: an arbitrary day.
const BEGIN_MS: u64 = 1_700_000_000_000;

struct Story {
    replica: Replica,
    now_ms: u64,
    deltas: Vec<Delta>,
}

impl Story {
    fn new(id: u64) -> Story {
        Story {
            replica: Replica::new(Author::first(id), Stamp::ZERO),
            now_ms: BEGIN_MS,
            deltas: Vec::new(),
        }
    }

    fn run(&mut self, call: &str) -> Result<Reply, CommandError> {
        let words: Vec<Bytes> = call
            .split(' ')
            .map(|word| Bytes::copy_from_slice(word.as_bytes()))
            .collect();
        let done = self.replica.execute(&words, self.now_ms)?;
        self.deltas.push(done.delta);
        Ok(done.reply)
    }

    /// As redis-cli would show it, on one line.
    fn ask(&mut self, call: &str) -> String {
        match self.run(call) {
            Ok(reply) => show(&reply),
            Err(error) => error.to_string(),
        }
    }

    fn hear(&mut self, other: &Story) {
        for delta in other.deltas.iter().rev() {
            self.replica
                .merge(delta, false, self.now_ms)
                .expect("in time");
        }
    }
}

fn show(reply: &Reply) -> String {
    match reply {
        Reply::Status(text) => (*text).to_owned(),
        Reply::Integer(number) => number.to_string(),
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Reply::Null => "nil".to_owned(),
        Reply::Array(all) | Reply::Set(all) => {
            let all: Vec<String> = all.iter().map(show).collect();
            format!("[{}]", all.join(" "))
        }
        Reply::Map(all) => {
            let all: Vec<String> = all
                .iter()
                .map(|(key, value)| format!("{}:{}", show(key), show(value)))
                .collect();
            format!("{{{}}}", all.join(" "))
        }
        other => panic!("{other:?}"),
    }
}

/// `call => answer` on each line; `@ ms` sets the clock.
fn tell(story: &mut Story, text: &str) {
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(ms) = line.strip_prefix("@ ") {
            story.now_ms = BEGIN_MS + ms.parse::<u64>().expect("milliseconds");
            continue;
        }
        let (call, answer) = line.split_once(" => ").expect("an answer");
        assert_eq!(story.ask(call), answer, "{line}");
    }
}

#[test]
fn strings_and_counters() {
    tell(
        &mut Story::new(1),
        "
        GET a => nil
        SET a x => OK
        GET a => x
        STRLEN a => 1
        INCR a => ERR value is not an integer or out of range
        SET a 5 => OK
        INCR a => 6
        INCRBY a 10 => 16
        DECR a => 15
        DECRBY a 20 => -5
        GET a => -5
        STRLEN a => 2
        TYPE a => string
        MGET a b a => [-5 nil -5]
        DECRBY a -9223372036854775808 => ERR decrement would overflow
        SET a 9223372036854775807 => OK
        INCR a => ERR increment or decrement would overflow
        DECR a => 9223372036854775806
        INCRBY a 1.5 => ERR value is not an integer or out of range
        INCR counter => 1
        DEL counter counter => 1
        INCR counter => 1
        SET a => ERR wrong number of arguments for 'set' command
        SET a 1 EX => ERR syntax error
        SET a 1 EX 0 => ERR invalid expire time in 'set' command
        SET a 1 EX 1 KEEPTTL => ERR syntax error
        ",
    );
}

#[test]
fn ends() {
    tell(
        &mut Story::new(1),
        "
        EXPIRE a 1 => 0
        TTL a => -2
        SET a x EX 10 => OK
        TTL a => 10
        PEXPIRETIME a => 1700000010000
        EXPIRETIME a => 1700000010
        SET a y KEEPTTL => OK
        TTL a => 10
        SET a z => OK
        TTL a => -1
        PEXPIRE a 50 => 1
        PERSIST a => 1
        PERSIST a => 0
        PSETEX a 50 w => OK
        @ 49
        PTTL a => 1
        EXISTS a a b => 2
        @ 50
        EXISTS a => 0
        PTTL a => -2
        GET a => nil
        TYPE a => none
        PERSIST a => 0
        EXPIRE a 5 => 0
        DEL a => 0
        INCR a => 1
        TTL a => -1
        EXPIREAT a 1 => 1
        EXISTS a => 0
        EXPIRE b 1 NX => ERR EXPIRE with an option is not available in an eventual keyspace: use it without one
        EXPIRE b x => ERR value is not an integer or out of range
        EXPIRE b 9223372036854775807 => ERR invalid expire time in 'expire' command
        SADD s a b => 2
        PEXPIRE s 10 => 1
        SREM s a b => 2
        SADD s c => 1
        TTL s => -1
        SET a 1 PXAT 1 => OK
        GET a => nil
        ",
    );
}

#[test]
fn sets_and_hashes() {
    tell(
        &mut Story::new(1),
        "
        SADD s b a b => 2
        SADD s a c => 1
        SMEMBERS s => [a b c]
        SCARD s => 3
        SISMEMBER s a => 1
        SMISMEMBER s a x => [1 0]
        SREM s a a x => 1
        SREM s b c => 2
        EXISTS s => 0
        SMEMBERS s => []
        SCARD s => 0
        HSET h a 1 b 2 a 3 => 2
        HSET h b 4 c 5 => 1
        HGET h a => 3
        HMGET h a x b => [3 nil 4]
        HGETALL h => {a:3 b:4 c:5}
        HKEYS h => [a b c]
        HVALS h => [3 4 5]
        HLEN h => 3
        HEXISTS h x => 0
        HSTRLEN h a => 1
        HMSET h d 1 => OK
        HSET h d => ERR wrong number of arguments for 'hset' command
        HSET h d 1 e => ERR wrong number of arguments for 'hset' command
        HDEL h a x => 1
        TYPE h => hash
        GET h => WRONGTYPE Operation against a key holding the wrong kind of value
        SADD h x => WRONGTYPE Operation against a key holding the wrong kind of value
        INCR h => WRONGTYPE Operation against a key holding the wrong kind of value
        MGET h => [nil]
        SET h x => OK
        HGETALL h => WRONGTYPE Operation against a key holding the wrong kind of value
        ",
    );
}

#[test]
fn what_there_is_not_says_what_to_use() {
    let mut story = Story::new(1);
    tell(
        &mut story,
        "
        SET a x NX => ERR SET with NX is not available in an eventual keyspace: what depends on what is there is decided in a linearizable keyspace; here, write without a condition
        SET a x GET => ERR SET with GET is not available in an eventual keyspace: what depends on what is there is decided in a linearizable keyspace; here, write without a condition
        LPUSH a x => ERR LPUSH is not available in an eventual keyspace: their order is kept in a linearizable keyspace; here, use a set or a hash
        ZADD a 1 x => ERR ZADD is not available in an eventual keyspace: use a hash here, or a linearizable keyspace
        MULTI => ERR MULTI is not available in an eventual keyspace: use a linearizable keyspace for transactions and scripts
        HINCRBY a b 1 => ERR HINCRBY is not available in an eventual keyspace: use INCRBY on a key of its own, which counts on every side
        INCRBYFLOAT a 0.1 => ERR INCRBYFLOAT is not available in an eventual keyspace: count in a smaller unit with INCRBY
        OBJECT ENCODING a => ERR OBJECT ENCODING is not available in an eventual keyspace: use a linearizable keyspace
        NONSENSE => ERR this command is not available in an eventual keyspace: use a linearizable keyspace
        ",
    );
    assert!(story.replica.is_empty());
    let long = "x".repeat(call::COMMAND_BYTES_MAX);
    let refused = story.ask(&format!("SET a {long}"));
    assert!(
        refused.starts_with("ERR a command in an eventual keyspace has at most 2097152 bytes"),
        "{refused}"
    );
    // Every other command is refused, none by accident.
    for command in crate::core::command::all() {
        let words = command.arity.unsigned_abs().max(2) as usize;
        let mut call: Vec<Bytes> = command
            .name
            .split('|')
            .map(|word| Bytes::from(word.to_owned()))
            .collect();
        call.resize(words.max(call.len()), Bytes::from_static(b"1"));
        if !command.takes(call.len()) || call::COMMANDS.contains(&command.name) {
            continue;
        }
        let refused = Story::new(1)
            .replica
            .execute(&call, BEGIN_MS)
            .expect_err(command.name)
            .to_string();
        assert!(
            refused.contains("is not available in an eventual keyspace: "),
            "{refused}"
        );
    }
}

#[test]
fn every_command_that_is_named_is_there() {
    for name in call::COMMANDS {
        let words = vec![Bytes::from_static(name.as_bytes())];
        let command = crate::core::command::find(&words).expect(name);
        let words =
            vec![Bytes::from_static(name.as_bytes()); command.arity.unsigned_abs() as usize];
        if let Err(error) = Story::new(1).replica.execute(&words, BEGIN_MS) {
            assert!(!error.to_string().contains("not available"), "{error}");
        }
    }
}

#[test]
fn snapshots_come_back() {
    let mut story = Story::new(7);
    tell(
        &mut story,
        "SET a x PX 100 => OK\n SADD s a b => 2\n SREM s a => 1\n HSET h f v => 1\n INCRBY n -5 => -5\n DEL a => 1\n SET b y PX 5 => OK",
    );
    let bytes = story.replica.encode();
    let back = Replica::decode(&bytes).expect("it was written");
    assert_eq!(back.encode(), bytes);
    assert_eq!(back.tree(), story.replica.tree());
    assert_eq!(
        (&back.due, &back.ends),
        (&story.replica.due, &story.replica.ends)
    );
    for at in 0..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 1;
        assert!(Replica::decode(&Bytes::from(damaged)).is_err());
        assert!(Replica::decode(&bytes.slice(..at)).is_err());
    }
}

/// Keys that end together are written down in as many steps as it takes.
#[test]
fn what_ends_together_fits_a_record() {
    let mut replica = Story::new(1).replica;
    let begin_ms = 1_700_000_000_000;
    for number in 0..9 {
        let name = format!("{number}{}", "x".repeat(64 * 1024 - 1));
        let words = ["SET", &name, "v", "PXAT", "1700000000005"];
        let words = words.map(|word| Bytes::from(word.to_owned()));
        replica.execute(&words, begin_ms).expect("it fits");
    }
    let long = ["SET".to_owned(), "x".repeat(64 * 1024 + 1), "v".to_owned()];
    assert!(replica.execute(&long.map(Bytes::from), begin_ms).is_err());
    let mut steps = Vec::new();
    loop {
        let delta = replica.end(256, begin_ms + 10);
        if delta.is_empty() {
            break;
        }
        steps.push(delta.len());
    }
    assert_eq!(steps, [4, 4, 1]);
}
