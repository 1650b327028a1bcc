//! DUMP and RESTORE: values that leave the cluster, and come back or from elsewhere.

use bytes::Bytes;

use super::{
    CommandError, Context, EventClass, Executed,
    args::{self, Words},
    table::{Command, Flags, Group, KeyPlaces},
};
use crate::core::{
    data::Milliseconds,
    dump::{self, RestoreError},
    reply::Reply,
};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "dump",
        arity: 2,
        flags: Flags::READONLY,
        keys: KeyPlaces::ONE,
        group: Group::Generic,
        since: "2.6.0",
        summary: "Returns the value of a key as bytes that RESTORE takes.",
        complexity: "O(N), N being the size of the value",
        execute: dump,
        subcommands: &[],
    },
    Command {
        name: "restore",
        arity: -4,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: KeyPlaces::ONE,
        group: Group::Generic,
        since: "2.6.0",
        summary: "Gives a key the value that DUMP returned.",
        complexity: "O(N*log(N)), N being the size of the value",
        execute: restore,
        subcommands: &[],
    },
];

fn dump(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let value = context.value(&words[1]);
    Ok(Reply::optional(value.map(dump::dump)))
}

/// Options of RESTORE.
#[derive(Default)]
struct Options {
    replace: bool,
    /// The time to live is the moment at which the key ends.
    absolute: bool,
    /// For so many seconds the key was not used.
    idle_s: Option<u64>,
    /// So often it is used.
    frequency: Option<u8>,
}

impl Options {
    fn parse(words: &[Bytes]) -> Result<Self, CommandError> {
        let mut options = Options::default();
        let mut words = Words::from(words, 4);
        while let Some(option) = words.next() {
            if args::is(option, "REPLACE") {
                options.replace = true;
            } else if args::is(option, "ABSTTL") {
                options.absolute = true;
            } else if args::is(option, "IDLETIME")
                && words.left() > 0
                && options.frequency.is_none()
            {
                let refusal = CommandError::Other("ERR Invalid IDLETIME value, must be >= 0");
                let idle_s = u64::try_from(words.expect_integer()?).map_err(|_| refusal)?;
                options.idle_s = Some(idle_s);
            } else if args::is(option, "FREQ") && words.left() > 0 && options.idle_s.is_none() {
                let refusal =
                    CommandError::Other("ERR Invalid FREQ value, must be >= 0 and <= 255");
                let frequency = u8::try_from(words.expect_integer()?).map_err(|_| refusal)?;
                options.frequency = Some(frequency);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

fn restore(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (key, ttl, payload) = (&words[1], &words[2], &words[3]);
    let options = Options::parse(words)?;
    if !options.replace && context.exists(key) {
        return Err(CommandError::Other(
            "BUSYKEY Target key name already exists.",
        ));
    }
    let ttl_ms = Milliseconds::try_from(args::integer(ttl)?)
        .map_err(|_| CommandError::Other("ERR Invalid TTL value, must be >= 0"))?;
    let value = dump::restore(payload).map_err(|error| {
        CommandError::Other(match error {
            RestoreError::Envelope => "ERR DUMP payload version or checksum are wrong",
            RestoreError::Data => "ERR Bad data format",
        })
    })?;
    let now_ms = context.now_ms();
    let expires_at_ms = match (ttl_ms, options.absolute) {
        (0, _) => None,
        (at_ms, true) => Some(at_ms),
        (ttl_ms, false) => Some(now_ms.saturating_add(ttl_ms)),
    };
    let replaced = context.remove(key).is_some();
    if expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
        // It has ended before it came.
        if replaced {
            context.changed(key, EventClass::Generic, "del");
        }
        return Ok(Reply::OK);
    }
    context.insert(key, value, expires_at_ms);
    // What this node does not note it is not told either, as in Redis.
    let uses = context.uses();
    let idle = options.idle_s.and_then(|it| uses.idle_for(now_ms, it));
    let frequent = options
        .frequency
        .and_then(|it| uses.as_often_as(now_ms, it));
    if let Some(used) = idle.or(frequent) {
        context.set_used(key, used);
    }
    context.changed(key, EventClass::Generic, "restore");
    Ok(Reply::OK)
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn values_leave_and_come_back() {
        story(
            r#"
            > DUMP none
            (nil)
            > SET a 10
            OK
            > DUMP a
            "\x00\xc0\n\x0c\x00\xa5\xe9c\x85\xf4\x84\xfd\xf2"
            > RESTORE b 0 "\x00\xc0\n\x0c\x00\xa5\xe9c\x85\xf4\x84\xfd\xf2"
            OK
            ! new b, restore b
            > GET b
            "10"
            > RESTORE b 0 "\x00\xc0\n\x0c\x00\xa5\xe9c\x85\xf4\x84\xfd\xf2"
            (error) BUSYKEY Target key name already exists.
            > RESTORE b 5000 "\x00\xc0\n\x0c\x00\xa5\xe9c\x85\xf4\x84\xfd\xf2" REPLACE IDLETIME 7
            OK
            > OBJECT IDLETIME b
            (integer) 7
            > PTTL b
            (integer) 5000
            > RESTORE b 1 "\x00\xc0\n\x0c\x00\xa5\xe9c\x85\xf4\x84\xfd\xf2" ABSTTL REPLACE
            OK
            ! del b
            > RESTORE b 1700000009000 "\x00\xc0\n\x0c\x00\xa5\xe9c\x85\xf4\x84\xfd\xf2" ABSTTL FREQ 3
            OK
            > PTTL b
            (integer) 9000
            "#,
        );
    }

    #[test]
    fn what_is_no_dump_is_refused() {
        story(
            r#"
            > RESTORE b 0 ""
            (error) ERR DUMP payload version or checksum are wrong
            > RESTORE b 0 "\x00\xc0\x0b\x0c\x00\xa5\xe9c\x85\xf4\x84\xfd\xf2"
            (error) ERR DUMP payload version or checksum are wrong
            > RESTORE b -1 x
            (error) ERR Invalid TTL value, must be >= 0
            > RESTORE b x x
            (error) ERR value is not an integer or out of range
            > RESTORE b 0 x IDLETIME -1
            (error) ERR Invalid IDLETIME value, must be >= 0
            > RESTORE b 0 x FREQ 256
            (error) ERR Invalid FREQ value, must be >= 0 and <= 255
            > RESTORE b 0 x FREQ 1 IDLETIME 1
            (error) ERR syntax error
            > RESTORE b 0 x JUNK
            (error) ERR syntax error
            "#,
        );
    }
}
