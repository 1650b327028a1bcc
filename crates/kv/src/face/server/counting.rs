//! Commands that came to their ends: counted, and kept where they were slow.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Server, monitor,
    node::{commands::CommandStats, config::Setting},
};
use crate::{
    core::{command::Command, machine::Called},
    face::session::{End, Ended, Session, code},
    hub::Calls,
};

/// What a connection answers by itself takes less: only who asks for such short times pays for
/// keeping the words.
const SHORT_US: i64 = 1_000;

/// Counts and shows what scripts call on this node. How long each takes is not looked at: it is
/// the script's time.
pub(super) struct OfScripts(pub(super) Arc<CommandStats>);

impl Calls for OfScripts {
    fn line(&self, database: usize, words: &[Bytes]) -> Bytes {
        monitor::line_of(database, "lua", words)
    }

    fn count(&self, command: Option<&'static Command>, end: Called<'_>) {
        let end = match end {
            Called::Done => End::Done,
            Called::Failed(text) => End::Failed(code(text)),
            Called::Rejected(text) => End::Rejected(code(text)),
        };
        let ended = std::iter::once(Ended { command, end });
        self.0.note(ended, Duration::ZERO, false);
    }
}

impl<A> Server<A> {
    /// Counts what came to its end and took so long.
    pub(super) fn note_ended(&self, session: &mut Session, took: Duration) {
        let shared = &self.0;
        let threshold_ms = shared.config.size(Setting::SlowCommandMs) as u64;
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if threshold_ms > 0 && took_ms >= threshold_ms {
            let run = |end: &End| !matches!(end, End::Rejected(_));
            let ended = session.ended().iter().filter(|ended| run(&ended.end));
            for command in ended.filter_map(|ended| ended.command) {
                shared.latency.add(command, took_ms);
            }
        }
        let keeps_times = shared.config.get(Setting::KeepsTimes) != 0;
        shared
            .commands
            .note(session.take_ended(), took, keeps_times);
    }

    /// Whether even commands are kept that a connection answers by itself.
    pub(super) fn logs_short(&self) -> bool {
        (0..SHORT_US).contains(&self.0.config.get(Setting::SlowerThanUs))
    }

    /// Keeps a command, if it was slow.
    pub(super) fn note_slow(
        &self,
        session: &Session,
        address: &str,
        words: &[Bytes],
        took: Duration,
    ) {
        let shared = &self.0;
        let slower_than_us = shared.config.get(Setting::SlowerThanUs);
        let is_slow = u128::try_from(slower_than_us).is_ok_and(|us| took.as_micros() >= us);
        if is_slow {
            let entries_max = shared.config.size(Setting::SlowEntriesMax);
            let name = session.name().clone();
            shared.slowlog.add(words, took, address, name, entries_max);
        }
    }
}
