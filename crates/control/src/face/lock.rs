//! The Lock service: a queue whose first place holds the lock.

use tonic::Status;

use super::{
    Face,
    caller::Caller,
    methods,
    queue::{Claim, Turn},
};
use crate::{
    api::ControlApi,
    proto::v3lockpb::{self as lockpb, lock_server::Lock},
};

impl<C: ControlApi> Face<C> {
    async fn on_lock(
        &self,
        caller: Caller<'_>,
        request: lockpb::LockRequest,
    ) -> Result<lockpb::LockResponse, Status> {
        let turn = Turn::begin(self, caller)?;
        let held = turn.acquire(&request.name, request.lease, Claim::Exclusive);
        let held = held.await?;
        let (header, key) = (held.header, held.key);
        Ok(lockpb::LockResponse { header, key })
    }

    async fn on_unlock(
        &self,
        caller: Caller<'_>,
        request: lockpb::UnlockRequest,
    ) -> Result<lockpb::UnlockResponse, Status> {
        let turn = Turn::begin(self, caller)?;
        let header = turn.delete(request.key).await?.header;
        Ok(lockpb::UnlockResponse { header })
    }
}

impl<C: ControlApi> Lock for Face<C> {
    methods! {
        lock: lockpb::LockRequest => lockpb::LockResponse, on_lock;
        unlock: lockpb::UnlockRequest => lockpb::UnlockResponse, on_unlock;
    }
}
