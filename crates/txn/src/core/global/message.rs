//! What coordinators and participants tell each other. Any of it may be lost, doubled, late, or
//! overtaken by what was sent after it.

use bytes::Bytes;

/// What a coordinator tells one participant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Make sure that you can commit, whatever happens to you, and vote. In three-phase commit
    /// this is "can you commit?".
    Prepare {
        /// What is to be done; the participant's own language.
        payload: Bytes,
        /// All participants' names, by place: those of three-phase commit may need each other.
        peers: Vec<String>,
    },
    /// All have voted yes. Only in three-phase commit.
    PreCommit,
    /// It is decided: commit.
    Commit,
    /// It is decided: abort. To be remembered where a Prepare may still arrive after it.
    Abort,
    /// Tell what you know, and end it among yourselves. Only in three-phase commit.
    Terminate,
    /// A saga's step. Done once, however often it arrives.
    Do {
        /// What is to be done.
        payload: Bytes,
    },
    /// Was the step done?
    Ask,
    /// Undo the step if it was done, and never do it afterwards.
    Compensate {
        /// How to undo it.
        payload: Bytes,
    },
}

/// What a participant tells the coordinators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// It can commit and has written that down; it is in doubt from now on.
    Yes,
    /// The same, where participants may end the transaction among themselves: it knows so many of
    /// them. Who enlisted after it was asked it does not know, and would leave out.
    YesAmong(u16),
    /// It has nothing to commit and wants to hear no more.
    ReadOnly,
    /// It can't, has undone what it began and wants to hear no more.
    No,
    /// It knows that all have voted yes.
    PreCommitted,
    /// It has committed.
    Committed,
    /// It has aborted, or never heard of it and never will take part.
    Aborted,
    /// It was told to commit what it knows nothing of: its vote is lost.
    Unknown,
    /// The step is done.
    Done,
    /// The step is not done, but may yet be, should it be asked for again.
    NotDone,
    /// The step can't be done, and never will be.
    Failed,
    /// The step is undone, or never was done, and never will be.
    Compensated,
}
