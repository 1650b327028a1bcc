//! ZADD and ZINCRBY; GEOADD adds by the same rules.

use bytes::Bytes;

use crate::core::{
    command::{CommandError, Context, EventClass, Executed, args},
    data::{Kind as _, SortedSet},
    reply::Reply,
};

/// What is done about members, according to whether they are there.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::core::command) struct Rules {
    /// NX: those that are there stay as they are.
    pub(in crate::core::command) only_new: bool,
    /// XX: none is added.
    pub(in crate::core::command) only_old: bool,
    /// GT: scores only rise.
    pub(in crate::core::command) only_greater: bool,
    /// LT: scores only fall.
    pub(in crate::core::command) only_less: bool,
    /// INCR: scores are added to those that are there.
    pub(in crate::core::command) increment: bool,
}

impl Rules {
    /// The score that a member gets, if any.
    fn score(self, before: Option<f64>, score: f64) -> Result<Option<f64>, CommandError> {
        let Some(before) = before else {
            return Ok((!self.only_old).then_some(score));
        };
        if self.only_new {
            return Ok(None);
        }
        let score = if self.increment {
            before + score
        } else {
            score
        };
        if score.is_nan() {
            return Err(CommandError::Other(
                "ERR resulting score is not a number (NaN)",
            ));
        }
        let refused = (self.only_less && score >= before) || (self.only_greater && score <= before);
        Ok((!refused).then_some(score))
    }
}

/// What came of adding.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::core::command) struct Added {
    /// Members that are new.
    pub(in crate::core::command) added: usize,
    /// Members whose score is another one now.
    pub(in crate::core::command) updated: usize,
    /// The score that the last member got, if the rules gave it one.
    score: Option<f64>,
}

/// Adds members with scores by the rules. With INCR there is only one of them.
pub(in crate::core::command) fn add(
    context: &mut Context<'_>,
    key: &[u8],
    members: &[(f64, &Bytes)],
    rules: Rules,
) -> Result<Added, CommandError> {
    let mut outcome = Added::default();
    match (context.get::<SortedSet>(key)?, members) {
        (None, _) if rules.only_old => return Ok(outcome),
        (None, [(_, first), ..]) => {
            let set = SortedSet::expecting(first, members.len());
            context.insert(key, set.into_value(), None);
        }
        // Only a sum can fail, and there is one at most: check it before anything changes.
        (Some(set), [(score, member)]) => {
            rules.score(set.score(member), *score)?;
        }
        _ => {}
    }
    let set = context.get_or_add::<SortedSet>(key)?;
    set.expect(members.len());
    for (score, member) in members {
        outcome.score = rules.score(set.score(member), *score)?;
        if let Some(score) = outcome.score {
            match set.insert(member, score) {
                None => outcome.added += 1,
                Some(before) if before != score => outcome.updated += 1,
                Some(_) => {}
            }
        }
    }
    if outcome.added + outcome.updated > 0 {
        let event = if rules.increment { "zincr" } else { "zadd" };
        context.changed(key, EventClass::SortedSet, event);
    }
    Ok(outcome)
}

pub(super) fn zadd(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let mut rules = Rules::default();
    let mut count_updated = false;
    let mut place = 2;
    while let Some(option) = words.get(place) {
        match () {
            () if args::is(option, "NX") => rules.only_new = true,
            () if args::is(option, "XX") => rules.only_old = true,
            () if args::is(option, "GT") => rules.only_greater = true,
            () if args::is(option, "LT") => rules.only_less = true,
            () if args::is(option, "CH") => count_updated = true,
            () if args::is(option, "INCR") => rules.increment = true,
            () => break,
        }
        place += 1;
    }
    let pairs = &words[place..];
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    let refusal = match rules {
        Rules {
            only_new: true,
            only_old: true,
            ..
        } => Some("ERR XX and NX options at the same time are not compatible"),
        Rules {
            only_new,
            only_greater,
            only_less,
            ..
        } if u8::from(only_new) + u8::from(only_greater) + u8::from(only_less) > 1 => {
            Some("ERR GT, LT, and/or NX options at the same time are not compatible")
        }
        Rules {
            increment: true, ..
        } if pairs.len() > 2 => Some("ERR INCR option supports a single increment-element pair"),
        _ => None,
    };
    if let Some(refusal) = refusal {
        return Err(CommandError::Other(refusal));
    }
    let members = pairs
        .chunks_exact(2)
        .map(|pair| Ok((args::float(&pair[0])?, &pair[1])))
        .collect::<Result<Vec<_>, CommandError>>()?;
    let outcome = add(context, &words[1], &members, rules)?;
    Ok(match (rules.increment, count_updated) {
        (true, _) => outcome.score.map_or(Reply::Null, Reply::Double),
        (false, true) => Reply::count(outcome.added + outcome.updated),
        (false, false) => Reply::count(outcome.added),
    })
}

pub(super) fn zincrby(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let rules = Rules {
        increment: true,
        ..Rules::default()
    };
    let members = [(args::float(&words[2])?, &words[3])];
    let outcome = add(context, &words[1], &members, rules)?;
    Ok(outcome.score.map_or(Reply::Null, Reply::Double))
}
