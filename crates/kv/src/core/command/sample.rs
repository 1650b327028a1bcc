//! Members by chance: SPOP, SRANDMEMBER, ZRANDMEMBER.

use std::collections::HashMap;

use super::{CommandError, Context, args};

/// So many members are answered at most where they may repeat. Redis has no such limit; a reply
/// of any size that a client cares to name would take the node's memory.
const REPEATED_MAX: usize = 1 << 20;

/// How many members a client asks for.
#[derive(Clone, Copy)]
pub(super) enum Sample {
    /// So many different ones, or all there are.
    Distinct(usize),
    /// Exactly so many, and one may come again.
    Repeated(usize),
}

impl Sample {
    /// Reads a count: negative where members may repeat.
    pub(super) fn parse(argument: &[u8]) -> Result<Self, CommandError> {
        let count = args::integer(argument)?;
        if count == i64::MIN {
            return Err(CommandError::Text(format!(
                "ERR value is out of range, value must between {} and {}",
                -i64::MAX,
                i64::MAX
            )));
        }
        let number = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        if count >= 0 {
            Ok(Sample::Distinct(number))
        } else if number <= REPEATED_MAX {
            Ok(Sample::Repeated(number))
        } else {
            Err(CommandError::Other("ERR value is out of range"))
        }
    }

    /// Whether more than so many are asked for.
    pub(super) fn is_beyond(self, count: usize) -> bool {
        match self {
            Sample::Distinct(asked) | Sample::Repeated(asked) => asked > count,
        }
    }

    /// Places of that many members of `length`.
    pub(super) fn places(self, context: &mut Context<'_>, length: usize) -> Vec<usize> {
        match self {
            _ if length == 0 => Vec::new(),
            Sample::Repeated(count) => (0..count).map(|_| context.random_below(length)).collect(),
            Sample::Distinct(count) if count >= length => (0..length).collect(),
            Sample::Distinct(count) => distinct(context, count, length),
        }
    }
}

/// The first steps of a Fisher–Yates shuffle of all places; only those that were swapped are
/// kept, so a few of many cost little.
fn distinct(context: &mut Context<'_>, count: usize, length: usize) -> Vec<usize> {
    let mut swapped: HashMap<usize, usize> = HashMap::new();
    (0..count)
        .map(|at| {
            let other = at + context.random_below(length - at);
            let here = swapped.get(&at).copied().unwrap_or(at);
            swapped.insert(other, here).unwrap_or(other)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::core::{
        command::{Effects, Moment},
        data::Keyspace,
    };

    #[test]
    fn distinct_places_are_distinct_and_every_one_has_its_chance() {
        let (mut keyspace, mut effects) = (Keyspace::default(), Effects::default());
        let moment = Moment {
            now_ms: 0,
            seed: 7,
            version: 1,
            reading: true,
        };
        let mut context = Context::new(&mut keyspace, 0, moment, &mut effects);
        let mut times = [0; 10];
        for _ in 0..10_000 {
            let places = Sample::Distinct(3).places(&mut context, 10);
            let different: BTreeSet<usize> = places.iter().copied().collect();
            assert_eq!((places.len(), different.len()), (3, 3));
            for place in places {
                times[place] += 1;
            }
        }
        // 3,000 each, give or take five standard deviations.
        assert!(
            times.iter().all(|times| (2_770..3_230).contains(times)),
            "{times:?}"
        );
        let all = Sample::Distinct(11).places(&mut context, 10);
        assert_eq!(all, (0..10).collect::<Vec<_>>());
        assert_eq!(Sample::Repeated(50).places(&mut context, 2).len(), 50);
        assert!(Sample::Repeated(50).places(&mut context, 0).is_empty());
    }
}
