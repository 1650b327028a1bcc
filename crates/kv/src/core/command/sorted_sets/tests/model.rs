//! Ranges, pops and stores against sorted vectors.

use bytes::Bytes;
use proptest::prelude::*;

use crate::core::{
    command::{Context, Effects, Flags, Moment, find},
    data::Keyspace,
    number::format_double,
    reply::Reply,
};

/// Members with scores, sorted; two keys of them, and a third that results go to.
type Model = Vec<(f64, String)>;

fn run(keyspace: &mut Keyspace, call: &str) -> Reply {
    let words: Vec<Bytes> = call
        .split(' ')
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect();
    let command = find(&words).unwrap();
    let moment = Moment {
        now_ms: 0,
        seed: 1,
        version: 1,
        reading: command.flags.has(Flags::READONLY),
    };
    let mut effects = Effects::default();
    let mut context = Context::new(keyspace, 0, moment, &mut effects);
    command.run(&mut context, &words).unwrap()
}

fn put(model: &mut Model, member: String, score: f64) {
    model.retain(|(_, other)| *other != member);
    model.push((score, member));
    model.sort_by(|a, b| a.partial_cmp(b).unwrap());
}

fn pairs<'a>(members: impl IntoIterator<Item = &'a (f64, String)>) -> Reply {
    let pairs = members
        .into_iter()
        .map(|(score, member)| (Reply::bulk(member), Reply::Double(*score)));
    Reply::Pairs(pairs.collect())
}

fn count(members: usize) -> Reply {
    Reply::count(members)
}

#[derive(Clone, Debug)]
enum Step {
    Add(usize, Vec<(u8, i8)>),
    Range {
        low: i8,
        high: i8,
        open: bool,
        reverse: bool,
        offset: usize,
        count: i8,
    },
    Ranks(i16, i16, bool),
    Pop(usize, u8, bool),
    RemoveScores(usize, i8, i8),
    RemoveRanks(usize, i16, i16),
    Merge {
        union: bool,
        weight: i8,
        aggregate: usize,
    },
    Diff,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..2_usize;
    let members = proptest::collection::vec((any::<u8>(), -9..9_i8), 1..60);
    let scores = (-10..10_i8, -10..10_i8);
    prop_oneof![
        6 => (key.clone(), members).prop_map(|(key, members)| Step::Add(key, members)),
        3 => (scores.clone(), any::<bool>(), any::<bool>(), 0..9_usize, -1..30_i8).prop_map(
            |((low, high), open, reverse, offset, count)| Step::Range {
                low, high, open, reverse, offset, count,
            }
        ),
        3 => (-300..300_i16, -300..300_i16, any::<bool>())
            .prop_map(|(first, last, reverse)| Step::Ranks(first, last, reverse)),
        2 => (key.clone(), 0..9_u8, any::<bool>())
            .prop_map(|(key, count, max)| Step::Pop(key, count, max)),
        1 => (key.clone(), scores).prop_map(|(key, (low, high))| Step::RemoveScores(key, low, high)),
        1 => (key, -20..20_i16, -20..20_i16)
            .prop_map(|(key, first, last)| Step::RemoveRanks(key, first, last)),
        2 => (any::<bool>(), -3..4_i8, 0..3_usize).prop_map(|(union, weight, aggregate)| {
            Step::Merge { union, weight, aggregate }
        }),
        1 => Just(Step::Diff),
    ]
}

const KEYS: [&str; 2] = ["a", "b"];

/// Members between two ranks as ZRANGE counts them.
fn between(length: usize, first: i16, last: i16) -> std::ops::Range<usize> {
    let length = length as i64;
    let place = |rank: i16| {
        let rank = i64::from(rank);
        if rank < 0 { rank + length } else { rank }
    };
    let (first, end) = (place(first).clamp(0, length), place(last) + 1);
    first as usize..end.clamp(first, length) as usize
}

fn merged(models: &[Model; 2], union: bool, weight: f64, aggregate: usize) -> Model {
    let mut result = Model::new();
    let names = models.iter().flatten().map(|(_, member)| member);
    for name in names {
        let of = |model: &Model, weight: f64| {
            let found = model.iter().find(|(_, member)| member == name);
            found.map(|(score, _)| score * weight)
        };
        let score = match (of(&models[0], 1.0), of(&models[1], weight)) {
            (Some(a), Some(b)) => Some([a + b, a.min(b), a.max(b)][aggregate]),
            (Some(one), None) | (None, Some(one)) if union => Some(one),
            _ => None,
        };
        if let Some(score) = score {
            put(&mut result, name.clone(), score);
        }
    }
    result
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn commands_do_as_a_sorted_vector(steps in proptest::collection::vec(step(), 0..40)) {
        let mut keyspace = Keyspace::default();
        let mut models = [Model::new(), Model::new()];
        for step in steps {
            match step {
                Step::Add(key, members) => {
                    let mut call = format!("ZADD {}", KEYS[key]);
                    let mut added = 0;
                    for (member, score) in members {
                        let (member, score) = (format!("m{member}"), f64::from(score) / 2.0);
                        call.push_str(&format!(" {} {member}", format_double(score)));
                        let model = &mut models[key];
                        added += usize::from(model.iter().all(|(_, other)| *other != member));
                        put(model, member, score);
                    }
                    prop_assert_eq!(run(&mut keyspace, &call), count(added));
                }
                Step::Range { low, high, open, reverse, offset, count } => {
                    let mark = if open { "(" } else { "" };
                    let (first, second) = if reverse { (high, low) } else { (low, high) };
                    let turn = if reverse { " REV" } else { "" };
                    let call = format!(
                        "ZRANGE a {mark}{first} {mark}{second} BYSCORE{turn} LIMIT {offset} {count} WITHSCORES"
                    );
                    let (low, high) = (f64::from(low), f64::from(high));
                    let mut expected: Vec<_> = models[0]
                        .iter()
                        .filter(|(score, _)| {
                            if open { *score > low && *score < high } else { *score >= low && *score <= high }
                        })
                        .collect();
                    if reverse {
                        expected.reverse();
                    }
                    let wanted = usize::try_from(count).unwrap_or(usize::MAX);
                    let expected = expected.into_iter().skip(offset).take(wanted);
                    prop_assert_eq!(run(&mut keyspace, &call), if models[0].is_empty() {
                        Reply::Array(Vec::new())
                    } else {
                        pairs(expected)
                    });
                }
                Step::Ranks(first, last, reverse) => {
                    let turn = if reverse { " REV" } else { "" };
                    let stored = run(&mut keyspace, &format!("ZRANGESTORE d a {first} {last}{turn}"));
                    let mut model = models[0].clone();
                    if reverse {
                        model.reverse();
                    }
                    let mut expected = model[between(model.len(), first, last)].to_vec();
                    prop_assert_eq!(stored, count(expected.len()));
                    expected.sort_by(|a, b| a.partial_cmp(b).unwrap());
                    if !expected.is_empty() {
                        let all = run(&mut keyspace, "ZRANGE d 0 -1 WITHSCORES");
                        prop_assert_eq!(all, pairs(&expected));
                    }
                }
                Step::Pop(key, count, max) => {
                    let name = if max { "ZPOPMAX" } else { "ZPOPMIN" };
                    let popped = run(&mut keyspace, &format!("{name} {} {count}", KEYS[key]));
                    let model = &mut models[key];
                    if model.is_empty() {
                        prop_assert_eq!(popped, Reply::Array(Vec::new()));
                        continue;
                    }
                    let count = usize::from(count).min(model.len());
                    let mut expected: Vec<_> = if max {
                        model.split_off(model.len() - count)
                    } else {
                        model.drain(..count).collect()
                    };
                    if max {
                        expected.reverse();
                    }
                    prop_assert_eq!(popped, pairs(&expected));
                }
                Step::RemoveScores(key, low, high) => {
                    let call = format!("ZREMRANGEBYSCORE {} {low} ({high}", KEYS[key]);
                    let before = models[key].len();
                    models[key].retain(|(score, _)| {
                        *score < f64::from(low) || *score >= f64::from(high)
                    });
                    let removed = before - models[key].len();
                    prop_assert_eq!(run(&mut keyspace, &call), count(removed));
                }
                Step::RemoveRanks(key, first, last) => {
                    let call = format!("ZREMRANGEBYRANK {} {first} {last}", KEYS[key]);
                    let ranks = between(models[key].len(), first, last);
                    let removed = models[key].drain(ranks).count();
                    prop_assert_eq!(run(&mut keyspace, &call), count(removed));
                }
                Step::Merge { union, weight, aggregate } => {
                    let name = if union { "ZUNIONSTORE" } else { "ZINTERSTORE" };
                    let kind = ["SUM", "MIN", "MAX"][aggregate];
                    let call = format!("{name} d 2 a b WEIGHTS 1 {weight} AGGREGATE {kind}");
                    let expected = merged(&models, union, f64::from(weight), aggregate);
                    prop_assert_eq!(run(&mut keyspace, &call), count(expected.len()));
                    if !expected.is_empty() {
                        let all = run(&mut keyspace, "ZRANGE d 0 -1 WITHSCORES");
                        prop_assert_eq!(all, pairs(&expected));
                    }
                }
                Step::Diff => {
                    let expected = models[0].iter().filter(|(_, member)| {
                        models[1].iter().all(|(_, other)| other != member)
                    });
                    let answered = run(&mut keyspace, "ZDIFF 2 a b WITHSCORES");
                    prop_assert_eq!(answered, pairs(expected));
                }
            }
            for (key, model) in KEYS.iter().zip(&models) {
                prop_assert_eq!(run(&mut keyspace, &format!("ZCARD {key}")), count(model.len()));
                for (rank, (_, member)) in model.iter().enumerate().step_by(7) {
                    let answered = run(&mut keyspace, &format!("ZRANK {key} {member}"));
                    prop_assert_eq!(answered, count(rank));
                }
            }
        }
    }
}
