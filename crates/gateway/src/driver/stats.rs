//! What the gateway counts.

use std::sync::atomic::{AtomicU64, Ordering};

use hyper::StatusCode;

use crate::core::breaker::Gauge;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// What it has come to.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters of one gateway, since it started.
#[derive(Debug, Default)]
pub struct Stats {
    /// Requests by the class of their answer's status: 1xx to 5xx.
    pub answers: [Counter; 5],
    /// Attempts after a first one.
    pub retries: Counter,
    /// Retries that were not made because the budget was spent.
    pub retries_refused: Counter,
    /// Endpoints that were left out because of how they answered.
    pub ejections: Counter,
    /// Endpoints that health checks took out.
    pub health_failures: Counter,
    /// Connections to endpoints that could not be opened.
    pub connect_failures: Counter,
    /// Connections to endpoints that were opened.
    pub connects: Counter,
    /// Heads and bodies that were refused because they could be understood in two ways.
    pub malformed: Counter,
    /// Requests and connections that were refused because a limit was reached.
    pub limited: Counter,
    /// Second attempts beside a first one that took long.
    pub hedges: Counter,
    /// Requests without a password or token that is good.
    pub unauthorized: Counter,
    /// Requests and connections from addresses that may not come.
    pub forbidden: Counter,
    /// TLS handshakes with clients that failed.
    pub handshake_failures: Counter,
    /// TLS with endpoints that failed: they are not who they should be, or don't believe us.
    pub endpoint_handshake_failures: Counter,
    /// Connections of TCP listeners.
    pub tcp_connections: Counter,
    /// Clients that are connected.
    pub connections_open: Gauge,
    /// Requests that are open.
    pub requests_open: Gauge,
    /// WebSockets that are open.
    pub tunnels_open: Gauge,
}

impl Stats {
    pub(crate) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5);
        self.answers[class - 1].add_one();
    }
}
