//! What a coordinator and the replicas of a partition say to each other.

use atoll_base::id::ReplicaId;
use bytes::Bytes;

use crate::core::sessions::Origin;

/// What a coordinator asks a replica for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// Names the request, and lets it take effect once.
    pub origin: Origin,
    /// Whether it changes nothing; then it is not logged.
    pub reads: bool,
    /// Whether the coordinator could not reach whom it thinks the owner is, so that the receiver
    /// should see to it that there is one.
    pub takes_over: bool,
    /// What is to be done, encoded.
    pub operation: Bytes,
}

/// What a replica answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Response<R> {
    /// Which request.
    pub origin: Origin,
    /// What came of it.
    pub outcome: Outcome<R>,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome<R> {
    /// It was done, and is safe.
    Done(R),
    /// It found nothing to do, and waits at the owner until there is something.
    Waits {
        /// What is asked for from now on, whoever is asked.
        again: Bytes,
        /// What is asked for when its time is over.
        last: Bytes,
    },
    /// It found nothing to do, and will never do anything.
    Nothing(R),
    /// Somebody else has to do it; who, if that is known. It may have been logged.
    NotOwner(Option<ReplicaId>),
    /// Too much waits already. It was not logged.
    Busy,
    /// It was applied before, for somebody who had its answer.
    Stale,
}
