//! Scripts and functions, as a node takes them from its clients: EVAL finds its text here, FCALL
//! its library, and both are brought to the partition of their keys, where they run
//! ([`core::machine`](crate::core::machine)).
//!
//! Each node knows the scripts that it was given itself; elsewhere EVALSHA answers NOSCRIPT, as
//! between the nodes of a Redis Cluster, and clients give the text again. Functions are the same
//! everywhere: all libraries are one hidden value of partition 0, which changes by compare and
//! swap, and whoever runs a function asks first which version of it holds.

mod cache;
mod condition;
mod functions;
mod listing;
mod running;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use atoll_base::id::PartitionId;
use bytes::Bytes;
use parking_lot::Mutex;

use self::{cache::Cache, functions::Known, running::Runs};
use super::{
    Kv,
    ask::{Dealer, Later, Pending, Receiver, answer, error_reply, execute, given, kind},
};
use crate::{
    api::{Answer, Atomic, AtomicStep, Call, DatabaseKey, Refusal, Step, Transaction, Version},
    core::{
        acl::Caller,
        command::{Command, Flags, Group},
        data::parse_integer,
        machine::{self, Answered, Author, Operation, Script, WhenFull},
        partition::Given,
        reply::Reply,
        route::{self, Plan},
        script::{self, Flag},
    },
};

pub(super) use running::Node;

/// How long a script may run unless the node is told otherwise: what Redis calls a slow one.
const TIME_LIMIT_MS: u64 = 5_000;

/// What a node knows of scripts.
pub(super) struct Scripts {
    cache: Mutex<Cache>,
    /// The libraries as they were read last.
    known: Mutex<Arc<Known>>,
    pub(super) runs: Runs,
    time_limit_ms: AtomicU64,
}

/// A shard that has run a script for so long says nothing to anybody: longer than most scripts
/// take, and shorter than others wait before they ask whether the owner is well.
const SILENT_AFTER: Duration = Duration::from_millis(5);

impl Scripts {
    /// Shards that do nothing but run a script.
    pub(super) fn busy_shards(&self) -> Vec<usize> {
        let silent = self.runs.slow(SILENT_AFTER).into_iter();
        silent.map(|slow| slow.shard).collect()
    }
}

impl Default for Scripts {
    fn default() -> Self {
        Scripts {
            cache: Mutex::default(),
            known: Mutex::default(),
            runs: Runs::default(),
            time_limit_ms: AtomicU64::new(TIME_LIMIT_MS),
        }
    }
}

impl Kv {
    /// How long a script may run on this node from now on, in milliseconds.
    pub fn set_script_time_limit_ms(&self, ms: u64) {
        self.0.scripts.time_limit_ms.store(ms, Ordering::Relaxed);
    }
}

/// Whether a command is about scripts.
pub(super) fn is_scripting(command: &Command) -> bool {
    command.group == Group::Scripting
}

/// Begins a command about scripts.
pub(super) fn begin(
    kv: &Kv,
    dealer: &mut Dealer<'_>,
    database: usize,
    call: Call,
    caller: Option<Caller>,
) -> Pending {
    let name = call.command.name;
    let replied = match name {
        "eval" | "eval_ro" | "evalsha" | "evalsha_ro" => {
            return match resolve(kv, database, &call) {
                Ok(script) => deal(kv, dealer, &call, Script { caller, ..script }),
                Err(text) => Pending::Ready(error_reply(text)),
            };
        }
        "script|load" => load(kv, &call.words[2]),
        "script|exists" => Ok(exists(kv, &call.words[2..])),
        "script|flush" => flush(kv, &call.words[2..]),
        "script|kill" => kv.0.scripts.runs.kill(false),
        "script|debug" => Err("ERR there is no debugger of scripts".to_owned()),
        "script|help" => Ok(listing::help(listing::SCRIPT)),
        "function|kill" => kv.0.scripts.runs.kill(true),
        "function|help" => Ok(listing::help(listing::FUNCTION)),
        _ => {
            let (kv, by) = (kv.clone(), dealer.by());
            return Pending::Alone(Box::pin(async move {
                match name {
                    "fcall" | "fcall_ro" => call_function(&kv, by, database, call, caller).await,
                    _ => functions::run(&kv, name, &call.words).await,
                }
            }));
        }
    };
    Pending::Ready(match replied {
        Ok(reply) => Answer::Reply(reply),
        Err(text) => error_reply(text),
    })
}

fn load(kv: &Kv, code: &Bytes) -> Result<Reply, String> {
    script::check(code)?;
    Ok(Reply::bulk(script::hex(&keep(kv, code))))
}

/// Knows a script from now on; its name.
fn keep(kv: &Kv, code: &Bytes) -> script::Digest {
    let mut cache = kv.0.scripts.cache.lock();
    let digest = cache.add(code);
    kv.hub().set_scripts(cache.len());
    digest
}

fn exists(kv: &Kv, names: &[Bytes]) -> Reply {
    let cache = kv.0.scripts.cache.lock();
    let is_known = |name: &Bytes| {
        let digest = script::parse_hex(name);
        Reply::Integer(i64::from(digest.is_some_and(|it| cache.get(&it).is_some())))
    };
    Reply::Array(names.iter().map(is_known).collect())
}

fn flush(kv: &Kv, options: &[Bytes]) -> Result<Reply, String> {
    let is_mode = |word: &Bytes| ["sync", "async"].iter().any(|mode| is(word, mode));
    match options {
        [] => {}
        [mode] if is_mode(mode) => {}
        _ => return Err("ERR SCRIPT FLUSH only support SYNC|ASYNC option".to_owned()),
    }
    *kv.0.scripts.cache.lock() = Cache::default();
    kv.hub().set_scripts(0);
    Ok(Reply::OK)
}

/// Whether the word is this one, in any case.
fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}

/// Keys and arguments, after their number.
fn keys_of(words: &[Bytes], refusal: &'static str) -> Result<(Vec<Bytes>, Vec<Bytes>), String> {
    let count = parse_integer(&words[2]).ok_or(refusal)?;
    let count =
        usize::try_from(count).map_err(|_| "ERR Number of keys can't be negative".to_owned())?;
    let (keys, arguments) = words[3..]
        .split_at_checked(count)
        .ok_or("ERR Number of keys can't be greater than number of args")?;
    Ok((keys.to_vec(), arguments.to_vec()))
}

/// What scripts that may write are told where nothing may be written.
const WRITES: &str = "ERR Can not execute a script with write flag using *_ro command.";

/// The script that a word names, if this node knows it.
fn known_script(kv: &Kv, word: &[u8]) -> Option<Bytes> {
    let digest = script::parse_hex(word)?;
    kv.0.scripts.cache.lock().get(&digest)
}

/// The script that EVAL or EVALSHA means.
fn resolve(kv: &Kv, database: usize, call: &Call) -> Result<Script, String> {
    let (keys, arguments) = keys_of(&call.words, "ERR value is not an integer or out of range")?;
    let word = &call.words[1];
    let code = if call.command.name.starts_with("evalsha") {
        known_script(kv, word).ok_or("NOSCRIPT No matching script. Please use EVAL.")?
    } else {
        word.clone()
    };
    let shebang = script::script_flags(&code)?;
    let only_reads = call.command.flags.has(Flags::READONLY);
    if only_reads && shebang.is_there && !shebang.only_reads() {
        return Err(WRITES.to_owned());
    }
    if code.len() > script::SCRIPT_BYTES_MAX {
        let max = script::SCRIPT_BYTES_MAX;
        return Err(format!("ERR a script has at most {max} bytes"));
    }
    if call.command.name.starts_with("eval") && !call.command.name.starts_with("evalsha") {
        keep(kv, &code);
    }
    Ok(Script {
        database,
        code,
        function: None,
        keys,
        arguments,
        reads: only_reads || shebang.only_reads(),
        when_full: match (shebang.is_there, shebang.flags.contains(&Flag::AllowOom)) {
            (_, true) => WhenFull::Allowed,
            (true, false) => WhenFull::Refused,
            (false, false) => WhenFull::Limited,
        },
        caller: None,
    })
}

/// The function that FCALL means.
fn resolve_function(known: &Known, database: usize, call: &Call) -> Result<Script, String> {
    let (library, function) = known
        .catalog
        .find(&call.words[1])
        .ok_or("ERR Function not found")?;
    let (keys, arguments) = keys_of(&call.words, "ERR Bad number of keys provided")?;
    let only_reads = call.command.flags.has(Flags::READONLY);
    let says_so = function.flags.contains(&Flag::NoWrites);
    if only_reads && !says_so {
        return Err(WRITES.to_owned());
    }
    Ok(Script {
        database,
        code: library.code.clone(),
        function: Some(function.name.clone()),
        keys,
        arguments,
        reads: says_so,
        when_full: match function.flags.contains(&Flag::AllowOom) {
            true => WhenFull::Allowed,
            false => WhenFull::Refused,
        },
        caller: None,
    })
}

/// Brings a script to the partition of its keys, or their values to it, if there are several.
fn deal(kv: &Kv, dealer: &mut Dealer<'_>, call: &Call, script: Script) -> Pending {
    let partitions = kv.0.partitions;
    let of_key = |key: &[u8]| partitions.of_key(key);
    let partition = match route::plan(call.command, &call.words, partitions.count(), of_key) {
        Ok(Plan::One(partition)) => partition,
        Ok(Plan::Anywhere) => PartitionId(0),
        Ok(_) => {
            let atomic = Atomic {
                by: dealer.by(),
                steps: vec![AtomicStep::Script(script)],
                watched: Vec::new(),
                names: Vec::new(),
                is_transaction: false,
            };
            return Pending::Alone(execute(kv, atomic));
        }
        Err(error) => return Pending::Ready(error_reply(error.to_string())),
    };
    let reads = script.reads;
    let receiver = dealer.deal(partition, kind(reads), Operation::Script(script).encode());
    Pending::Later(published(kv.clone(), receiver))
}

/// Waits for what scripts come to, and publishes what they want published.
fn published(kv: Kv, receiver: Receiver) -> Later {
    Box::pin(async move { publish(&kv, receiver.await) })
}

fn publish(
    kv: &Kv,
    given: Result<Given<Answered>, tokio::sync::oneshot::error::RecvError>,
) -> Answer {
    match given {
        Ok(Given::Reply(Answered::Ran {
            answered,
            publications,
            facts,
        })) => {
            for publication in publications {
                kv.publish(publication);
            }
            Answer::Ran {
                answer: Box::new(answer(Ok(Given::Reply(*answered)))),
                has_read: facts.has_read,
                is_counted: facts.is_counted,
            }
        }
        other => answer(other),
    }
}

async fn call_function(
    kv: &Kv,
    by: Option<u64>,
    database: usize,
    call: Call,
    caller: Option<Caller>,
) -> Answer {
    let known = match functions::known(kv).await {
        Ok(known) => known,
        Err(refused) => return refused,
    };
    let script = match resolve_function(&known, database, &call) {
        Ok(script) => Script { caller, ..script },
        Err(text) => return error_reply(text),
    };
    let mut dealer = Dealer::new(kv);
    let node = kv.0.node;
    dealer.author = by.map(|client| Author { node, client });
    let pending = deal(kv, &mut dealer, &call, script);
    dealer.hand_over();
    match pending {
        Pending::Later(later) | Pending::Alone(later) => later.await,
        Pending::Ready(answer) => answer,
        // Nothing else comes of a script.
        Pending::Publish(_) | Pending::One(_) => Answer::Refused(Refusal::Unknown),
    }
}

/// Whether a transaction holds scripts.
pub(super) fn holds_scripts(transaction: &Transaction) -> bool {
    transaction.steps.iter().any(|step| match step {
        Step::Call { call, .. } => is_scripting(call.command),
        Step::Publish(_) => false,
    })
}

/// What the steps of a transaction are, once it is known which scripts they mean.
async fn resolve_all(
    kv: &Kv,
    steps: Vec<Step>,
    caller: Option<Caller>,
) -> Result<Vec<AtomicStep>, Answer> {
    let calls_functions = steps.iter().any(|step| match step {
        Step::Call { call, .. } => call.command.name.starts_with("fcall"),
        Step::Publish(_) => false,
    });
    let known = match calls_functions {
        true => functions::known(kv).await?,
        false => Arc::default(),
    };
    let resolved = steps.into_iter().map(|step| match step {
        Step::Publish(publication) => AtomicStep::Publish(publication),
        Step::Call { database, call } if is_scripting(call.command) => {
            let script = match call.command.name.starts_with("fcall") {
                true => resolve_function(&known, database, &call),
                false => resolve(kv, database, &call),
            };
            match script {
                Ok(script) => AtomicStep::Script(Script {
                    caller: caller.clone(),
                    ..script
                }),
                Err(text) => AtomicStep::Told(Reply::Error(Bytes::from(text))),
            }
        }
        Step::Call { database, call } => AtomicStep::Call { database, call },
    });
    Ok(resolved.collect())
}

/// Runs steps among which are scripts, in one partition.
async fn run_program(
    kv: &Kv,
    resolved: Vec<AtomicStep>,
    watched: Vec<(DatabaseKey, Version)>,
    partition: PartitionId,
) -> Answer {
    let (mut steps, mut others, mut reads) = (Vec::new(), Vec::new(), true);
    for (place, step) in resolved.into_iter().enumerate() {
        match step {
            AtomicStep::Publish(publication) => others.push((place, Err(publication))),
            AtomicStep::Told(reply) => others.push((place, Ok(reply))),
            AtomicStep::Script(script) => {
                reads &= script.reads;
                steps.push(machine::Step::Script(script));
            }
            AtomicStep::Call { database, call } => {
                reads &= !call.command.flags.has(Flags::WRITE);
                let words = call.words;
                steps.push(machine::Step::Call(machine::Call { database, words }));
            }
        }
    }
    let watched = watched
        .into_iter()
        .map(|(key, version)| (key.database, key.key, version.0))
        .collect();
    let operation = Operation::Program { steps, watched };
    let executed = publish(
        kv,
        given(kv, partition, kind(reads), operation.encode()).await,
    );
    executed.map(|answer| match answer {
        Answer::Executed(mut replies) => {
            for (place, other) in others {
                let reply =
                    other.unwrap_or_else(|publication| Reply::count(kv.publish(publication)));
                replies.insert(place.min(replies.len()), reply);
            }
            Answer::Executed(replies)
        }
        other => other,
    })
}

/// Begins a transaction that holds scripts.
pub(super) fn begin_transaction(
    kv: &Kv,
    by: Option<u64>,
    transaction: Transaction,
    plan: &Plan,
    caller: Option<Caller>,
) -> Pending {
    let partition = match plan {
        Plan::One(partition) => Some(*partition),
        Plan::Atomic(_) => None,
        _ => Some(PartitionId(0)),
    };
    let kv = kv.clone();
    let Transaction {
        steps,
        watched,
        names,
    } = transaction;
    let partition = partition.filter(|_| names.is_empty());
    Pending::Alone(Box::pin(async move {
        let steps = match resolve_all(&kv, steps, caller).await {
            Ok(steps) => steps,
            Err(refused) => return refused,
        };
        match partition {
            Some(partition) => run_program(&kv, steps, watched, partition).await,
            None => {
                let atomic = Atomic {
                    by,
                    steps,
                    watched,
                    names,
                    is_transaction: true,
                };
                execute(&kv, atomic).await
            }
        }
    }))
}
