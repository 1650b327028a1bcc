//! HyperLogLog: counting what is different.

use bytes::Bytes;

use super::{
    CommandError, Context, EventClass, Executed, args,
    table::{Command, Flags, Group, KeyPlaces},
};
use crate::core::{
    data::{
        RedisString, Value,
        hyperloglog::{self, HyperLogLog, HyperLogLogFault, Registers},
    },
    reply::Reply,
};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "pfadd",
        arity: -2,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        keys: KeyPlaces::ONE,
        group: Group::HyperLogLog,
        since: "2.8.9",
        summary: "Lets a HyperLogLog see elements, and says whether its estimate may have changed.",
        complexity: "O(1) for each element",
        execute: pfadd,
        subcommands: &[],
    },
    Command {
        name: "pfcount",
        arity: -2,
        flags: Flags::READONLY,
        keys: KeyPlaces::Range {
            first: 1,
            last: -1,
            step: 1,
        },
        group: Group::HyperLogLog,
        since: "2.8.9",
        summary: "Estimates how many different elements HyperLogLogs have seen together.",
        complexity: "O(N) where N is the number of keys",
        execute: pfcount,
        subcommands: &[],
    },
    Command {
        name: "pfmerge",
        arity: -2,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: KeyPlaces::Range {
            first: 1,
            last: -1,
            step: 1,
        },
        group: Group::HyperLogLog,
        since: "2.8.9",
        summary: "Lets a HyperLogLog see what others have seen.",
        complexity: "O(N) where N is the number of keys",
        execute: pfmerge,
        subcommands: &[],
    },
    Command {
        name: "pfdebug",
        arity: 3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::ADMIN),
        keys: KeyPlaces::SECOND,
        group: Group::HyperLogLog,
        since: "2.8.9",
        summary: "Looks into a HyperLogLog: GETREG, ENCODING, TODENSE.",
        complexity: "O(1)",
        execute: pfdebug,
        subcommands: &[],
    },
    Command {
        name: "pfselftest",
        arity: 1,
        flags: Flags::READONLY.and(Flags::ADMIN),
        keys: KeyPlaces::None,
        group: Group::HyperLogLog,
        since: "2.8.9",
        summary: "Looks whether estimates are as good as they should be, in both forms.",
        complexity: "O(1)",
        execute: pfselftest,
        subcommands: &[],
    },
];

/// Elements that PFSELFTEST lets a HyperLogLog see.
const TESTED_ELEMENTS: u64 = 2_000;

/// What PFSELFTEST accepts: five times the standard error of so many registers.
const ERROR_MAX: f64 = 5.0 * 1.04 / 128.0;

/// Works on the key's HyperLogLog, if the key is there.
fn look<T>(
    context: &mut Context<'_>,
    key: &[u8],
    work: impl FnOnce(HyperLogLog<'_>) -> T,
) -> Result<Option<T>, CommandError> {
    let Some(string) = context.get::<RedisString>(key)? else {
        return Ok(None);
    };
    let bytes = string.bytes();
    let log = HyperLogLog::of(&bytes)?;
    Ok(Some(work(log)))
}

impl From<HyperLogLogFault> for CommandError {
    fn from(fault: HyperLogLogFault) -> Self {
        CommandError::HyperLogLog(fault)
    }
}

fn pfadd(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let key = &words[1];
    let is_new = look(context, key, |_| ())?.is_none();
    let sparse_bytes_max = context.packing().sparse_bytes_max;
    let string = context.get_or_add::<RedisString>(key)?;
    if is_new {
        *string = RedisString::raw(hyperloglog::empty());
    }
    let bytes = string.edit();
    let mut changed = is_new;
    for element in &words[2..] {
        changed |= hyperloglog::add(bytes, element, sparse_bytes_max);
    }
    if changed {
        context.changed(key, EventClass::String, "pfadd");
    }
    Ok(Reply::Integer(i64::from(changed)))
}

fn pfcount(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let estimate = match &words[1..] {
        [key] => look(context, key, |log| log.estimate())?.unwrap_or(0),
        keys => {
            let mut registers = Registers::default();
            for key in keys {
                look(context, key, |log| log.merge_into(&mut registers))?;
            }
            registers.estimate()
        }
    };
    Ok(Reply::Integer(i64::try_from(estimate).unwrap_or(i64::MAX)))
}

fn pfmerge(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let mut registers = Registers::default();
    let mut be_dense = false;
    // The destination is a source, too.
    for key in &words[1..] {
        let dense = look(context, key, |log| {
            log.merge_into(&mut registers);
            log.is_dense()
        })?;
        be_dense |= dense.unwrap_or(false);
    }
    let to = &words[1];
    let sparse_bytes_max = context.packing().sparse_bytes_max;
    let merged = RedisString::raw(hyperloglog::with(&registers, be_dense, sparse_bytes_max));
    match context.get_mut::<RedisString>(to)? {
        Some(string) => *string = merged,
        None => context.insert(to, Value::String(merged), None),
    }
    // Redis tells of it as of an addition of many.
    context.changed(to, EventClass::String, "pfadd");
    Ok(Reply::OK)
}

fn pfdebug(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (name, key) = (&words[1], &words[2]);
    let missing = CommandError::Other("ERR The specified key does not exist");
    if args::is(name, "GETREG") {
        let mut registers = Registers::default();
        look(context, key, |log| log.merge_into(&mut registers))?.ok_or(missing)?;
        let values = registers.iter().map(|value| Reply::Integer(value.into()));
        return Ok(Reply::Array(values.collect()));
    }
    if args::is(name, "ENCODING") {
        let is_dense = look(context, key, |log| log.is_dense())?.ok_or(missing)?;
        return Ok(Reply::Status(if is_dense { "dense" } else { "sparse" }));
    }
    if !args::is(name, "TODENSE") {
        let name = String::from_utf8_lossy(name);
        return Err(CommandError::Text(format!(
            "ERR Unknown PFDEBUG subcommand '{name}'"
        )));
    }
    let mut registers = Registers::default();
    let is_dense = look(context, key, |log| {
        log.merge_into(&mut registers);
        log.is_dense()
    })?
    .ok_or(missing)?;
    if is_dense {
        return Ok(Reply::Integer(0));
    }
    if let Some(string) = context.get_mut::<RedisString>(key)? {
        *string = RedisString::raw(hyperloglog::with(&registers, true, 0));
    }
    context.touched(key);
    Ok(Reply::Integer(1))
}

fn pfselftest(context: &mut Context<'_>, _words: &[Bytes]) -> Executed {
    let failed = |what: String| Err(CommandError::Text(format!("TESTFAILED {what}")));
    let salt = context.random();
    let mut dense = hyperloglog::with(&Registers::default(), true, 0);
    let mut sparse = hyperloglog::empty();
    let mut checked_at = 1;
    for number in 1..=TESTED_ELEMENTS {
        let element = (salt ^ number).to_le_bytes();
        for bytes in [&mut dense, &mut sparse] {
            hyperloglog::add(bytes, &element, 1 << 20);
        }
        if number < checked_at {
            continue;
        }
        checked_at *= 2;
        let estimates = [
            HyperLogLog::of(&dense)?.estimate(),
            HyperLogLog::of(&sparse)?.estimate(),
        ];
        let off = estimates[0].abs_diff(number) as f64;
        // Few elements meet in one register now and then.
        if off > (number as f64 * ERROR_MAX).max(2.0) {
            let estimate = estimates[0];
            return failed(format!("{number} elements are estimated as {estimate}"));
        }
        if estimates[0] != estimates[1] {
            return failed(format!("the two forms of {number} elements differ"));
        }
    }
    Ok(Reply::OK)
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    /// The bytes are Redis's.
    #[test]
    fn seen_and_counted() {
        story(
            r#"
            > PFCOUNT a
            (integer) 0
            > PFADD a
            (integer) 1
            ! new a, pfadd a
            > GET a
            "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xff"
            > PFADD a
            (integer) 0
            !
            > PFADD a foo bar zap
            (integer) 1
            ! pfadd a
            > PFADD a zap zap zap
            (integer) 0
            > GET a
            "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\\\xb3\x90B\x07\x84HX\x80X\xe7"
            > PFADD a "a rather long element of several words"
            (integer) 1
            > PFCOUNT a
            (integer) 4
            > PFADD b bar baz ""
            (integer) 1
            > PFCOUNT a b missing
            (integer) 6
            > EXPIRE a 10
            (integer) 1
            > PFMERGE a b missing
            OK
            ! pfadd a
            > PFCOUNT a
            (integer) 6
            > TTL a
            (integer) 10
            > PFMERGE c
            OK
            ! new c, pfadd c
            > PFCOUNT c
            (integer) 0
            "#,
        );
    }

    #[test]
    fn looked_into() {
        story(
            r#"
            > PFSELFTEST
            OK
            > PFDEBUG ENCODING a
            (error) ERR The specified key does not exist
            > PFADD a 1 2 3
            (integer) 1
            ! new a, pfadd a
            > PFDEBUG encoding a
            sparse
            > PFDEBUG TODENSE a
            (integer) 1
            > PFDEBUG TODENSE a
            (integer) 0
            > PFDEBUG ENCODING a
            dense
            > PFCOUNT a
            (integer) 3
            > PFDEBUG OTHER a
            (error) ERR Unknown PFDEBUG subcommand 'OTHER'
            > PFDEBUG GETREG missing
            (error) ERR The specified key does not exist
            "#,
        );
    }

    #[test]
    fn refused() {
        story(
            r#"
            > SET a x
            OK
            > PFADD a 1
            (error) WRONGTYPE Key is not a valid HyperLogLog string value.
            > PFCOUNT missing a
            (error) WRONGTYPE Key is not a valid HyperLogLog string value.
            > PFMERGE b a
            (error) WRONGTYPE Key is not a valid HyperLogLog string value.
            > SET a "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xfe"
            OK
            > PFADD a 1
            (error) INVALIDOBJ Corrupted HLL object detected
            > PFCOUNT a
            (error) INVALIDOBJ Corrupted HLL object detected
            > PFMERGE b a
            (error) INVALIDOBJ Corrupted HLL object detected
            > EXISTS b
            (integer) 0
            "#,
        );
    }
}
