//! Scripts, at the owner: what one comes to, decided before anything is logged.
//!
//! The owner runs a script on its own databases while what undoes changes is noted, and takes
//! everything back when the script is done. What is logged is the commands by which it changed
//! something, and its reply ([`Decided`]). So no replica but the owner runs scripts, and one
//! that takes differently long, or draws other numbers, makes no difference.
//!
//! Each of the commands that change something runs with the seed that it will have when it is
//! done again. Commands that read run as reads do; keys that they find to have ended are removed,
//! and that is logged in its place.
//!
//! A script that fails keeps what it did before, as in Redis. Of one that was ended (time limit,
//! SCRIPT KILL) nothing is kept, and so it can always be ended; in Redis one that has written
//! can't.

mod calls;

use std::{collections::BTreeSet, fmt, sync::Arc};

use atoll_base::id::PartitionId;
use atoll_ring::partition::Partitions;
use bytes::Bytes;

use super::{
    Answered, Call, Change, Decided, Facts, Machine, OPERATION_BYTES_MAX, Operation, Script, Step,
    Transactions, WhenFull, of_step, transactions::databases_of,
};
use crate::{
    api::Publication,
    core::{
        acl::Caller,
        command::{self, Command, Context, Effects, Flags, Moment},
        data::{Key, Keyspace, Packing},
        reply::Reply,
        route,
        script::{self, Job, Ran, Watch},
    },
};

/// Room for what an operation holds beside its calls and its answer, in bytes.
const FRAME_BYTES: usize = 4_096;

/// What a script that has flags, but not the one for it, is told where no memory is left.
pub(super) const OUT_OF_MEMORY: &str = "OOM allow-oom flag is not set on the script, can not run \
                                        it when used memory > 'maxmemory'";

/// Whether a script doesn't run where no memory is left.
pub(super) fn is_refused_when_full(script: &Script) -> bool {
    !script.reads && script.when_full == WhenFull::Refused
}

/// Where a machine is, for its scripts.
#[derive(Clone, Debug)]
pub struct Home {
    /// What of the data it has.
    pub extent: Extent,
    /// The node around it.
    pub surroundings: Arc<dyn Surroundings>,
}

/// What of the data a machine has.
#[derive(Clone, Debug)]
pub enum Extent {
    /// A partition.
    Partition {
        /// Which.
        id: PartitionId,
        /// How many there are.
        partitions: Partitions,
    },
    /// These keys of databases, brought together from several partitions.
    Keys(BTreeSet<(usize, Bytes)>),
}

/// What a node does for scripts.
pub trait Surroundings: fmt::Debug + Send + Sync {
    /// A script begins. It has ended when the watch is dropped.
    fn begins(&self, running: Running) -> Arc<dyn Watch>;

    /// A script is about to call this.
    fn calls(&self, database: usize, words: &[Bytes]);

    /// What a script called came to this; none, if there is no such command.
    fn called(&self, command: Option<&'static Command>, end: Called<'_>);

    /// How many on this node would hear a publication now.
    fn hearing(&self, publication: &Publication) -> usize;
}

/// What became of a command that a script called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called<'a> {
    /// It was run.
    Done,
    /// It was run, and answered this error.
    Failed(&'a [u8]),
    /// It was not run, because of this error.
    Rejected(&'a [u8]),
}

/// A script that runs, as SCRIPT KILL and FUNCTION STATS know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The function's name; none, if it is a script.
    pub function: Option<Bytes>,
    /// The call, as a client would write it.
    pub command: Vec<Bytes>,
}

impl Script {
    fn running(&self) -> Running {
        let (name, what) = match &self.function {
            Some(function) => ("fcall", function),
            None => ("eval", &self.code),
        };
        let count = Bytes::from(self.keys.len().to_string());
        let head = [Bytes::from(name), what.clone(), count];
        let words = head.into_iter().chain(self.keys.iter().cloned());
        Running {
            function: self.function.clone(),
            command: words.chain(self.arguments.iter().cloned()).collect(),
        }
    }
}

/// Decides what an operation with scripts comes to. The machine is afterwards what it was.
pub(super) fn decide(machine: &mut Machine, at: Moment, operation: &Bytes) -> Bytes {
    let (terms, steps, watched) = match Operation::decode_with_terms(operation.clone()) {
        Ok((terms, Operation::Script(script))) => (terms, vec![Step::Script(script)], None),
        Ok((terms, Operation::Program { steps, watched })) => (terms, steps, Some(watched)),
        // Whoever applies it says what is wrong with it.
        Ok(_) | Err(_) => return operation.clone(),
    };
    let stands = watched
        .as_ref()
        .is_none_or(|watched| machine.stands(at, watched));
    machine.keyspace.begin_undo();
    let mut run = Run::new(machine.home.as_ref(), &mut machine.keyspace, at);
    run.transactions = Some(&machine.transactions);
    run.is_full = machine.is_full;
    run.packing = terms.packing;
    let answered = match stands {
        true => run.steps(steps, watched.is_some()),
        false => Ok(Answered::Discarded),
    };
    let answered = answered.map(|answered| run.ran(answered));
    let Run { changes, bytes, .. } = run;
    machine.keyspace.undo();
    let answered = match answered {
        Ok(answered) => answered,
        Err(error) => return nothing(error),
    };
    let answer = answered.encode();
    if bytes + answer.len() > OPERATION_BYTES_MAX - FRAME_BYTES {
        return nothing(too_large(bytes + answer.len()));
    }
    let decided = Operation::Decided(Decided { changes, answer });
    Operation::with_terms(decided.encode(), &terms)
}

/// What is logged where nothing of a script is kept.
fn nothing(error: Reply) -> Bytes {
    Operation::Decided(Decided {
        changes: Vec::new(),
        answer: Answered::Reply(error).encode(),
    })
    .encode()
}

fn too_large(bytes: usize) -> Reply {
    Reply::Error(Bytes::from(format!(
        "ERR what the script changes and answers takes {bytes} bytes, more than the limit of \
         {OPERATION_BYTES_MAX}; nothing of it is kept"
    )))
}

impl Machine {
    /// Does what was decided.
    pub(super) fn redo(&mut self, at: Moment, decided: Decided, effects: &mut Effects) -> Answered {
        for (place, change) in decided.changes.iter().enumerate() {
            match change {
                // What it answers was told.
                Change::Call(call) => drop(self.call(of_step(at, place), call, effects)),
                Change::Expired(database, key) => {
                    let mut context = Context::new(&mut self.keyspace, *database, at, effects);
                    context.expire_if_ended(key);
                }
            }
        }
        match Answered::decode(decided.answer) {
            Ok(answered) => answered,
            Err(error) => super::refused(&format!("ERR unknown answer: {error}")),
        }
    }

    /// Runs a script on what is here, which is nobody's: values brought together from several
    /// partitions. Tells what it came to.
    ///
    /// # Errors
    /// It was ended, and this is its error. What it did until then is here; nothing of it is to
    /// be kept.
    pub fn run_script(&mut self, at: Moment, script: Script) -> Result<Answered, Reply> {
        let mut run = Run::new(self.home.as_ref(), &mut self.keyspace, at);
        let answered = run.steps(vec![Step::Script(script)], false)?;
        Ok(run.ran(answered))
    }

    /// Runs scripts, and commands among them, that change nothing.
    pub(super) fn read_steps(
        &mut self,
        at: Moment,
        steps: Vec<Step>,
        watched: Option<&[(usize, Bytes, u64)]>,
        effects: &mut Effects,
    ) -> Answered {
        if watched.is_some_and(|watched| !self.stands(at, watched)) {
            return Answered::Discarded;
        }
        let mut run = Run::new(self.home.as_ref(), &mut self.keyspace, at);
        run.transactions = Some(&self.transactions);
        let answered = run.steps(steps, watched.is_some());
        effects.ended.append(&mut run.ended);
        answered.map_or_else(Answered::Reply, |answered| run.ran(answered))
    }
}

/// A script that runs, and what of it is kept.
struct Run<'a> {
    home: Option<&'a Home>,
    keyspace: &'a mut Keyspace,
    /// Whose locks are in the way of keys that the script did not declare.
    transactions: Option<&'a Transactions>,
    /// The moment of the whole.
    at: Moment,
    database: usize,
    /// Whether the script may change nothing.
    reads: bool,
    /// Whether this node has no memory left.
    is_full: bool,
    /// Whether the script's commands that may need memory are refused.
    is_limited: bool,
    /// Whose script runs, if not of somebody who may do everything.
    caller: Option<Caller>,
    changes: Vec<Change>,
    /// Keys that were found to have ended where nothing may be changed.
    ended: Vec<(usize, Key)>,
    publications: Vec<Publication>,
    /// Of changes and publications.
    bytes: usize,
    /// Commands that read so far: each has a chance of its own.
    reads_done: u64,
    facts: Facts,
    /// The last error that a call came to.
    failed: Option<Bytes>,
    /// Limits of small forms that are not Redis's own.
    packing: Option<Packing>,
}

impl<'a> Run<'a> {
    fn new(home: Option<&'a Home>, keyspace: &'a mut Keyspace, at: Moment) -> Self {
        Run {
            home,
            keyspace,
            transactions: None,
            at,
            database: 0,
            reads: at.reading,
            is_full: false,
            is_limited: false,
            caller: None,
            changes: Vec::new(),
            ended: Vec::new(),
            publications: Vec::new(),
            bytes: 0,
            reads_done: 0,
            facts: Facts::default(),
            failed: None,
            packing: None,
        }
    }

    /// What it came to, with what else is to be known.
    fn ran(&mut self, answered: Answered) -> Answered {
        if self.publications.is_empty() && self.facts == Facts::default() {
            return answered;
        }
        Answered::Ran {
            answered: Box::new(answered),
            publications: std::mem::take(&mut self.publications),
            facts: self.facts,
        }
    }

    /// Takes steps one after the other. Where one of them is ended, this is the error, and
    /// nothing of all is to be kept.
    fn steps(&mut self, steps: Vec<Step>, is_transaction: bool) -> Result<Answered, Reply> {
        let mut replies = Vec::with_capacity(steps.len());
        for step in steps {
            let reply = match step {
                Step::Call(call) => {
                    self.database = call.database;
                    self.reads = self.at.reading;
                    match command::find(&call.words) {
                        Some(command) => self.execute(command, call.words),
                        None => error("ERR a replica does not know this command"),
                    }
                }
                Step::Script(script) => self.script(&script)?,
            };
            replies.push(reply);
        }
        Ok(match (is_transaction, replies.pop()) {
            (false, Some(reply)) => Answered::Reply(reply),
            (_, last) => {
                replies.extend(last);
                Answered::Executed(replies)
            }
        })
    }

    fn script(&mut self, script: &Script) -> Result<Reply, Reply> {
        self.database = script.database;
        self.reads = self.at.reading || script.reads;
        if self.is_full && is_refused_when_full(script) {
            return Ok(error(OUT_OF_MEMORY));
        }
        self.is_limited = self.is_full && script.when_full == WhenFull::Limited;
        self.caller.clone_from(&script.caller);
        let watch = self
            .home
            .map(|home| home.surroundings.begins(script.running()));
        let job = Job {
            code: &script.code,
            function: script.function.as_deref(),
            keys: &script.keys,
            arguments: &script.arguments,
            // Another number than any command draws.
            seed: !self.at.seed,
            watch,
            caller: script.caller.as_ref(),
        };
        self.failed = None;
        let ran = script::run(self, &job);
        if let (Ran::Answered(Reply::Error(text)), Some(failed)) = (&ran, &self.failed) {
            // What nobody caught is told with the place where it was.
            self.facts.is_counted |= text.starts_with(failed);
        }
        match ran {
            Ran::Answered(reply) => Ok(reply),
            Ran::Ended(error) => Err(error),
        }
    }

    /// Runs a command in the database that is chosen.
    fn execute(&mut self, command: &'static Command, words: Vec<Bytes>) -> Reply {
        let is_locked = |places: Vec<usize>| {
            let mut keys = places.into_iter().filter_map(|place| words.get(place));
            let databases = databases_of(command, self.database);
            let is_locked = |locks: &Transactions, key| {
                let mut databases = databases.clone();
                databases.any(|database| locks.locks(database, key))
            };
            let locks = self.transactions;
            locks.is_some_and(|locks| keys.any(|key| is_locked(locks, key)))
        };
        let is_locked = match route::reach(command, &words) {
            Some(places) => is_locked(places),
            // It may touch any key.
            None => self.transactions.is_some_and(Transactions::locks_any),
        };
        if is_locked {
            return error(super::LOCKED);
        }
        let (reply, has_removed) = self.execute_once(command, &words);
        match has_removed {
            // It saw what had ended; it is to see what is there without that.
            true => self.execute_once(command, &words).0,
            false => reply,
        }
    }

    /// The reply, and whether anything was removed then that the command found to have ended.
    fn execute_once(&mut self, command: &'static Command, words: &[Bytes]) -> (Reply, bool) {
        let reading = !command.flags.has(Flags::WRITE);
        if !reading && self.at.reading {
            return (error("ERR a write came as a read"), false);
        }
        let at = match reading {
            true => {
                self.reads_done += 1;
                Moment {
                    seed: self.at.seed.wrapping_sub(self.reads_done),
                    reading,
                    ..self.at
                }
            }
            false => of_step(self.at, self.changes.len()),
        };
        let before = self.keyspace.changes();
        let mut effects = Effects::default();
        let context = Context::new(self.keyspace, self.database, at, &mut effects);
        let mut context = context.packed(self.packing).of_script();
        let reply = command
            .run(&mut context, words)
            .unwrap_or_else(|error| Reply::Error(Bytes::from(error.to_string())));
        if self.keyspace.changes() != before {
            let of_words = words.iter().map(|word| word.len() + size_of::<usize>());
            self.bytes += of_words.sum::<usize>() + size_of::<usize>();
            let database = self.database;
            let words = words.to_vec();
            self.changes.push(Change::Call(Call { database, words }));
            // It can't be stopped in the middle.
            self.is_limited = false;
        }
        let has_removed = !effects.ended.is_empty() && !self.at.reading;
        for (database, key) in effects.ended {
            self.expire(database, key);
        }
        (reply, has_removed)
    }

    /// Removes a key that was found to have ended, so that it has for everybody.
    fn expire(&mut self, database: usize, key: Key) {
        if self.at.reading {
            self.ended.push((database, key));
            return;
        }
        let before = self.keyspace.changes();
        let mut effects = Effects::default();
        let mut context = Context::new(self.keyspace, database, self.at, &mut effects);
        context.expire_if_ended(&key);
        // It may have been told more than once.
        if self.keyspace.changes() != before {
            self.bytes += key.len() + 2 * size_of::<usize>();
            self.changes.push(Change::Expired(database, key.into()));
        }
    }
}

fn error(text: &'static str) -> Reply {
    Reply::Error(Bytes::from_static(text.as_bytes()))
}
