//! What is measured.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! stats {
    ($($(#[doc = $doc:literal])+ $name:ident;)*) => {
        /// Counters and gauges of a node's coordinator, as they are kept.
        #[derive(Debug, Default)]
        pub struct Stats {
            $(pub(super) $name: AtomicU64,)*
        }

        /// The same, as they were at a moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Load {
            $($(#[doc = $doc])+ pub $name: u64,)*
        }

        impl Stats {
            /// How they are now.
            pub fn load(&self) -> Load {
                Load {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                }
            }
        }
    };
}

stats! {
    /// Transactions that were begun through this node.
    begun;
    /// Transactions that this node has brought to their ends, committed.
    committed;
    /// The same, aborted.
    aborted;
    /// Of both, those whose participants have ended differently.
    mixed;
    /// Orders that were sent again.
    retries;
    /// Orders that were not sent because too many were under way.
    postponed;
    /// Transactions that this node took over.
    adopted;
    /// Transactions in memory.
    held;
    /// Of these, those of which participants may hold something prepared or half done.
    in_doubt;
    /// For how long the oldest of those has been in its phase, in milliseconds.
    in_doubt_ms_max;
    /// Transactions in the cluster's log.
    records;
}

pub(super) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn set(gauge: &AtomicU64, value: u64) {
    gauge.store(value, Ordering::Relaxed);
}
