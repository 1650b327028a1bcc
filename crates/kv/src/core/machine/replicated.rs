//! The machine as the log drives it: what is applied, what is read, what waits and what is
//! refused before it is logged.

use bytes::Bytes;

use super::{
    ABORTED, Answered, Attempt, CommandMoment, EXPIRE_MAX, HELD, LOCKED, Machine, NO_SPACE,
    OUT_OF_MEMORY, Operation, Step, Transact, Transacted, observed, refused, scripts, transactions,
};
use crate::core::{
    command,
    data::{Key, Milliseconds},
    machine::Call,
    partition::{self, Found, Moment, Read, StateMachine, Wish},
    paxos::LogIndex,
};

impl StateMachine for Machine {
    type Reply = Answered;
    type Key = (usize, Key);

    fn apply(&mut self, at: Moment, operation: &Bytes) -> Answered {
        let mut effects = std::mem::take(&mut self.effects);
        effects.keeps_events = self.keeps_events;
        let at = CommandMoment {
            now_ms: at.now_ms,
            seed: at.seed,
            version: at.index.0,
            reading: false,
        };
        let is_locked =
            !Operation::is_transact(operation) && self.is_locked(operation, LogIndex(at.version));
        let answered = match is_locked {
            true => locked(operation),
            false => self.run(at, operation, &mut effects),
        };
        if self.keeps_changes {
            self.note_changes(&effects);
        }
        for bucket in &effects.removed {
            self.absences.note(*bucket, at.version);
        }
        for database in &effects.replaced {
            self.absences.note_all(*database, at.version);
        }
        self.events.append(&mut effects.events);
        self.changed.append(&mut effects.changed);
        self.has_changed_databases |= !effects.databases.is_empty();
        effects.clear();
        self.effects = effects;
        answered
    }

    fn take_changed(&mut self) -> partition::Changed<Self::Key> {
        let keys = std::mem::take(&mut self.changed);
        match std::mem::take(&mut self.has_changed_databases) {
            true => partition::Changed::Everything,
            false => partition::Changed::Keys(keys),
        }
    }

    fn forget_changed(&mut self) {
        self.changed.clear();
        self.has_changed_databases = false;
    }

    fn observe(&mut self, operation: &Bytes) -> Option<(u64, Answered)> {
        self.seen(operation)
    }

    fn touches(&self, logged: &Bytes, read: &Bytes) -> bool {
        observed::touches(logged, read)
    }

    fn found(&self, operation: &Bytes, reply: &Answered) -> Found<Self::Key> {
        let Answered::Waits { words, .. } = reply else {
            return Found::Something;
        };
        let Ok((
            terms,
            Operation::Wait {
                since_ms,
                attempt,
                mut call,
            },
        )) = Operation::decode_with_terms(operation.clone())
        else {
            return Found::Something;
        };
        if attempt == Attempt::Last {
            return Found::Nothing;
        }
        if let Some(words) = words {
            call.words.clone_from(words);
        }
        let keys = command::awaited_keys(&call.words);
        let keys = keys.map(|key| (call.database, Key::from(&key[..])));
        let keys = keys.collect();
        let operation = |attempt| {
            let operation = Operation::Wait {
                since_ms,
                attempt,
                call: call.clone(),
            };
            Operation::with_terms(operation.encode(), &terms)
        };
        Found::NothingYet(Wish {
            since_ms,
            keys,
            again: operation(Attempt::Again),
            last: operation(Attempt::Last),
        })
    }

    fn is_held_up(&self, operation: &Bytes, as_of: LogIndex) -> bool {
        self.is_locked(operation, as_of)
    }

    fn takes_hold(&self, operation: &Bytes) -> bool {
        Operation::is_transact(operation)
    }

    fn waits_in_line(&self, operation: &Bytes) -> bool {
        transactions::prepares(operation).is_some_and(|prepare| prepare.waits)
    }

    fn passes(&self, operation: &Bytes) -> bool {
        Operation::is_tend(operation)
    }

    fn collides(&self, operation: &Bytes, holder: &Bytes) -> bool {
        let Some(prepare) = transactions::prepares(holder) else {
            return false;
        };
        let held = transactions::Wanted::of(&prepare);
        transactions::wanted(operation).is_some_and(|wanted| wanted.meets(&held))
    }

    fn stands_back(&self) -> Option<Answered> {
        Some(Answered::Transacted(Transacted::Conflict(None)))
    }

    fn is_decided(&self, operation: &Bytes) -> bool {
        Operation::is_decided(operation)
    }

    fn decide(&mut self, at: Moment, operation: &Bytes) -> Bytes {
        let at = CommandMoment {
            now_ms: at.now_ms,
            seed: at.seed,
            version: at.index.0,
            reading: false,
        };
        scripts::decide(self, at, operation)
    }

    fn waits_no_more(&self, operation: &Bytes) -> Option<Answered> {
        let holder = self.held_for_long(operation)?;
        match Operation::decode(operation.clone()).ok()? {
            Operation::Transaction { .. } | Operation::Program { .. } => Some(aborted(HELD)),
            Operation::Transact(_) => {
                let conflict = Transacted::Conflict(Some(holder));
                Some(Answered::Transacted(conflict))
            }
            // It finds nothing yet, and waits on for what it waits for.
            Operation::Wait { attempt, .. } if attempt != Attempt::First => None,
            _ => Some(refused(HELD)),
        }
    }

    fn refuses(&self, operation: &Bytes) -> Option<Answered> {
        if let Some(conflict) = self.refuses_step(operation) {
            return Some(conflict);
        }
        if self.lacks_space {
            return refused_without_space(operation);
        }
        if !self.is_full {
            return None;
        }
        let needs_memory = |call: &Call| {
            let command = command::find(&call.words);
            command.is_some_and(|command| command.flags.has(command::Flags::DENYOOM))
                && !self.shrinks(call)
        };
        let aborted = || aborted(OUT_OF_MEMORY);
        match Operation::decode(operation.clone()) {
            Ok(
                Operation::Call(call)
                | Operation::Wait {
                    attempt: Attempt::First,
                    call,
                    ..
                },
            ) if needs_memory(&call) => Some(refused(OUT_OF_MEMORY)),
            Ok(Operation::Transaction { calls, .. }) if calls.iter().any(needs_memory) => {
                Some(aborted())
            }
            // Its scripts answer in their places.
            Ok(Operation::Program { steps, .. })
                if steps
                    .iter()
                    .any(|step| matches!(step, Step::Call(call) if needs_memory(call))) =>
            {
                Some(aborted())
            }
            Ok(Operation::Script(script)) if scripts::is_refused_when_full(&script) => {
                Some(refused(scripts::OUT_OF_MEMORY))
            }
            Ok(Operation::Transact(Transact::Prepare(prepare) | Transact::Commit(prepare)))
                if prepare.calls.iter().any(needs_memory) =>
            {
                Some(refused(OUT_OF_MEMORY))
            }
            _ => None,
        }
    }

    fn read(&mut self, now_ms: Milliseconds, seed: u64, operation: &Bytes) -> Read<Answered> {
        let (answered, mut keys) = self.look(now_ms, seed, operation);
        if keys.is_empty() {
            return Read::Reply(answered);
        }
        if self.lacks_space {
            return Read::Reply(refused(NO_SPACE));
        }
        // Another owner's clock may be behind: that these keys are gone has to be known first.
        keys.truncate(EXPIRE_MAX);
        let keys = keys
            .into_iter()
            .map(|(database, key)| (database, Bytes::from(key)))
            .collect();
        Read::After(Operation::Expire(keys).encode())
    }
}

/// As Redis answers an EXEC that may not run now.
fn aborted(reason: &str) -> Answered {
    refused(&format!("{ABORTED}{reason}"))
}

/// What clients are told who ask for something that would have to be logged, be it that it only
/// waits. What the owner does of its own accord is not refused: it is not asked for.
fn refused_without_space(operation: &Bytes) -> Option<Answered> {
    match Operation::decode(operation.clone()) {
        Ok(Operation::Call(_) | Operation::Wait { .. } | Operation::Script(_)) => {
            Some(refused(NO_SPACE))
        }
        Ok(Operation::Transaction { .. } | Operation::Program { .. }) => Some(aborted(NO_SPACE)),
        // What ends a transaction makes room.
        Ok(Operation::Transact(Transact::Prepare(_) | Transact::Commit(_))) => {
            Some(refused(NO_SPACE))
        }
        _ => None,
    }
}

/// What comes of an operation that met a lock when it was applied. Owners don't log such; but
/// those that waited are tried again without that they look, and wait on.
fn locked(operation: &Bytes) -> Answered {
    match Operation::decode(operation.clone()) {
        Ok(Operation::Wait { attempt, call, .. }) if attempt != Attempt::First => {
            let name = command::find(&call.words).map_or("", |command| command.name);
            Answered::Waits {
                reply: command::found_nothing(name),
                words: None,
            }
        }
        _ => refused(LOCKED),
    }
}
