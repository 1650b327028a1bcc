//! How far an owner has got with one other replica.

use std::collections::VecDeque;

use super::{settings::Settings, types::LogIndex};

/// How entries are sent to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Pace {
    /// One message, then its answer: where the logs meet is not known.
    Probe {
        /// A message is on its way.
        waits: bool,
    },
    /// Many messages on their way.
    Stream,
    /// The state first.
    Snapshot,
}

/// One replica, as the owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Progress {
    /// Up to where its log is the owner's, and synced.
    pub(super) matched: LogIndex,
    /// What is sent next.
    pub(super) next: LogIndex,
    pub(super) pace: Pace,
    /// Where each Accept on its way ends.
    in_flight: VecDeque<LogIndex>,
    /// When it last got or answered something.
    pub(super) heard_at_ms: u64,
    /// The last round in which it confirmed the ballot.
    pub(super) confirmed: u64,
    /// Up to where it was told that the log is committed.
    pub(super) told: LogIndex,
}

impl Progress {
    pub(super) fn new(next: LogIndex, now_ms: u64) -> Self {
        Progress {
            matched: LogIndex::default(),
            next,
            pace: Pace::Probe { waits: false },
            in_flight: VecDeque::new(),
            heard_at_ms: now_ms,
            confirmed: 0,
            told: LogIndex::default(),
        }
    }

    /// Whether one more Accept may go.
    pub(super) fn may_send(&self, in_flight_max: usize) -> bool {
        match self.pace {
            Pace::Probe { waits } => !waits,
            Pace::Stream => self.in_flight.len() < in_flight_max,
            Pace::Snapshot => false,
        }
    }

    /// An Accept that ends there was sent.
    pub(super) fn sent(&mut self, end: LogIndex, commit: LogIndex, now_ms: u64) {
        if !self.waits() {
            self.heard_at_ms = now_ms;
        }
        match &mut self.pace {
            Pace::Probe { waits } => *waits = true,
            Pace::Stream => {
                self.in_flight.push_back(end);
                self.next = end.next();
            }
            Pace::Snapshot => {}
        }
        self.told = commit.min(end);
    }

    /// Its log is the owner's up to there. Says whether that is news.
    pub(super) fn acked(&mut self, matched: LogIndex, now_ms: u64) -> bool {
        self.heard_at_ms = now_ms;
        while self.in_flight.front().is_some_and(|end| *end <= matched) {
            self.in_flight.pop_front();
        }
        let is_news = matched > self.matched;
        self.matched = self.matched.max(matched);
        self.next = self.next.max(self.matched.next());
        if self.pace != Pace::Stream {
            self.next = self.matched.next();
            self.pace = Pace::Stream;
        }
        is_news
    }

    /// Whether an answer is due.
    pub(super) fn waits(&self) -> bool {
        match self.pace {
            Pace::Probe { waits } => waits,
            Pace::Stream => !self.in_flight.is_empty(),
            Pace::Snapshot => true,
        }
    }

    /// When it has to be looked after, if it stays as it is.
    pub(super) fn due_at_ms(&self, commit: LogIndex, settings: &Settings) -> Option<u64> {
        let after_ms = match self.pace {
            Pace::Snapshot => settings.snapshot_resend_ms,
            _ if self.waits() => settings.resend_ms,
            _ if self.told < commit.min(self.matched) => settings.idle_ms,
            _ => return None,
        };
        Some(self.heard_at_ms + after_ms)
    }

    /// Whether it is just being asked for what comes after all that matched.
    pub(super) fn probes_match(&self) -> bool {
        self.pace == Pace::Probe { waits: true } && self.next == self.matched.next()
    }

    /// Begins anew from an index, where nothing below it is known to match.
    pub(super) fn probe(&mut self, from: LogIndex) {
        self.next = from.max(self.matched.next());
        self.pace = Pace::Probe { waits: false };
        self.in_flight.clear();
    }
}
