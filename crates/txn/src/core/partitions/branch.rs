//! Hot data as a part of a transaction that is decided outside: which commands can be one, and
//! what has to come of them.

use atoll_base::id::PartitionId;
use atoll_kv::{
    api::Call,
    core::{
        command::{self, Flags},
        data::DATABASES,
        machine::BranchId,
        reply::Reply,
    },
};
use atoll_ring::partition::Partitions;
use bytes::Bytes;

use super::{gather, program::Outcome};

/// Commands that wait, that are for operators, that are about messages or a connection, and those
/// that may not be in MULTI.
const UNFIT: [(Flags, PartError); 5] = [
    (Flags::BLOCKING, PartError::Waits),
    (Flags::ADMIN, PartError::Administers),
    (Flags::PUBSUB, PartError::Publishes),
    (Flags::SESSION, PartError::Connection),
    (Flags::NO_MULTI, PartError::Connection),
];

/// Why a command can't be a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// There is no such command.
    #[error("is no command")]
    Unknown,
    /// It has too few words, or too many.
    #[error("has the wrong number of words for its command")]
    Arity,
    /// There is no such database, or it is an eventual keyspace.
    #[error("names a database that is not linearizable: those are 0 to {}", DATABASES - 1)]
    Database,
    /// It waits for others.
    #[error("may wait for other clients, which nobody does while others wait for its vote")]
    Waits,
    /// It is for operators.
    #[error("is for operators, and no part of a transaction")]
    Administers,
    /// It is about messages.
    #[error("is about messages, which can't be taken back")]
    Publishes,
    /// It is about a connection.
    #[error("is about a connection or a server, and no key")]
    Connection,
    /// It runs a script.
    #[error("runs a script; enlist the commands that it would call")]
    Script,
    /// It touches more keys than it names.
    #[error("has to name all keys that it touches, since they stay locked until all have voted")]
    Keys,
}

/// What has to come of a command, or the vote is no.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Its reply is this text, or number.
    pub equals: Option<Bytes>,
    /// Its reply is a whole number, no less than this.
    pub at_least: Option<i64>,
}

/// A command that is a part of a transaction.
#[derive(Clone, Debug)]
pub struct Part {
    /// The database's index.
    pub database: usize,
    /// The command.
    pub call: Call,
    /// What has to come of it.
    pub condition: Condition,
}

/// Why the vote is no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objection {
    /// This command, counted from 1, comes to an error, of this code.
    Error(usize, String),
    /// What this command, counted from 1, comes to is not what it has to come to.
    Condition(usize),
}

/// What an attempt has to know of its branch.
#[derive(Clone, Debug)]
pub struct Purpose {
    /// Which branch.
    pub branch: BranchId,
    /// One for each step.
    pub conditions: Vec<Condition>,
}

impl Part {
    /// Checks a command.
    ///
    /// # Errors
    /// See [`PartError`].
    pub fn new(
        database: usize,
        words: Vec<Bytes>,
        condition: Condition,
    ) -> Result<Part, PartError> {
        let command = command::find(&words).ok_or(PartError::Unknown)?;
        if !command.takes(words.len()) {
            return Err(PartError::Arity);
        }
        if database >= DATABASES {
            return Err(PartError::Database);
        }
        if let Some((_, error)) = UNFIT.iter().find(|(flag, _)| command.flags.has(*flag)) {
            return Err(*error);
        }
        if command::runs_scripts(command) {
            return Err(PartError::Script);
        }
        let is_of_data = command.flags.has(Flags::WRITE) || command.flags.has(Flags::READONLY);
        let call = Call { command, words };
        let names_keys = !call.command.keys.of(&call.words).is_empty();
        if !is_of_data || !names_keys || !gather::names_its_keys(&call) {
            return Err(PartError::Keys);
        }
        Ok(Part {
            database,
            call,
            condition,
        })
    }
}

impl Condition {
    /// Whether this reply is what has to come.
    pub fn admits(&self, reply: &Reply) -> bool {
        let text = text_of(reply);
        let equals = |wanted: &Bytes| text.as_ref() == Some(wanted);
        let at_least = |least: &i64| {
            let number = text.as_deref().and_then(|it| std::str::from_utf8(it).ok());
            let number = number.and_then(|it| it.parse::<i64>().ok());
            number.is_some_and(|it| it >= *least)
        };
        self.equals.iter().all(equals) && self.at_least.iter().all(at_least)
    }
}

/// A reply that is one text or number.
fn text_of(reply: &Reply) -> Option<Bytes> {
    match reply {
        Reply::Status(text) => Some(Bytes::from_static(text.as_bytes())),
        Reply::Simple(text) | Reply::Bulk(text) | Reply::BigNumber(text) => Some(text.clone()),
        Reply::Verbatim(text) => Some(text.clone()),
        Reply::Integer(number) => Some(number.to_string().into()),
        Reply::Boolean(is_so) => Some(i64::from(*is_so).to_string().into()),
        _ => None,
    }
}

impl Purpose {
    /// What speaks against voting yes.
    pub(super) fn objection(&self, outcomes: &[Outcome]) -> Option<Objection> {
        let conditions = self.conditions.iter();
        let judged = (1..).zip(outcomes.iter().zip(conditions));
        judged
            .filter_map(|(number, (outcome, condition))| match outcome {
                Outcome::Reply(Reply::Error(text)) => {
                    let text = String::from_utf8_lossy(text);
                    // What follows may hold data.
                    let code = text.split(' ').next().unwrap_or_default();
                    Some(Objection::Error(number, code.to_owned()))
                }
                Outcome::Reply(reply) if condition.admits(reply) => None,
                _ => Some(Objection::Condition(number)),
            })
            .next()
    }
}

/// The partition that knows how a branch stands: found by the branch's name alone, which is drawn
/// at random, so that whoever knows the name can end it.
pub fn home_of(branch: BranchId, partitions: Partitions) -> PartitionId {
    let count = u128::from(partitions.count().max(1));
    let at = branch.transaction.wrapping_add(branch.place.into()) % count;
    PartitionId(u16::try_from(at).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Bytes> {
        let words = text.split(' ');
        words.map(|word| Bytes::from(word.to_owned())).collect()
    }

    fn error(text: &str) -> Option<PartError> {
        Part::new(0, words(text), Condition::default()).err()
    }

    #[test]
    fn commands_that_name_their_keys_are_taken() {
        for right in [
            "SET a 1",
            "incrby a 5",
            "GET a",
            "MSET a 1 b 2",
            "RENAME a b",
            "DEL a b c",
            "ZADD z 1 m",
            "SUNIONSTORE a b c",
            "XADD s * f v",
            "SORT a ALPHA STORE b",
            "OBJECT ENCODING a",
            "ATOLL.FENCED fence 7 SET a 1",
        ] {
            assert_eq!(error(right), None, "{right}");
        }
        let elsewhere = Part::new(DATABASES, words("GET a"), Condition::default());
        assert_eq!(elsewhere.err(), Some(PartError::Database));
    }

    #[test]
    fn what_waits_publishes_administers_or_wanders_is_not() {
        for (wrong, why) in [
            ("NOTHING a", PartError::Unknown),
            ("SET a", PartError::Arity),
            ("BLPOP a 0", PartError::Waits),
            ("XREAD BLOCK 5 STREAMS a 0", PartError::Waits),
            ("CONFIG SET maxmemory 1", PartError::Administers),
            ("SHUTDOWN", PartError::Administers),
            ("PUBLISH a b", PartError::Publishes),
            ("SUBSCRIBE a", PartError::Publishes),
            ("SELECT 1", PartError::Connection),
            ("WATCH a", PartError::Connection),
            ("EVAL x 1 a", PartError::Script),
            ("FCALL x 1 a", PartError::Script),
            ("FLUSHALL", PartError::Keys),
            ("SWAPDB 0 1", PartError::Keys),
            ("KEYS *", PartError::Keys),
            ("DBSIZE", PartError::Keys),
            ("SCAN 0", PartError::Keys),
            ("RANDOMKEY", PartError::Keys),
            ("SORT a BY w_*", PartError::Keys),
            ("TIME", PartError::Connection),
        ] {
            assert_eq!(error(wrong), Some(why), "{wrong}");
        }
    }

    #[test]
    fn replies_are_held_against_conditions() {
        let equals = |text: &'static str| Condition {
            equals: Some(text.into()),
            at_least: None,
        };
        let at_least = |least| Condition {
            equals: None,
            at_least: Some(least),
        };
        for (condition, reply, admits) in [
            (Condition::default(), Reply::Null, true),
            (equals("OK"), Reply::OK, true),
            (equals("OK"), Reply::Null, false),
            (equals("5"), Reply::Integer(5), true),
            (equals("x"), Reply::bulk("x"), true),
            (equals("x"), Reply::bulk("y"), false),
            (equals(""), Reply::Array(Vec::new()), false),
            (at_least(0), Reply::Integer(0), true),
            (at_least(0), Reply::Integer(-1), false),
            (at_least(-3), Reply::bulk("-2"), true),
            (at_least(0), Reply::bulk("1.5"), false),
            (at_least(0), Reply::Null, false),
        ] {
            assert_eq!(condition.admits(&reply), admits, "{condition:?} {reply:?}");
        }
    }

    #[test]
    fn branches_have_their_homes_everywhere() {
        let partitions = Partitions::new(16).expect("some");
        let home = |transaction, place| home_of(BranchId { transaction, place }, partitions);
        assert_eq!(home(33, 1), PartitionId(2));
        assert_eq!(home(u128::MAX, 1), PartitionId(0));
        let one = Partitions::new(1).expect("one");
        let branch = BranchId {
            transaction: 77,
            place: 0,
        };
        assert_eq!(home_of(branch, one), PartitionId(0));
    }
}
