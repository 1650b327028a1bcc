//! What commands do to their keys, as COMMAND GETKEYSANDFLAGS tells (Redis: "Key
//! specifications").

use bytes::Bytes;

use crate::core::{
    command::{Command, Flags},
    reply::Reply,
};

const READ: &[&str] = &["RO", "access"];
const CHANGE: &[&str] = &["RW", "update"];
const TAKE: &[&str] = &["RW", "access", "delete"];
const ADD: &[&str] = &["RW", "insert"];
const OVERWRITE: &[&str] = &["OW", "update"];

/// Of the nth key of a call; of any call, if there are no words.
pub(super) fn of(command: &Command, words: &[Bytes], nth: usize) -> Reply {
    let flags = flags(command, words, nth);
    Reply::Set(flags.iter().copied().map(Reply::Status).collect())
}

fn flags(command: &Command, words: &[Bytes], nth: usize) -> &'static [&'static str] {
    let is_first = nth == 0;
    match command.name {
        // What was there is told, too.
        "set"
            if words
                .iter()
                .skip(3)
                .any(|it| it.eq_ignore_ascii_case(b"GET")) =>
        {
            &["RW", "access", "update"]
        }
        "getset" | "incrby" | "incr" | "decr" | "decrby" | "incrbyfloat" | "hincrby"
        | "hincrbyfloat" | "zincrby" | "getex" => &["RW", "access", "update"],
        "set" | "mset" | "setex" | "psetex" | "restore" => OVERWRITE,
        "setnx" | "msetnx" => &["OW", "insert"],
        "del" | "unlink" => &["RM", "delete"],
        "append" | "lpush" | "lpushx" | "rpush" | "rpushx" | "linsert" | "sadd" | "pfadd" => ADD,
        "getdel" | "lpop" | "rpop" | "blpop" | "brpop" | "spop" | "lmpop" | "blmpop"
        | "zpopmin" | "zpopmax" | "bzpopmin" | "bzpopmax" | "zmpop" | "bzmpop" => TAKE,
        "lmove" | "blmove" | "rpoplpush" | "brpoplpush" | "smove" if is_first => TAKE,
        "lmove" | "blmove" | "rpoplpush" | "brpoplpush" | "smove" => ADD,
        "lrem" | "srem" | "zrem" | "hdel" | "ltrim" | "xdel" | "xtrim" => &["RW", "delete"],
        "rename" | "renamenx" if is_first => TAKE,
        "rename" => OVERWRITE,
        "renamenx" => &["OW", "insert"],
        // The source first.
        "sort" | "copy" | "georadius" | "georadiusbymember" if is_first => READ,
        "sort" | "copy" | "georadius" | "georadiusbymember" => OVERWRITE,
        // The destination first.
        "pfmerge" if is_first => &["RW", "access", "insert"],
        "bitop" if is_first => OVERWRITE,
        name if name.ends_with("store") && is_first => OVERWRITE,
        "pfmerge" | "bitop" => READ,
        name if name.ends_with("store") => READ,
        _ if command.flags.has(Flags::READONLY) => READ,
        _ => CHANGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::command::find;

    #[test]
    fn keys_are_told_apart_by_what_is_done_to_them() {
        for (call, nth, told) in [
            ("set k v", 0, "OW update"),
            ("set k v get", 0, "RW access update"),
            ("mset k v l w", 1, "OW update"),
            ("get k", 0, "RO access"),
            ("lmove k l left right", 0, "RW access delete"),
            ("lmove k l left right", 1, "RW insert"),
            ("sort k store l", 0, "RO access"),
            ("sort k store l", 1, "OW update"),
            ("zunionstore d 1 k", 0, "OW update"),
            ("zunionstore d 1 k", 1, "RO access"),
            ("hset k f v", 0, "RW update"),
        ] {
            let words: Vec<Bytes> = call.split(' ').map(Bytes::from).collect();
            let command = find(&words).unwrap();
            assert_eq!(flags(command, &words, nth).join(" "), told, "{call}");
        }
    }
}
