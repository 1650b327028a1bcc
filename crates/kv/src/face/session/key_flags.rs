//! What commands do to their keys, as COMMAND GETKEYSANDFLAGS tells (Redis: "Key
//! specifications").

use bytes::Bytes;

use crate::core::{acl, command::Command, reply::Reply};

/// Of the nth key of a call; of any call, if there are no words.
pub(super) fn of(command: &Command, words: &[Bytes], nth: usize) -> Reply {
    let flags = flags(command, words, nth);
    Reply::Set(flags.map(Reply::Status).collect())
}

fn flags(command: &Command, words: &[Bytes], nth: usize) -> impl Iterator<Item = &'static str> {
    let (first, others) = acl::uses_of(command, words);
    let key_use = if nth == 0 { first } else { others };
    std::iter::once(key_use.mode).chain(key_use.purposes.iter().copied())
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
            assert_eq!(
                flags(command, &words, nth).collect::<Vec<_>>().join(" "),
                told,
                "{call}"
            );
        }
    }
}
