//! What is counted of commands (Redis: "INFO" commandstats, errorstats and latencystats, and
//! "LATENCY HISTOGRAM").
//!
//! The time of a command is that from when it was handed over to when its answer was there, so
//! agreement and disk count, and commands that came together each took as long as all of them.
//! What a command waits for other clients is not its time.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    time::Duration,
};

use bytes::Bytes;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::histogram::Histogram;
use crate::{
    core::{command, reply::Reply},
    face::session::{End, Ended},
};

/// So many codes of errors are counted, as by Redis; scripts can make up more.
const CODES_MAX: usize = 128;

/// What is shown of times unless another is asked for.
const PERCENTILES: [f64; 3] = [50.0, 99.0, 99.9];

#[derive(Default)]
struct Counted {
    calls: u64,
    took: Duration,
    rejected: u64,
    failed: u64,
    times: Option<Box<Histogram>>,
}

#[derive(Default)]
struct Tables {
    commands: HashMap<&'static str, Counted, RandomState>,
    errors: BTreeMap<Bytes, u64>,
    errors_total: u64,
}

/// Since the node began, or CONFIG RESETSTAT.
pub(in crate::face::server) struct CommandStats {
    tables: Mutex<Tables>,
    percentiles: Mutex<Vec<f64>>,
}

impl Default for CommandStats {
    fn default() -> Self {
        CommandStats {
            tables: Mutex::default(),
            percentiles: Mutex::new(PERCENTILES.to_vec()),
        }
    }
}

impl CommandStats {
    /// Counts commands that took so long, and their times only if they are kept.
    pub(in crate::face::server) fn note(
        &self,
        ended: impl Iterator<Item = Ended>,
        took: Duration,
        keeps_times: bool,
    ) {
        let mut tables = self.tables.lock();
        for Ended { command, end } in ended {
            if let Some(command) = command {
                let counted = tables.commands.entry(command.name).or_default();
                match &end {
                    End::Rejected(_) => counted.rejected += 1,
                    End::Done | End::Failed(_) | End::FailedInside => {
                        counted.calls += 1;
                        counted.took += took;
                        counted.failed += u64::from(end != End::Done);
                        if keeps_times {
                            counted.times.get_or_insert_default().add(took);
                        }
                    }
                }
            }
            if let End::Failed(code) | End::Rejected(code) = end {
                tables.errors_total += 1;
                let is_full = tables.errors.len() == CODES_MAX;
                if !is_full || tables.errors.contains_key(&code) {
                    *tables.errors.entry(code).or_default() += 1;
                }
            }
        }
    }

    pub(super) fn reset(&self) {
        *self.tables.lock() = Tables::default();
    }

    /// Replies that were errors.
    pub(super) fn errors_total(&self) -> u64 {
        self.tables.lock().errors_total
    }

    pub(super) fn about_commands(&self) -> String {
        let tables = self.tables.lock();
        let mut lines = String::new();
        for (name, counted) in by_name(&tables) {
            let took_us = counted.took.as_micros();
            let each_us = took_us as f64 / counted.calls.max(1) as f64;
            // Writing to a string does not fail.
            let _ = writeln!(
                lines,
                "cmdstat_{name}:calls={},usec={took_us},usec_per_call={each_us:.2},\
                 rejected_calls={},failed_calls={}",
                counted.calls, counted.rejected, counted.failed
            );
        }
        lines
    }

    pub(super) fn about_errors(&self) -> String {
        let tables = self.tables.lock();
        let mut lines = String::new();
        for (code, count) in &tables.errors {
            let code = String::from_utf8_lossy(code);
            let _ = writeln!(lines, "errorstat_{code}:count={count}");
        }
        lines
    }

    pub(super) fn about_times(&self) -> String {
        let (tables, percentiles) = (self.tables.lock(), self.percentiles.lock());
        let mut lines = String::new();
        for (name, counted) in by_name(&tables) {
            let Some(times) = &counted.times else {
                continue;
            };
            let shown = percentiles.iter().map(|percentile| {
                let us = times.percentile(*percentile).as_nanos() as f64 / 1000.0;
                format!("p{percentile}={us:.3}")
            });
            let shown: Vec<String> = shown.collect();
            let _ = writeln!(lines, "latency_percentiles_usec_{name}:{}", shown.join(","));
        }
        lines
    }

    /// LATENCY HISTOGRAM: of these commands, containers with all that they contain; of all, if
    /// none are named.
    pub(super) fn histograms(&self, names: &[Bytes]) -> Reply {
        let tables = self.tables.lock();
        let times = |name: &'static str| {
            let counted = tables.commands.get(name)?;
            let times = counted.times.as_ref()?;
            Some((Reply::bulk(name), histogram(times)))
        };
        if names.is_empty() {
            let all = by_name(&tables);
            return Reply::Map(all.filter_map(|(name, _)| times(name)).collect());
        }
        let mut told = Vec::new();
        for name in names {
            for command in command::all() {
                let is =
                    |command: &command::Command| name.eq_ignore_ascii_case(command.name.as_bytes());
                let inner = command.subcommands.iter();
                let inner = inner.filter(|inner| is(command) || is(inner));
                let outer = Some(command).filter(|command| is(command));
                told.extend(
                    outer
                        .into_iter()
                        .chain(inner)
                        .filter_map(|it| times(it.name)),
                );
            }
        }
        Reply::Map(told)
    }

    /// `latency-tracking-info-percentiles`
    pub(super) fn percentiles(&self) -> String {
        let percentiles = self.percentiles.lock();
        let shown: Vec<String> = percentiles.iter().map(f64::to_string).collect();
        shown.join(" ")
    }

    pub(super) fn set_percentiles(&self, percentiles: Vec<f64>) {
        *self.percentiles.lock() = percentiles;
    }
}

/// Reads `latency-tracking-info-percentiles`.
pub(super) fn parse_percentiles(text: &[u8]) -> Result<Vec<f64>, String> {
    let text = String::from_utf8_lossy(text);
    text.split_ascii_whitespace()
        .map(|word| {
            word.parse()
                .ok()
                .filter(|percentile| (0.0..=100.0).contains(percentile))
                .ok_or_else(|| {
                    "latency-tracking-info-percentiles must be a space separated list of numbers \
                     between 0.0 and 100.0"
                        .to_owned()
                })
        })
        .collect()
}

fn by_name(tables: &Tables) -> impl Iterator<Item = (&'static str, &Counted)> {
    let all: BTreeMap<_, _> = tables
        .commands
        .iter()
        .map(|(name, it)| (*name, it))
        .collect();
    all.into_iter()
}

fn histogram(times: &Histogram) -> Reply {
    let count = |count: u64| Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX));
    let mut buckets = Vec::new();
    for (us, up_to) in times.by_powers() {
        buckets.push((count(us), count(up_to)));
    }
    Reply::Map(vec![
        (Reply::bulk("calls"), count(times.count())),
        (Reply::bulk("histogram_usec"), Reply::Map(buckets)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(stats: &CommandStats, words: &[&'static str], end: End) {
        let words: Vec<Bytes> = words.iter().map(|word| Bytes::from(*word)).collect();
        let command = command::find(&words);
        let ended = [Ended { command, end }];
        stats.note(ended.into_iter(), Duration::from_micros(100), true);
    }

    #[test]
    fn commands_and_errors_are_counted_by_themselves() {
        let stats = CommandStats::default();
        let failed = |code: &'static str| End::Failed(code.into());
        note(&stats, &["get", "a"], End::Done);
        note(&stats, &["get", "a"], failed("WRONGTYPE"));
        note(&stats, &["get"], End::Rejected("ERR".into()));
        note(&stats, &["client", "id"], End::Done);
        note(&stats, &["nonsense"], End::Rejected("ERR".into()));
        assert_eq!(
            stats.about_commands(),
            "cmdstat_client|id:calls=1,usec=100,usec_per_call=100.00,rejected_calls=0,\
             failed_calls=0\n\
             cmdstat_get:calls=2,usec=200,usec_per_call=100.00,rejected_calls=1,failed_calls=1\n"
        );
        assert_eq!(
            stats.about_errors(),
            "errorstat_ERR:count=2\nerrorstat_WRONGTYPE:count=1\n"
        );
        assert_eq!(stats.errors_total(), 3);
        assert!(stats.about_times().contains("usec_get:p50="));
        let names = |reply: Reply| match reply {
            Reply::Map(pairs) => pairs.len(),
            _ => 0,
        };
        assert_eq!(names(stats.histograms(&[])), 2);
        assert_eq!(names(stats.histograms(&["CLIENT".into()])), 1);
        assert_eq!(
            names(stats.histograms(&["client|id".into(), "x".into()])),
            1
        );
        stats.reset();
        assert_eq!(stats.about_commands() + &stats.about_times(), "");
    }

    #[test]
    fn codes_are_bounded() {
        let stats = CommandStats::default();
        for code in 0..2 * CODES_MAX {
            let end = End::Failed(format!("E{code}").into());
            note(&stats, &["get", "a"], end);
        }
        assert_eq!(stats.about_errors().lines().count(), CODES_MAX);
        assert_eq!(stats.errors_total(), 2 * CODES_MAX as u64);
    }

    #[test]
    fn percentiles_are_read() {
        assert_eq!(
            parse_percentiles(b"0.0 50.0 100.0"),
            Ok(vec![0.0, 50.0, 100.0])
        );
        assert_eq!(parse_percentiles(b""), Ok(vec![]));
        for text in ["10.0 50.0 a", "101", "-1", "NaN"] {
            assert!(parse_percentiles(text.as_bytes()).is_err(), "{text}");
        }
    }
}
