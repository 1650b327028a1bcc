//! Unions, intersections and differences of sets and sorted sets.

use std::borrow::Cow;

use bytes::Bytes;

use super::{ADDS, COUNTED, LOOKS_AT_MANY, SORTED_SET, members_reply};
use crate::core::{
    command::{
        CommandError, Context, EventClass, Executed,
        args::{self, Words},
        table::{Command, Flags, KeyPlaces},
    },
    data::{Set, SortedSet, Table, Value},
    reply::Reply,
};

const COUNTED_AND_DESTINATION: KeyPlaces = KeyPlaces::Counted {
    count: 2,
    also: Some(1),
};

const MERGES: &str = "O(N*K)+O(M*log(M)), N being the size of the smallest input, K the number of inputs, M the size of the result";
const UNITES: &str = "O(N)+O(M*log(M)), N being the size of all inputs, M that of the result";
const SUBTRACTS: &str = "O(L+N*K+M*log(M)), N being the size of the first input, K the number of inputs, M the size of the result";

pub(in crate::core::command) const COMMANDS: &[Command] = &[
    Command {
        name: "zdiff",
        arity: -3,
        flags: LOOKS_AT_MANY,
        keys: COUNTED,
        since: "6.2.0",
        summary: "Returns the members of an input that are in none of the others.",
        complexity: SUBTRACTS,
        execute: zdiff,
        ..SORTED_SET
    },
    Command {
        name: "zdiffstore",
        arity: -4,
        flags: ADDS.and(Flags::MOVABLEKEYS),
        keys: COUNTED_AND_DESTINATION,
        since: "6.2.0",
        summary: "Keeps the members of an input that are in none of the others in a key.",
        complexity: SUBTRACTS,
        execute: zdiffstore,
        ..SORTED_SET
    },
    Command {
        name: "zinter",
        arity: -3,
        flags: LOOKS_AT_MANY,
        keys: COUNTED,
        since: "6.2.0",
        summary: "Returns the members that all inputs have.",
        complexity: MERGES,
        execute: zinter,
        ..SORTED_SET
    },
    Command {
        name: "zintercard",
        arity: -3,
        flags: LOOKS_AT_MANY,
        keys: COUNTED,
        since: "7.0.0",
        summary: "Counts the members that all inputs have.",
        complexity: "O(N*K), N being the size of the smallest input, K the number of inputs",
        execute: zintercard,
        ..SORTED_SET
    },
    Command {
        name: "zinterstore",
        arity: -4,
        flags: ADDS.and(Flags::MOVABLEKEYS),
        keys: COUNTED_AND_DESTINATION,
        since: "2.0.0",
        summary: "Keeps the members that all inputs have in a key.",
        complexity: MERGES,
        execute: zinterstore,
        ..SORTED_SET
    },
    Command {
        name: "zunion",
        arity: -3,
        flags: LOOKS_AT_MANY,
        keys: COUNTED,
        since: "6.2.0",
        summary: "Returns the members that any of the inputs has.",
        complexity: UNITES,
        execute: zunion,
        ..SORTED_SET
    },
    Command {
        name: "zunionstore",
        arity: -4,
        flags: ADDS.and(Flags::MOVABLEKEYS),
        keys: COUNTED_AND_DESTINATION,
        since: "2.0.0",
        summary: "Keeps the members that any of the inputs has in a key.",
        complexity: UNITES,
        execute: zunionstore,
        ..SORTED_SET
    },
];

/// One that takes part. A member of a plain set has the score 1.
#[derive(Clone, Copy)]
enum Input<'a> {
    None,
    Set(&'a Set),
    Sorted(&'a SortedSet),
}

impl<'a> Input<'a> {
    fn len(self) -> usize {
        match self {
            Input::None => 0,
            Input::Set(set) => set.len(),
            Input::Sorted(set) => set.len(),
        }
    }

    fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Input::None => None,
            Input::Set(set) => set.contains(member).then_some(1.0),
            Input::Sorted(set) => set.score(member),
        }
    }

    fn iter(self) -> Box<dyn Iterator<Item = (Cow<'a, [u8]>, f64)> + 'a> {
        match self {
            Input::None => Box::new(std::iter::empty()),
            Input::Set(set) => Box::new(set.iter().map(|member| (member, 1.0))),
            Input::Sorted(set) => {
                let members = set.iter();
                Box::new(members.map(|(member, score)| (Cow::Borrowed(member), score)))
            }
        }
    }
}

/// How scores of one member become one.
#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, score: f64, other: f64) -> f64 {
        match self {
            // Both infinities together are nothing, as in Redis.
            Aggregate::Sum => not_nan(score + other),
            Aggregate::Min if other < score => other,
            Aggregate::Max if other > score => other,
            Aggregate::Min | Aggregate::Max => score,
        }
    }
}

/// Nothing times infinity is nothing.
fn not_nan(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// What is done with the inputs.
#[derive(Clone, Copy, PartialEq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

/// How the result leaves.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Answered,
    Stored,
    Counted,
}

/// A command of this family.
#[derive(Clone, Copy)]
struct Algebra {
    name: &'static str,
    operation: Operation,
    result: Outcome,
}

/// Options and inputs of a call.
struct Call<'a> {
    inputs: Vec<(Input<'a>, f64)>,
    aggregate: Aggregate,
    with_scores: bool,
    /// 0 is none.
    limit: usize,
}

impl Algebra {
    /// Reads everything. As in Redis, the types of keys are looked at before the options.
    fn parse<'c>(
        self,
        context: &'c mut Context<'_>,
        words: &[Bytes],
    ) -> Result<Call<'c>, CommandError> {
        let place = match self.result {
            Outcome::Stored => 2,
            Outcome::Answered | Outcome::Counted => 1,
        };
        let number = args::integer(&words[place])?;
        if number < 1 {
            return Err(CommandError::Text(format!(
                "ERR at least 1 input key is needed for '{}' command",
                self.name
            )));
        }
        let rest = &words[place + 1..];
        let number = usize::try_from(number).map_err(|_| CommandError::Syntax)?;
        let (keys, _) = rest.split_at_checked(number).ok_or(CommandError::Syntax)?;
        let inputs = inputs(context.values(keys))?;
        let mut weights = vec![1.0; number];
        let mut call = Call {
            inputs: Vec::new(),
            aggregate: Aggregate::Sum,
            with_scores: false,
            limit: 0,
        };
        let mut options = Words::from(rest, number);
        let merges = self.operation != Operation::Diff && self.result != Outcome::Counted;
        while let Some(option) = options.next() {
            if merges && args::is(option, "WEIGHTS") && options.left() >= number {
                for weight in &mut weights {
                    *weight = args::float(options.expect()?)
                        .map_err(|_| CommandError::Other("ERR weight value is not a float"))?;
                }
            } else if merges && args::is(option, "AGGREGATE") {
                call.aggregate = aggregate(options.expect()?)?;
            } else if self.result == Outcome::Answered && args::is(option, "WITHSCORES") {
                call.with_scores = true;
            } else if self.result == Outcome::Counted && args::is(option, "LIMIT") {
                call.limit = args::at_least(options.expect()?, 0, "ERR LIMIT can't be negative")?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        call.inputs = inputs.into_iter().zip(weights).collect();
        Ok(call)
    }

    fn run(self, context: &mut Context<'_>, words: &[Bytes]) -> Executed {
        let call = self.parse(context, words)?;
        if self.result == Outcome::Counted {
            return Ok(Reply::count(call.common()));
        }
        let result = match self.operation {
            Operation::Union => call.union(),
            Operation::Inter => call.inter(),
            Operation::Diff => call.diff(),
        };
        if self.result == Outcome::Answered {
            return Ok(members_reply(result.iter(), call.with_scores));
        }
        let members = result.len();
        context.store(&words[1], result, EventClass::SortedSet, self.name);
        Ok(Reply::count(members))
    }
}

fn inputs(values: Vec<Option<&Value>>) -> Result<Vec<Input<'_>>, CommandError> {
    values
        .into_iter()
        .map(|value| match value {
            None => Ok(Input::None),
            Some(Value::Set(set)) => Ok(Input::Set(set)),
            Some(Value::SortedSet(set)) => Ok(Input::Sorted(set)),
            Some(_) => Err(CommandError::WrongType),
        })
        .collect()
}

fn aggregate(argument: &[u8]) -> Result<Aggregate, CommandError> {
    match () {
        () if args::is(argument, "SUM") => Ok(Aggregate::Sum),
        () if args::is(argument, "MIN") => Ok(Aggregate::Min),
        () if args::is(argument, "MAX") => Ok(Aggregate::Max),
        () => Err(CommandError::Syntax),
    }
}

impl Call<'_> {
    /// Inputs from small to large: the order in which Redis adds scores up, too.
    fn by_size(&self) -> Vec<(Input<'_>, f64)> {
        let mut inputs = self.inputs.clone();
        inputs.sort_by_key(|(input, _)| input.len());
        inputs
    }

    fn union(&self) -> SortedSet {
        let mut scores: Table<f64> = Table::default();
        for (input, weight) in self.by_size() {
            for (member, score) in input.iter() {
                let score = not_nan(weight * score);
                match scores.get_mut(&member) {
                    Some(sum) => *sum = self.aggregate.of(*sum, score),
                    None => {
                        scores.insert(member.into_owned().into(), score);
                    }
                }
            }
        }
        let mut result = SortedSet::default();
        for (member, score) in scores.iter() {
            result.insert(member, *score);
        }
        result
    }

    fn inter(&self) -> SortedSet {
        let mut result = SortedSet::default();
        if let [(smallest, weight), others @ ..] = &*self.by_size() {
            for (member, score) in smallest.iter() {
                let first = not_nan(weight * score);
                let all = others.iter().try_fold(first, |sum, (other, weight)| {
                    Some(self.aggregate.of(sum, weight * other.score(&member)?))
                });
                if let Some(score) = all {
                    result.insert(&member, score);
                }
            }
        }
        result
    }

    fn diff(&self) -> SortedSet {
        let mut result = SortedSet::default();
        if let [(first, _), others @ ..] = &*self.inputs {
            for (member, score) in first.iter() {
                let elsewhere = others
                    .iter()
                    .any(|(other, _)| other.score(&member).is_some());
                if !elsewhere {
                    result.insert(&member, score);
                }
            }
        }
        result
    }

    /// Number of members that all have, up to the limit.
    fn common(&self) -> usize {
        let inputs = self.by_size();
        let [(smallest, _), others @ ..] = &*inputs else {
            return 0;
        };
        let limit = match self.limit {
            0 => usize::MAX,
            limit => limit,
        };
        let common = smallest.iter().filter(|(member, _)| {
            others
                .iter()
                .all(|(other, _)| other.score(member).is_some())
        });
        common.take(limit).count()
    }
}

/// Makes the commands' functions.
macro_rules! commands {
    ($($name:ident: $operation:ident, $result:ident;)*) => {
        $(fn $name(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
            let algebra = Algebra {
                name: stringify!($name),
                operation: Operation::$operation,
                result: Outcome::$result,
            };
            algebra.run(context, words)
        })*
    };
}

commands! {
    zunion: Union, Answered;
    zinter: Inter, Answered;
    zdiff: Diff, Answered;
    zunionstore: Union, Stored;
    zinterstore: Inter, Stored;
    zdiffstore: Diff, Stored;
    zintercard: Inter, Counted;
}
