//! The words of XREAD and XREADGROUP.

use bytes::Bytes;

use crate::core::{
    command::{CommandError, Context, args, blocking},
    data::Milliseconds,
    reply::Reply,
};

/// What the words before `STREAMS` say, and where the keys are.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) timeout_ms: Option<Milliseconds>,
    pub(super) count: usize,
    /// Group and consumer.
    pub(super) group: Option<(&'a Bytes, &'a Bytes)>,
    pub(super) acknowledged: bool,
    /// The place of the first key.
    pub(super) first_key: usize,
    pub(super) keys: &'a [Bytes],
    pub(super) ids: &'a [Bytes],
}

impl<'a> Call<'a> {
    pub(super) fn of(name: &str, words: &'a [Bytes]) -> Result<Self, CommandError> {
        let grouped = name == "xreadgroup";
        let (mut timeout_ms, mut count, mut group, mut acknowledged) = (None, 0, None, false);
        let mut at = 1;
        loop {
            let option = words.get(at).ok_or(CommandError::Syntax)?;
            let more = words.len() - at - 1;
            if args::is(option, "BLOCK") && more >= 1 {
                timeout_ms = Some(blocking::timeout_ms(&words[at + 1])?);
                at += 2;
            } else if args::is(option, "COUNT") && more >= 1 {
                count = usize::try_from(args::integer(&words[at + 1])?).unwrap_or(0);
                at += 2;
            } else if args::is(option, "STREAMS") && more >= 1 {
                break;
            } else if args::is(option, "GROUP") && more >= 2 {
                if !grouped {
                    return Err(only_in_groups("GROUP"));
                }
                group = Some((&words[at + 1], &words[at + 2]));
                at += 3;
            } else if args::is(option, "NOACK") {
                if !grouped {
                    return Err(only_in_groups("NOACK"));
                }
                acknowledged = true;
                at += 1;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        let streams = &words[at + 1..];
        if !streams.len().is_multiple_of(2) {
            let sign = if grouped { '>' } else { '$' };
            return Err(CommandError::Text(format!(
                "ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{sign}' \
                 must be specified."
            )));
        }
        if grouped && group.is_none() {
            return Err(CommandError::Other(
                "ERR Missing GROUP option for XREADGROUP",
            ));
        }
        let (keys, ids) = streams.split_at(streams.len() / 2);
        Ok(Call {
            timeout_ms,
            count: if count == 0 { usize::MAX } else { count },
            group,
            acknowledged,
            first_key: at + 1,
            keys,
            ids,
        })
    }

    /// What was found; where nothing was, the command waits if it may.
    pub(super) fn answer(&self, context: &mut Context<'_>, found: Vec<(Reply, Reply)>) -> Reply {
        if !found.is_empty() {
            Reply::PairsOrMap(found)
        } else if self.timeout_ms.is_some() {
            context.block(Reply::NullArray)
        } else {
            Reply::NullArray
        }
    }
}

fn only_in_groups(option: &str) -> CommandError {
    CommandError::Text(format!(
        "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
    ))
}

/// How long XREAD or XREADGROUP waits: 0 for ever, none not at all.
///
/// # Errors
/// What the command itself answers to these words.
pub(in crate::core::command) fn timeout_of(
    name: &str,
    words: &[Bytes],
) -> Result<Option<Milliseconds>, CommandError> {
    Call::of(name, words).map(|call| call.timeout_ms)
}

/// The places of XREAD's keys.
pub(super) fn xread_keys(words: &[Bytes]) -> Vec<usize> {
    keys(words, 1)
}

/// The same; before place 4 a group or consumer may have the name `STREAMS`.
pub(super) fn xreadgroup_keys(words: &[Bytes]) -> Vec<usize> {
    keys(words, 4)
}

fn keys(words: &[Bytes], from: usize) -> Vec<usize> {
    let mut places = from..words.len();
    match places.find(|place| args::is(&words[*place], "STREAMS")) {
        Some(_) => places.clone().take(places.len() / 2).collect(),
        None => Vec::new(),
    }
}
