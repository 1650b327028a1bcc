//! OBJECT: how values are kept.

use bytes::Bytes;

use crate::core::{
    command::{CommandError, Context, Executed},
    reply::Reply,
};

/// OBJECT with a second word that it does not know.
pub(super) fn object(_context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let name = String::from_utf8_lossy(&words[1]);
    Err(CommandError::Text(format!(
        "ERR unknown subcommand '{name}'. Try OBJECT HELP."
    )))
}

pub(super) fn encoding(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let entry = context.entry(&words[2]);
    Ok(Reply::optional(entry.map(|entry| entry.value.encoding())))
}

/// For how many seconds this replica has not seen a use of the key.
pub(super) fn idle_time(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (now_ms, uses) = (context.now_ms(), context.uses());
    let Some(entry) = context.entry(&words[2]) else {
        return Ok(Reply::Null);
    };
    let idle_ms = uses.idle_ms(entry.used(), now_ms);
    let idle_ms = idle_ms.ok_or(CommandError::Other(
        "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when \
         switching between policies at runtime LRU and LFU data will take some time to adjust.",
    ))?;
    Ok(Reply::Integer(
        i64::try_from(idle_ms / 1000).unwrap_or(i64::MAX),
    ))
}

/// How often this replica sees uses of the key, on a scale up to 255.
pub(super) fn frequency(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (now_ms, uses) = (context.now_ms(), context.uses());
    let Some(entry) = context.entry(&words[2]) else {
        return Ok(Reply::Null);
    };
    let frequency = uses.frequency(entry.used(), now_ms);
    let frequency = frequency.ok_or(CommandError::Other(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note \
         that when switching between policies at runtime LRU and LFU data will take some time to \
         adjust.",
    ))?;
    Ok(Reply::Integer(i64::from(frequency)))
}

/// Values are never shared.
pub(super) fn refcount(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let there = context.exists(&words[2]);
    Ok(if there {
        Reply::Integer(1)
    } else {
        Reply::Null
    })
}

pub(super) fn help(_context: &mut Context<'_>, _words: &[Bytes]) -> Executed {
    let lines = [
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    Tell how Redis would keep the value of <key> in memory.",
        "FREQ <key>",
        "    Tell how often <key> is used, on a scale up to 255, as its node saw it.",
        "IDLETIME <key>",
        "    Tell for how many seconds <key> was not used, as its node saw it.",
        "REFCOUNT <key>",
        "    Tell how many references there are to the value of <key>: one.",
        "HELP",
        "    Print this help.",
    ];
    Ok(Reply::Array(lines.map(Reply::Status).to_vec()))
}

#[cfg(test)]
mod tests {
    use crate::core::{
        command::testing::{self, story},
        data::{Keyspace, Uses},
        reply::Reply,
    };

    #[test]
    fn encodings_of_strings() {
        story(
            r#"
            > OBJECT ENCODING a
            (nil)
            > SET a 12345678901
            OK
            > OBJECT ENCODING a
            "int"
            > SET a 12345678901234567890123456789012345678901234
            OK
            > OBJECT encoding a
            "embstr"
            > SET a 123456789012345678901234567890123456789012345
            OK
            > OBJECT ENCODING a
            "raw"
            > OBJECT REFCOUNT a
            (integer) 1
            > OBJECT REFCOUNT missing
            (nil)
            > OBJECT WEIGHT a
            (error) ERR unknown subcommand 'WEIGHT'. Try OBJECT HELP.
            > OBJECT ENCODING
            (error) ERR wrong number of arguments for 'object|encoding' command
            > OBJECT
            (error) ERR wrong number of arguments for 'object' command
            > OBJECT HELP
            1) OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
            2) ENCODING <key>
            3)     Tell how Redis would keep the value of <key> in memory.
            4) FREQ <key>
            5)     Tell how often <key> is used, on a scale up to 255, as its node saw it.
            6) IDLETIME <key>
            7)     Tell for how many seconds <key> was not used, as its node saw it.
            8) REFCOUNT <key>
            9)     Tell how many references there are to the value of <key>: one.
            10) HELP
            11)     Print this help.
            "#,
        );
    }

    #[test]
    fn uses_of_keys() {
        story(
            r#"
            > OBJECT IDLETIME a
            (nil)
            > OBJECT FREQ a
            (nil)
            > MSET a 1 b 2 c 3 d 4
            OK
            @ 7000
            > GET b
            "2"
            > TOUCH c
            (integer) 1
            > APPEND d 4
            (integer) 2
            > EXISTS a
            (integer) 1
            > TYPE a
            string
            > TTL a
            (integer) -1
            > OBJECT ENCODING a
            "int"
            @ 9999
            > OBJECT IDLETIME a
            (integer) 9
            > OBJECT IDLETIME b
            (integer) 2
            > OBJECT IDLETIME c
            (integer) 2
            > OBJECT IDLETIME d
            (integer) 2
            > SET a 1
            OK
            > OBJECT IDLETIME a
            (integer) 0
            > OBJECT FREQ a
            (error) ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.
            "#,
        );
    }

    #[test]
    fn frequencies_of_keys() {
        let mut keyspace = Keyspace::default();
        keyspace.set_uses(Uses::Frequency {
            log_factor: 0,
            decay_minutes: 1,
        });
        let mut run = |call: &str, now_ms| testing::run(&mut keyspace, 0, call, now_ms);
        assert_eq!(run("SET a x", 1_000), Ok(Reply::OK));
        assert_eq!(run("OBJECT FREQ a", 1_000), Ok(Reply::Integer(5)));
        for call in ["GET a", "SET a y", "STRLEN a", "TYPE a"] {
            run(call, 1_000).expect("a reply");
        }
        assert_eq!(run("OBJECT FREQ a", 1_000), Ok(Reply::Integer(8)));
        assert_eq!(run("OBJECT FREQ a", 180_000), Ok(Reply::Integer(5)));
        let refused = run("OBJECT IDLETIME a", 1_000).map_err(|error| error.to_string());
        assert!(refused.is_err_and(|text| text.starts_with("ERR An LFU maxmemory policy is sel")));
    }
}
