//! OBJECT: how values are kept.

use bytes::Bytes;

use crate::core::{
    command::{CommandError, Context, Executed},
    data::Value,
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
    Ok(Reply::optional(
        context.value(&words[2]).map(Value::encoding),
    ))
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
        "REFCOUNT <key>",
        "    Tell how many references there are to the value of <key>: one.",
        "HELP",
        "    Print this help.",
    ];
    Ok(Reply::Array(lines.map(Reply::Status).to_vec()))
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

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
            4) REFCOUNT <key>
            5)     Tell how many references there are to the value of <key>: one.
            6) HELP
            7)     Print this help.
            "#,
        );
    }
}
