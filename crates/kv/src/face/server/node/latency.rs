//! LATENCY: when commands were slow (Redis: "Redis latency monitoring").
//!
//! An event is kept where a command took at least `latency-monitor-threshold` milliseconds: the
//! longest of each second, and of the last [`SAMPLES_MAX`] such seconds. Of a second that is
//! already there the longest counts. Times are those of [`commands`](super::commands).

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
};

use atoll_world::clock;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::core::{
    command::{Command, Flags},
    reply::Reply,
};

/// Seconds of an event that are kept, as by Redis.
const SAMPLES_MAX: usize = 160;

/// The height of a graph, in levels.
const LEVELS: u64 = 4;

#[derive(Clone, Copy)]
struct Sample {
    at_s: u64,
    took_ms: u64,
}

#[derive(Default)]
struct Event {
    samples: VecDeque<Sample>,
    /// The longest of all times, of samples that were dropped as well.
    took_ms_max: u64,
}

/// Events by their names, which are few.
#[derive(Default)]
pub(in crate::face::server) struct Latency(Mutex<BTreeMap<&'static str, Event>>);

impl Latency {
    /// Keeps a command that was slow.
    pub(in crate::face::server) fn add(&self, command: &Command, took_ms: u64) {
        let name = if command.flags.has(Flags::FAST) {
            "fast-command"
        } else {
            "command"
        };
        self.sample(name, clock::wall_ms() / 1000, took_ms);
    }

    fn sample(&self, name: &'static str, at_s: u64, took_ms: u64) {
        let mut events = self.0.lock();
        let event = events.entry(name).or_default();
        event.took_ms_max = event.took_ms_max.max(took_ms);
        match event.samples.back_mut() {
            Some(last) if last.at_s == at_s => last.took_ms = last.took_ms.max(took_ms),
            _ => event.samples.push_back(Sample { at_s, took_ms }),
        }
        if event.samples.len() > SAMPLES_MAX {
            event.samples.pop_front();
        }
    }

    /// Forgets events, all if none are named; how many.
    pub(super) fn reset(&self, names: &[Bytes]) -> Reply {
        let mut events = self.0.lock();
        let before = events.len();
        events.retain(|name, _| !names.is_empty() && !is_named(names, name));
        Reply::count(before - events.len())
    }

    pub(super) fn latest(&self) -> Reply {
        let events = self.0.lock();
        let told = events.iter().filter_map(|(name, event)| {
            let last = event.samples.back()?;
            Some(Reply::Array(vec![
                Reply::bulk(name),
                number(last.at_s),
                number(last.took_ms),
                number(event.took_ms_max),
            ]))
        });
        Reply::Array(told.collect())
    }

    pub(super) fn history(&self, name: &Bytes) -> Reply {
        let events = self.0.lock();
        let event = events
            .iter()
            .find(|(it, _)| is_named(std::slice::from_ref(name), it));
        let samples = event.into_iter().flat_map(|(_, event)| &event.samples);
        let told = samples.map(|it| Reply::Array(vec![number(it.at_s), number(it.took_ms)]));
        Reply::Array(told.collect())
    }

    /// LATENCY GRAPH: a column a sample, as high as it was slow, and how long ago it was below.
    pub(super) fn graph(&self, name: &Bytes) -> Option<Reply> {
        let events = self.0.lock();
        let (known, event) = events
            .iter()
            .find(|(it, _)| is_named(std::slice::from_ref(name), it))?;
        let samples = event.samples.iter();
        let (low, high) = samples.fold((u64::MAX, 0), |(low, high), it| {
            (low.min(it.took_ms), high.max(it.took_ms))
        });
        let mut text = format!(
            "{known} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
            event.took_ms_max,
            "-".repeat(80)
        );
        let level = |it: &Sample| (it.took_ms - low) * (LEVELS - 1) / (high - low).max(1);
        for height in (0..LEVELS).rev() {
            let column = |it: &Sample| match level(it) {
                top if top == height => '#',
                top if top > height => '|',
                _ => ' ',
            };
            text.extend(event.samples.iter().map(column));
            text.push('\n');
        }
        let now_s = clock::wall_ms() / 1000;
        let ages: Vec<Vec<char>> = event.samples.iter().map(|it| age(now_s, it.at_s)).collect();
        for row in 0..ages.iter().map(Vec::len).max().unwrap_or(0) {
            text.push('\n');
            text.extend(ages.iter().map(|age| age.get(row).copied().unwrap_or(' ')));
        }
        text.push('\n');
        Some(Reply::Verbatim(text.into()))
    }

    /// What an operator may conclude.
    pub(super) fn doctor(&self, threshold_ms: i64) -> Reply {
        let events = self.0.lock();
        let mut text = if threshold_ms == 0 {
            "Slow commands are not kept: CONFIG SET latency-monitor-threshold MILLISECONDS says \
             from when on they are.\n"
                .to_owned()
        } else if events.is_empty() {
            format!("No command took {threshold_ms} ms or more since this was last forgotten.\n")
        } else {
            String::new()
        };
        for (name, event) in &*events {
            let samples = event.samples.len() as u64;
            let sum: u64 = event.samples.iter().map(|it| it.took_ms).sum();
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{name}: in {samples} different seconds, {} ms on average, {} ms at worst. Times \
                 contain agreement among replicas and the disk: compare with what INFO \
                 latencystats tells of writes and of reads, and see SLOWLOG for the commands.",
                sum / samples.max(1),
                event.took_ms_max
            );
        }
        Reply::Verbatim(text.into())
    }
}

fn is_named(names: &[Bytes], name: &str) -> bool {
    names
        .iter()
        .any(|it| it.eq_ignore_ascii_case(name.as_bytes()))
}

fn number(number: u64) -> Reply {
    Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

/// How long ago, in the largest unit: `5m`.
fn age(now_s: u64, at_s: u64) -> Vec<char> {
    let age_s = now_s.saturating_sub(at_s);
    let (number, unit) = match age_s {
        0..60 => (age_s, 's'),
        60..3_600 => (age_s / 60, 'm'),
        3_600..86_400 => (age_s / 3_600, 'h'),
        _ => (age_s / 86_400, 'd'),
    };
    format!("{number}{unit}").chars().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(reply: Reply) -> Vec<Reply> {
        match reply {
            Reply::Array(rows) => rows,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_longest_of_each_second_is_kept() {
        let latency = Latency::default();
        for (at_s, took_ms) in [(100, 30), (100, 50), (100, 40), (101, 20)] {
            latency.sample("command", at_s, took_ms);
        }
        latency.sample("fast-command", 101, 7);
        let numbers =
            |numbers: &[i64]| Reply::Array(numbers.iter().copied().map(Reply::Integer).collect());
        assert_eq!(
            rows(latency.history(&"COMMAND".into())),
            [numbers(&[100, 50]), numbers(&[101, 20])]
        );
        let Reply::Array(latest) = &rows(latency.latest())[0] else {
            panic!("an event is an array");
        };
        assert_eq!(latest[0], Reply::bulk("command"));
        assert_eq!(latest[3], Reply::Integer(50));
        assert!(latency.graph(&"command".into()).is_some());
        assert!(latency.graph(&"other".into()).is_none());
        assert_eq!(latency.reset(&["other".into()]), Reply::Integer(0));
        assert_eq!(latency.reset(&["command".into()]), Reply::Integer(1));
        assert_eq!(latency.reset(&[]), Reply::Integer(1));
        assert_eq!(rows(latency.latest()), []);
    }

    #[test]
    fn samples_are_bounded() {
        let latency = Latency::default();
        for at_s in 0..1000 {
            latency.sample("command", at_s, 1000 - at_s);
        }
        assert_eq!(rows(latency.history(&"command".into())).len(), SAMPLES_MAX);
        let Reply::Array(latest) = &rows(latency.latest())[0] else {
            panic!("an event is an array");
        };
        assert_eq!(latest[3], Reply::Integer(1000));
    }
}
