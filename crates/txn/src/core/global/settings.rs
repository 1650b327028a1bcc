//! Limits and times.

use atoll_control::core::check::TXN_OPS_MAX;

/// Limits and times of a coordinator. Times decide when something is tried or given up; but for
/// [`ByPeers`](super::Termination::ByPeers), safety never depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// So many participants, or steps, may take part in one transaction.
    pub participants_max: usize,
    /// So many transactions may be held in a node's memory; further ones are refused.
    pub transactions_max: usize,
    /// A participant's name is no longer than this.
    pub name_bytes_max: usize,
    /// Payload and compensation of all participants of a transaction together.
    pub payload_bytes_max: usize,
    /// All keys of a transaction together compare so many, and put and delete so many.
    pub keys_ops_max: usize,
    /// So many lines are kept of what people did about a transaction.
    pub audit_lines_max: usize,
    /// A person's name and remark each are no longer than this.
    pub remark_bytes_max: usize,
    /// So many requests may wait for one transaction.
    pub requests_max: usize,
    /// So many branches of a participant's list are looked into at a time.
    pub listed_max: usize,
    /// A client may ask for no longer than this until its transaction is given up.
    pub timeout_ms_max: u64,
    /// Participants have so long to vote.
    pub vote_ms: u64,
    /// A yes is good for so long after it was asked for, where participants may end a transaction
    /// among themselves: shorter than the silence after which they do, by several times what a
    /// message takes.
    pub yes_ms: u64,
    /// Participants have so long to acknowledge that all have voted yes.
    pub pre_commit_ms: u64,
    /// An unanswered order is sent again after so long, doubled each time, with chance added.
    pub retry_ms_min: u64,
    /// No longer than this.
    pub retry_ms_max: u64,
    /// The record of a transaction that has ended is kept for so long, so that clients that
    /// have missed the answer still get it.
    pub keep_ms: u64,
    /// Which of the rules that safety rests on are kept: all.
    pub rules: Rules,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            participants_max: 32,
            transactions_max: 10_000,
            name_bytes_max: 256,
            payload_bytes_max: 256 << 10,
            keys_ops_max: TXN_OPS_MAX,
            audit_lines_max: 64,
            remark_bytes_max: 1_024,
            requests_max: 16,
            listed_max: 1_000,
            timeout_ms_max: 24 * 3_600_000,
            vote_ms: 5_000,
            yes_ms: 5_000,
            pre_commit_ms: 5_000,
            retry_ms_min: 100,
            retry_ms_max: 30_000,
            keep_ms: 600_000,
            rules: Rules::default(),
        }
    }
}

/// Rules that safety rests on. A simulation breaks them one by one, to show that it would
/// notice; nobody else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Nobody is told of a decision before it is in the log.
    pub waits_for_log: bool,
    /// A decision is remembered until every participant has acknowledged it.
    pub remembers_until_acknowledged: bool,
    /// A record is written only over the version that was read.
    pub compares_versions: bool,
    /// A step that may have been done is undone like those that were.
    pub compensates_in_doubt: bool,
    /// A client that asks for a forgotten transaction is told that nothing is known of it, and
    /// not that it was aborted, which only participants may be told.
    pub presumes_for_participants_only: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            waits_for_log: true,
            remembers_until_acknowledged: true,
            compares_versions: true,
            compensates_in_doubt: true,
            presumes_for_participants_only: true,
        }
    }
}
