//! `atoll txn enlist --redis`: hot data as one who takes part.

use atoll_txn::proto::{HotParticipant, RedisCommand};
use clap::Args;

use crate::error::CliError;

/// What is said of commands of hot data.
#[derive(Clone, Debug, Args)]
pub(crate) struct HotOptions {
    /// The database that the commands work on.
    #[arg(long, value_name = "N", conflicts_with_all = ["http", "postgres"])]
    database: Option<u32>,
    /// Each command's reply must be this text or number.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["http", "postgres"])]
    equals: Option<String>,
    /// Each command's reply must be a whole number, no less than this.
    #[arg(
        long,
        value_name = "N",
        conflicts_with_all = ["http", "postgres"],
        allow_negative_numbers = true
    )]
    at_least: Option<i64>,
}

impl HotOptions {
    /// What hot data is to do.
    ///
    /// # Errors
    /// A command has a quote without its partner.
    pub(super) fn participant(self, commands: &[String]) -> Result<HotParticipant, CliError> {
        let commands = commands.iter().map(|line| {
            let words = words(line).ok_or_else(|| {
                let text =
                    format!("--redis '{line}': a quote is not closed, or a word goes on after one");
                CliError::usage(text, "")
            })?;
            Ok(RedisCommand {
                words,
                database: self.database.unwrap_or_default(),
                equals: self.equals.clone(),
                at_least: self.at_least,
                ..RedisCommand::default()
            })
        });
        Ok(HotParticipant {
            commands: commands.collect::<Result<_, CliError>>()?,
        })
    }
}

/// The words of a line, as redis-cli divides them: by spaces, but not between quotes; between
/// double quotes a backslash stands before a quote or a backslash that is meant. None, if a quote
/// is not closed or something else than a space follows it.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let mut word = String::new();
        if first != '"' && first != '\'' {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            word.push_str(&rest[..end]);
            rest = rest[end..].trim_start();
        } else {
            let mut chars = rest[1..].char_indices();
            let end = loop {
                match chars.next()? {
                    (at, it) if it == first => break 1 + at + 1,
                    (_, '\\') if first == '"' => word.push(chars.next()?.1),
                    (_, it) => word.push(it),
                }
            };
            rest = &rest[end..];
            if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
                return None;
            }
            rest = rest.trim_start();
        }
        words.push(word);
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn lines_are_divided_as_redis_cli_does() {
        for (line, expected) in [
            ("SET a 1", &["SET", "a", "1"][..]),
            ("  GET   a  ", &["GET", "a"]),
            ("SET a 'one two'", &["SET", "a", "one two"]),
            (
                r#"SET a "say \"so\" \\ there" NX"#,
                &["SET", "a", r#"say "so" \ there"#, "NX"],
            ),
            ("SET a ''", &["SET", "a", ""]),
            ("SET ä it's", &["SET", "ä", "it's"]),
            ("SET a '{\"n\":1}'", &["SET", "a", "{\"n\":1}"]),
            ("", &[]),
        ] {
            let found = words(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(found, expected, "{line}");
        }
        for wrong in ["SET a 'b", "SET \"a", "SET 'a'b 1", "\"\\"] {
            assert_eq!(words(wrong), None, "{wrong}");
        }
    }
}
