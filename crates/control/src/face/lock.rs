//! The Lock service: a queue whose first place holds the lock.

use bytes::Bytes;
use tonic::Status;

use super::{
    Face,
    caller::Caller,
    methods,
    queue::{
        Place, Turn, created_at, first_under, found, get, place_key, prefix, put_op, range_op,
        revision_of,
    },
};
use crate::{
    api::ControlApi,
    proto::{etcdserverpb as pb, v3lockpb as lockpb, v3lockpb::lock_server::Lock},
};

impl<C: ControlApi> Face<C> {
    async fn on_lock(
        &self,
        caller: Caller<'_>,
        request: lockpb::LockRequest,
    ) -> Result<lockpb::LockResponse, Status> {
        let turn = Turn::begin(self, caller)?;
        let lease = turn.session(request.lease).await?;
        let prefix = prefix(&request.name);
        let key = place_key(&prefix, lease);
        let holder = range_op(first_under(&prefix));
        let response = turn
            .txn(pb::TxnRequest {
                compare: vec![created_at(&key, 0)],
                success: vec![put_op(key.clone(), Bytes::new(), lease), holder.clone()],
                // The same lease has asked before: it stands where it stood.
                failure: vec![range_op(get(&key)), holder],
            })
            .await?;
        let revision = match response.succeeded {
            true => revision_of(&response.header),
            false => found(&response, 0).map_or(0, |kv| kv.create_revision),
        };
        let holds = found(&response, 1).is_none_or(|kv| kv.create_revision == revision);
        if holds {
            let header = response.header;
            return Ok(lockpb::LockResponse { header, key });
        }
        let guard = turn.guard(Place {
            key: key.clone(),
            revision,
            lease,
        });
        turn.wait_for_older(&prefix, revision).await?;
        // The lease may have ended while we waited, and the key with it.
        let response = turn.range(get(&key)).await?;
        guard.keep();
        if response.kvs.is_empty() {
            return Err(Status::unknown("mutex: session is expired"));
        }
        let header = response.header;
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
