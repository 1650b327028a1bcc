//! The Locks service: places in the queue of [`super::queue`] that may be held together.

use tonic::Status;

use super::{
    Face,
    caller::Caller,
    methods,
    queue::{Claim, Turn},
};
use crate::{
    api::ControlApi,
    proto::v1::{self as pb, LockMode, locks_server::Locks},
};

/// The most that may hold a lock together: each that waits looks at all before it.
pub(crate) const PERMITS_MAX: u32 = 10_000;

/// How the lock is wanted.
fn claim(request: &pb::AcquireRequest) -> Result<Claim, Status> {
    match (LockMode::try_from(request.mode), request.permits) {
        (Ok(LockMode::Permit), permits @ 1..=PERMITS_MAX) => Ok(Claim::Permit(permits)),
        (Ok(LockMode::Permit), _) => Err(Status::invalid_argument(format!(
            "permits is how many may hold the lock: 1 to {PERMITS_MAX}"
        ))),
        (_, 1..) => Err(Status::invalid_argument(
            "permits goes with the mode PERMIT",
        )),
        (Ok(LockMode::Exclusive), _) => Ok(Claim::Exclusive),
        (Ok(LockMode::Shared), _) => Ok(Claim::Shared),
        (Err(_), _) => Err(Status::invalid_argument(
            "mode is none of those that there are",
        )),
    }
}

impl<C: ControlApi> Face<C> {
    async fn on_acquire(
        &self,
        caller: Caller<'_>,
        request: pb::AcquireRequest,
    ) -> Result<pb::AcquireResponse, Status> {
        let claim = claim(&request)?;
        let turn = Turn::begin(self, caller)?;
        let held = turn.acquire(&request.name, request.lease, claim).await?;
        Ok(pb::AcquireResponse {
            header: held.header,
            key: held.key,
            token: held.revision,
        })
    }

    async fn on_release(
        &self,
        caller: Caller<'_>,
        request: pb::ReleaseRequest,
    ) -> Result<pb::ReleaseResponse, Status> {
        let turn = Turn::begin(self, caller)?;
        let header = turn.delete(request.key).await?.header;
        Ok(pb::ReleaseResponse { header })
    }
}

impl<C: ControlApi> Locks for Face<C> {
    methods! {
        acquire: pb::AcquireRequest => pb::AcquireResponse, on_acquire;
        release: pb::ReleaseRequest => pb::ReleaseResponse, on_release;
    }
}
