//! Owns the core and moves bytes between it, the journal, the peers and the watchers.
//!
//! One write's way: [`control`] → [`propose`] → `log` → journal and peers → `log` →
//! [`replica`] → core → watchers, waiters → [`control`]. One read's way: [`control`] →
//! [`barrier`] → [`replica`] → core and store → [`control`].

pub mod backup;
pub(crate) mod barrier;
pub mod certificates;
pub mod control;
pub mod drains;
pub(crate) mod flush;
pub mod generations;
pub(crate) mod history;
pub(crate) mod housekeeping;
pub(crate) mod leader;
pub(crate) mod leases;
pub(crate) mod level;
pub(crate) mod logins;
pub(crate) mod members;
pub(crate) mod passwords;
pub(crate) mod propose;
pub(crate) mod reclaim;
pub mod recovery;
pub mod replica;
pub mod rotation;
pub(crate) mod services;
pub mod swap;
pub mod tokens;
pub mod users;
pub mod vault;
pub mod watch;

pub use members::peer_address;

use crate::proto::internal::{Identity, System, identity::Who};

/// The identity of the cluster itself.
pub fn system_identity() -> Identity {
    Identity {
        who: Some(Who::System(System {})),
    }
}
