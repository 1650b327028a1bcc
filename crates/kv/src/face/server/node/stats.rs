//! What a node counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Since the node began, or CONFIG RESETSTAT.
#[derive(Default)]
pub(in crate::face::server) struct Stats {
    connections: AtomicU64,
    refused: AtomicU64,
    commands: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
}

/// A count of [`Stats`] at one moment.
pub(super) struct Counted {
    pub(super) connections: u64,
    pub(super) refused: u64,
    pub(super) commands: u64,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
}

impl Stats {
    /// A connection came, and there was room for it or not.
    pub(in crate::face::server) fn connected(&self, is_admitted: bool) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let refused = u64::from(!is_admitted);
        self.refused.fetch_add(refused, Ordering::Relaxed);
    }

    /// What a connection did since it said so last.
    pub(in crate::face::server) fn add(&self, commands: u64, received: u64, sent: u64) {
        self.commands.fetch_add(commands, Ordering::Relaxed);
        self.received_bytes.fetch_add(received, Ordering::Relaxed);
        self.sent_bytes.fetch_add(sent, Ordering::Relaxed);
    }

    pub(super) fn count(&self) -> Counted {
        Counted {
            connections: self.connections.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            commands: self.commands.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
        }
    }

    pub(super) fn reset(&self) {
        let all = [
            &self.connections,
            &self.refused,
            &self.commands,
            &self.received_bytes,
            &self.sent_bytes,
        ];
        for one in all {
            one.store(0, Ordering::Relaxed);
        }
    }
}
