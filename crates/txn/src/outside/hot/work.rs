//! What hot data is to do: Redis commands, each with what has to come of it.

use bytes::Bytes;
use prost::Message as _;

use crate::{
    core::partitions::{Condition, Part, PartError},
    proto,
};

/// So many commands may be enlisted.
const COMMANDS_MAX: usize = 64;
/// So many words a command may have.
const WORDS_MAX: usize = 1_024;

/// What can't be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkError {
    /// Damaged, or of a newer version.
    #[error("what it is to do can't be read: {0}")]
    Unreadable(#[from] prost::DecodeError),
    /// There is nothing to do.
    #[error("no command is given")]
    Nothing,
    /// Too many.
    #[error("{found} {what}, of which there may be {max}")]
    TooMany {
        /// What.
        what: &'static str,
        /// So many.
        found: usize,
        /// So many may be.
        max: usize,
    },
    /// Words in both forms.
    #[error("command {number} has words both as text and as bytes")]
    Twice {
        /// Counted from 1.
        number: usize,
    },
    /// A command that can't be a part.
    #[error("command {number} {error}")]
    Part {
        /// Counted from 1.
        number: usize,
        /// Why.
        error: PartError,
    },
}

/// Commands, as the log keeps them.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// In the order in which they are run.
    commands: Vec<proto::RedisCommand>,
}

impl Work {
    /// Of what a client sent; [`parts`](Self::parts) says whether it can be done.
    pub fn new(commands: Vec<proto::RedisCommand>) -> Work {
        Work { commands }
    }

    /// As the log keeps it.
    pub fn encode(self) -> Bytes {
        let commands = self.commands;
        proto::HotWork { commands }.encode_to_vec().into()
    }

    /// Out of that.
    ///
    /// # Errors
    /// These bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<Work, WorkError> {
        Ok(Work::new(proto::HotWork::decode(bytes)?.commands))
    }

    /// What is to be done.
    ///
    /// # Errors
    /// See [`WorkError`].
    pub fn parts(&self) -> Result<Vec<Part>, WorkError> {
        let too_many = |what, found, max| WorkError::TooMany { what, found, max };
        if self.commands.is_empty() {
            return Err(WorkError::Nothing);
        }
        let found = self.commands.len();
        if found > COMMANDS_MAX {
            return Err(too_many("commands", found, COMMANDS_MAX));
        }
        let numbered = (1..).zip(&self.commands);
        let parts = numbered.map(|(number, command)| {
            let found = command.words.len() + command.raw.len();
            if found > WORDS_MAX {
                return Err(too_many("words of a command", found, WORDS_MAX));
            }
            let words = match (command.words.is_empty(), command.raw.is_empty()) {
                (false, false) => return Err(WorkError::Twice { number }),
                (false, true) => command.words.iter().cloned().map(Bytes::from).collect(),
                (true, _) => command.raw.clone(),
            };
            let condition = Condition {
                equals: command.equals.clone().map(Bytes::from),
                at_least: command.at_least,
            };
            let database = usize::try_from(command.database).unwrap_or(usize::MAX);
            Part::new(database, words, condition).map_err(|error| WorkError::Part { number, error })
        });
        parts.collect()
    }
}

#[cfg(test)]
mod tests {
    use atoll_world::golden::golden;

    use super::*;

    fn command(text: &str) -> proto::RedisCommand {
        proto::RedisCommand {
            words: text.split(' ').map(str::to_owned).collect(),
            ..proto::RedisCommand::default()
        }
    }

    #[test]
    fn work_comes_back_as_it_was_written() {
        let set = proto::RedisCommand {
            equals: Some("OK".to_owned()),
            database: 3,
            ..command("SET a 1 NX")
        };
        let take = proto::RedisCommand {
            at_least: Some(-5),
            raw: [&b"DECRBY"[..], &[0xff, 0], b"7"]
                .map(Bytes::from_static)
                .to_vec(),
            ..proto::RedisCommand::default()
        };
        let work = Work::new(vec![set, take]);
        let stored = golden("txn-hot-work-1.bin", &work.clone().encode());
        let read = Work::decode(&stored).expect("it is in the tree");
        assert_eq!(read, work);
        let parts = read.parts().expect("commands");
        assert_eq!((parts[0].database, parts[1].database), (3, 0));
        assert_eq!(parts[1].call.words[1], &[0xff, 0][..]);
        assert_eq!(parts[1].condition.at_least, Some(-5));
    }

    #[test]
    fn what_can_not_be_done_is_told() {
        let error = |commands: Vec<proto::RedisCommand>| Work::new(commands).parts().err();
        assert_eq!(error(Vec::new()), Some(WorkError::Nothing));
        let both = proto::RedisCommand {
            raw: vec![Bytes::from_static(b"GET")],
            ..command("GET a")
        };
        let second = error(vec![command("GET a"), both]);
        assert_eq!(second, Some(WorkError::Twice { number: 2 }));
        let refused = error(vec![command("EVAL x 0")]).expect("a script");
        assert_eq!(
            refused.to_string(),
            "command 1 runs a script; enlist the commands that it would call"
        );
        let elsewhere = proto::RedisCommand {
            database: 32,
            ..command("GET a")
        };
        let refused = error(vec![elsewhere]).expect("an eventual keyspace");
        assert!(refused.to_string().contains("linearizable"), "{refused}");
        let many = error(vec![command("GET a"); COMMANDS_MAX + 1]).expect("too many");
        assert!(many.to_string().contains("65 commands"), "{many}");
        let long = format!("DEL{}", " a".repeat(WORDS_MAX));
        assert!(error(vec![command(&long)]).is_some());
        assert!(Work::decode(b"\xff").is_err());
    }
}
