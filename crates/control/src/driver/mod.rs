//! Owns the core and moves bytes between it, the journal, the peers and the watchers.

pub mod watch;
