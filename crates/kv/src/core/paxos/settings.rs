//! Limits and times.

/// Limits and times of a replica. Times decide only when something is tried; safety never
/// depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// An Accept carries entries of no more bytes than this, or one entry.
    pub accept_bytes_max: usize,
    /// So many Accepts may be on their way to one replica.
    pub in_flight_max: usize,
    /// So many entries may wait for their commit; further proposals are refused.
    pub uncommitted_max: u64,
    /// A replica that has not answered for so long is asked again.
    pub resend_ms: u64,
    /// The same for one that is sent a snapshot.
    pub snapshot_resend_ms: u64,
    /// A candidate that fetches another's log waits so long for the next part of it.
    pub fetch_ms: u64,
    /// A log that has been at rest for so long has its commit told.
    pub idle_ms: u64,
    /// An owner that can't be reached is given up after so long, unless somebody else reaches it.
    pub hedge_ms: u64,
    /// A candidate tries again after so long, doubled each time, with chance added.
    pub retry_ms: u64,
    /// A candidate tries so many times.
    pub attempts_max: u32,
    /// Who saw another's Prepare within so long forwards to it instead of outbidding it.
    pub sticky_ms: u64,
    /// Which of the rules that safety rests on are kept: all.
    pub rules: Rules,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            accept_bytes_max: 1 << 20,
            in_flight_max: 64,
            uncommitted_max: 4_096,
            resend_ms: 40,
            snapshot_resend_ms: 1_000,
            fetch_ms: 1_000,
            idle_ms: 5,
            hedge_ms: 30,
            retry_ms: 20,
            attempts_max: 8,
            sticky_ms: 50,
            rules: Rules::default(),
        }
    }
}

/// Rules that safety rests on. A simulation breaks them one by one, to show that it would
/// notice; nobody else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// An Accept of a lower ballot than the promised one is refused.
    pub compares_promise: bool,
    /// Entries keep the ballot that they were born under when another owner takes over.
    pub keeps_births: bool,
    /// A restarted replica owns nothing until it has a new ballot.
    pub forgets_ownership: bool,
    /// Which requests were applied is known to every replica, not to the owner alone.
    pub replicates_sessions: bool,
    /// A read without the owner is answered only where nothing that it rests on is pending.
    pub heeds_pending: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            compares_promise: true,
            keeps_births: true,
            forgets_ownership: true,
            replicates_sessions: true,
            heeds_pending: true,
        }
    }
}

impl Rules {
    /// Whether all are kept.
    pub fn is_sound(&self) -> bool {
        *self == Rules::default()
    }
}
