//! The recipe behind locks and elections: who came first, waits for nobody.
//!
//! Everyone who wants something called `name` puts the key `name/LEASE` (the lease's id in
//! hexadecimal), attached to that lease. The keys' create revisions are the queue: the oldest
//! key has it, the others wait until all older ones are deleted, or, where they may share it
//! with them, those only with whom they may not ([`Claim`]). A lease that ends takes its key out,
//! so nobody waits for the dead. Keys are laid out as etcd's own clients lay them out
//! (client/v3/concurrency), so that both may stand in one queue.

use atoll_world::task;
use bytes::Bytes;
use tonic::Status;

use super::{
    Face,
    caller::{Caller, header},
    reply,
};
use crate::{
    api::{ControlApi, Standing, Watches},
    core::error::Error,
    proto::{
        etcdserverpb::{
            self as pb,
            compare::{CompareResult, CompareTarget, TargetUnion},
            range_request::{SortOrder, SortTarget},
            request_op, response_op,
            watch_request::RequestUnion,
        },
        internal::{Identity, command::Op},
        mvccpb::{self, event::EventType},
    },
};

/// Life of a lease that is granted to a caller who brought none, in seconds.
const SESSION_TTL_SECONDS: i64 = 60;

/// One call of a recipe: each step identifies the caller anew, since it may wait for long.
pub(super) struct Turn<'a, C> {
    face: &'a Face<C>,
    caller: Caller<'a>,
}

/// A place in a queue.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) key: Bytes,
    /// Create revision of the key.
    pub(super) revision: i64,
    pub(super) lease: i64,
}

/// How somebody wants a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// Alone.
    Exclusive,
    /// With others who share it.
    Shared,
    /// As one of so many.
    Permit(u32),
}

impl Claim {
    /// The value of a place in the queue. Etcd's own clients leave it empty.
    fn value(self) -> &'static [u8] {
        match self {
            Claim::Exclusive => b"",
            Claim::Shared => b"shared",
            Claim::Permit(_) => b"permit",
        }
    }

    /// What has to be gone first, of the places before one's own, oldest first; none, if it is
    /// one's turn.
    fn hindrance(self, older: &[mvccpb::KeyValue]) -> Option<Hindrance> {
        let is_other =
            |place: &&mvccpb::KeyValue| self == Claim::Exclusive || place.value != self.value();
        if let Some(other) = older.iter().rev().find(is_other) {
            return Some(Hindrance::Place(other.key.clone()));
        }
        match self {
            Claim::Permit(permits) if older.len() >= permits as usize => Some(Hindrance::Any),
            _ => None,
        }
    }
}

/// What somebody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hindrance {
    /// That this place is left.
    Place(Bytes),
    /// That any place is left.
    Any,
}

/// A lock that is held.
pub(super) struct Held {
    pub(super) header: Option<pb::ResponseHeader>,
    pub(super) key: Bytes,
    /// When its place in the queue was made.
    pub(super) revision: i64,
}

/// The prefix under which everyone who wants `name` puts a key.
pub(super) fn prefix(name: &[u8]) -> Bytes {
    [name, b"/"].concat().into()
}

/// The key of one lease under a prefix.
pub(super) fn place_key(prefix: &[u8], lease: i64) -> Bytes {
    [prefix, format!("{lease:x}").as_bytes()].concat().into()
}

/// Where a prefix ends. It ends in a slash, so its successor is one byte up.
fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    let last = end.last_mut().expect("a prefix ends in a slash");
    *last += 1;
    end.into()
}

/// The oldest key under a prefix.
pub(super) fn first_under(prefix: &Bytes) -> pb::RangeRequest {
    pb::RangeRequest {
        key: prefix.clone(),
        range_end: prefix_end(prefix),
        limit: 1,
        sort_order: SortOrder::Ascend as i32,
        sort_target: SortTarget::Create as i32,
        ..Default::default()
    }
}

/// That a key was created at a revision; at 0: that it does not exist.
pub(super) fn created_at(key: &Bytes, revision: i64) -> pb::Compare {
    pb::Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Create as i32,
        key: key.clone(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
        ..Default::default()
    }
}

pub(super) fn put_op(key: Bytes, value: Bytes, lease: i64) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(request_op::Request::RequestPut(pb::PutRequest {
            key,
            value,
            lease,
            ..Default::default()
        })),
    }
}

pub(super) fn delete_op(key: Bytes) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(request_op::Request::RequestDeleteRange(
            pb::DeleteRangeRequest {
                key,
                ..Default::default()
            },
        )),
    }
}

pub(super) fn range_op(request: pb::RangeRequest) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(request_op::Request::RequestRange(request)),
    }
}

pub(super) fn get(key: &Bytes) -> pb::RangeRequest {
    pb::RangeRequest {
        key: key.clone(),
        ..Default::default()
    }
}

/// The first key-value pair that a range inside a transaction found.
pub(super) fn found(response: &pb::TxnResponse, index: usize) -> Option<&mvccpb::KeyValue> {
    match response.responses.get(index)?.response.as_ref()? {
        response_op::Response::ResponseRange(range) => range.kvs.first(),
        _ => None,
    }
}

pub(super) fn revision_of(header: &Option<pb::ResponseHeader>) -> i64 {
    header.as_ref().map_or(0, |header| header.revision)
}

impl<'a, C: ControlApi> Turn<'a, C> {
    /// # Errors
    /// As every call's first checks.
    pub(super) fn begin(face: &'a Face<C>, caller: Caller<'a>) -> Result<Self, Status> {
        face.enter(caller, false)?;
        Ok(Turn { face, caller })
    }

    fn whoever(&self) -> Result<(Standing, Identity), Error> {
        let standing = self.face.control.standing();
        let identity = self.face.identity(self.caller, &standing)?;
        Ok((standing, identity))
    }

    /// The lease that the caller named, or a new one.
    pub(super) async fn session(&self, lease: i64) -> Result<i64, Status> {
        if lease != 0 {
            return Ok(lease);
        }
        let standing = self.face.control.standing();
        let identity = self.face.logged_in(self.caller, &standing)?;
        let request = pb::LeaseGrantRequest {
            ttl: SESSION_TTL_SECONDS,
            id: 0,
        };
        Ok(self.face.grant(&standing, identity, request).await?.id)
    }

    pub(super) async fn txn(&self, request: pb::TxnRequest) -> Result<pb::TxnResponse, Status> {
        self.face.kv_txn(self.caller, request).await
    }

    pub(super) async fn range(
        &self,
        request: pb::RangeRequest,
    ) -> Result<pb::RangeResponse, Status> {
        self.face.kv_range(self.caller, request).await
    }

    pub(super) async fn delete(&self, key: Bytes) -> Result<pb::DeleteRangeResponse, Status> {
        let request = pb::DeleteRangeRequest {
            key,
            ..Default::default()
        };
        self.face.kv_delete_range(self.caller, request).await
    }

    /// A watch on one key or range, from a revision on.
    pub(super) async fn watch(
        &self,
        key: Bytes,
        range_end: Bytes,
        start_revision: i64,
    ) -> Result<Events<C::Watches>, Status> {
        let (_, identity) = self.whoever()?;
        let mut watches = self.face.control.watch(identity.clone());
        watches.identify(identity);
        let create = pb::WatchCreateRequest {
            key,
            range_end,
            start_revision,
            ..Default::default()
        };
        let request = pb::WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        watches.request(request).await?;
        Ok(Events(watches))
    }

    /// A header for what was seen at a revision.
    pub(super) fn header(&self, revision: i64) -> Option<pb::ResponseHeader> {
        header(&self.face.control.standing(), revision)
    }

    /// Stands in line for a lock until it is one's turn.
    pub(super) async fn acquire(
        &self,
        name: &[u8],
        lease: i64,
        claim: Claim,
    ) -> Result<Held, Status> {
        let lease = self.session(lease).await?;
        let prefix = prefix(name);
        let key = place_key(&prefix, lease);
        let first = range_op(first_under(&prefix));
        let value = Bytes::from_static(claim.value());
        let response = self
            .txn(pb::TxnRequest {
                compare: vec![created_at(&key, 0)],
                success: vec![put_op(key.clone(), value, lease), first.clone()],
                // The same lease has asked before: it stands where it stood.
                failure: vec![range_op(get(&key)), first],
            })
            .await?;
        let revision = match (response.succeeded, found(&response, 0)) {
            (true, _) => revision_of(&response.header),
            (false, Some(kv)) if kv.value != claim.value() => {
                return Err(Status::failed_precondition(
                    "this lease wants or holds the lock in another mode",
                ));
            }
            (false, found) => found.map_or(0, |kv| kv.create_revision),
        };
        if found(&response, 1).is_none_or(|kv| kv.create_revision == revision) {
            let header = response.header;
            return Ok(Held {
                header,
                key,
                revision,
            });
        }
        // A place that was there before is not this call's to take back.
        let guard = response.succeeded.then(|| {
            self.guard(Place {
                key: key.clone(),
                revision,
                lease,
            })
        });
        match claim {
            Claim::Exclusive => self.wait_for_older(&prefix, revision).await?,
            _ => self.wait_for_others(&prefix, revision, claim).await?,
        }
        // The lease may have ended while we waited, and the key with it.
        let response = self.range(get(&key)).await?;
        drop(guard.map(Guard::keep));
        let place = response.kvs.first();
        if place.is_none_or(|place| place.create_revision != revision) {
            return Err(Status::unknown("mutex: session is expired"));
        }
        Ok(Held {
            header: response.header,
            key,
            revision,
        })
    }

    /// Waits until a place that was made at `revision` is one that holds the lock.
    async fn wait_for_others(
        &self,
        prefix: &Bytes,
        revision: i64,
        claim: Claim,
    ) -> Result<(), Status> {
        loop {
            let older = pb::RangeRequest {
                limit: 0,
                max_create_revision: revision - 1,
                ..first_under(prefix)
            };
            let response = self.range(older).await?;
            let (key, end) = match claim.hindrance(&response.kvs) {
                None => return Ok(()),
                Some(Hindrance::Place(key)) => (key, Bytes::new()),
                Some(Hindrance::Any) => (prefix.clone(), prefix_end(prefix)),
            };
            let from = revision_of(&response.header) + 1;
            let mut events = self.watch(key, end, from).await?;
            while events.next().await?.r#type != EventType::Delete as i32 {}
        }
    }

    /// Waits until every key under the prefix that was created before `revision` is gone.
    pub(super) async fn wait_for_older(&self, prefix: &Bytes, revision: i64) -> Result<(), Status> {
        loop {
            let newest_older = pb::RangeRequest {
                sort_order: SortOrder::Descend as i32,
                max_create_revision: revision - 1,
                ..first_under(prefix)
            };
            let response = self.range(newest_older).await?;
            let Some(older) = response.kvs.into_iter().next() else {
                return Ok(());
            };
            // What happened up to that revision is in the answer already.
            let from = revision_of(&response.header) + 1;
            let mut events = self.watch(older.key, Bytes::new(), from).await?;
            while events.next().await?.r#type != EventType::Delete as i32 {}
        }
    }

    /// Takes a place in a queue back when it is dropped, unless it was kept.
    pub(super) fn guard(&self, place: Place) -> Guard<C> {
        Guard {
            control: self.face.control.clone(),
            identity: self.whoever().ok().map(|(_, identity)| identity),
            place: Some(place),
        }
    }
}

/// The events of one watch, one by one.
pub(super) struct Events<W>(W);

impl<W: Watches> Events<W> {
    /// All events of the next answer that has any.
    pub(super) async fn batch(&mut self) -> Result<pb::WatchResponse, Status> {
        loop {
            let response = self.0.next().await;
            if response.compact_revision != 0 {
                return Err(Error::Compacted.into());
            }
            if response.canceled {
                return Err(match response.cancel_reason.is_empty() {
                    true => Error::WatchCanceled.into(),
                    false => Status::cancelled(response.cancel_reason),
                });
            }
            if !response.events.is_empty() {
                return Ok(response);
            }
        }
    }

    /// The next event that may matter: the first deletion of an answer, or else its last event.
    async fn next(&mut self) -> Result<mvccpb::Event, Status> {
        let mut events = self.batch().await?.events;
        let deleted = events
            .iter()
            .position(|event| event.r#type == EventType::Delete as i32);
        let index = deleted.unwrap_or(events.len() - 1);
        Ok(events.swap_remove(index))
    }
}

/// See [`Turn::guard`]. A caller who gives up, or whose connection ends, must not block those
/// behind it until its lease ends.
pub(super) struct Guard<C: ControlApi> {
    control: C,
    identity: Option<Identity>,
    place: Option<Place>,
}

impl<C: ControlApi> Guard<C> {
    /// Leaves the place as it is.
    pub(super) fn keep(mut self) -> Place {
        self.place.take().expect("a place is kept once")
    }
}

impl<C: ControlApi> Drop for Guard<C> {
    fn drop(&mut self) {
        let (Some(place), Some(identity)) = (self.place.take(), self.identity.take()) else {
            return;
        };
        let control = self.control.clone();
        drop(task::spawn(async move {
            let request = pb::TxnRequest {
                compare: vec![created_at(&place.key, place.revision)],
                success: vec![delete_op(place.key.clone())],
                failure: Vec::new(),
            };
            match control.propose(identity, Op::Txn(request)).await {
                Ok(applied) => drop(reply!(applied.reply, Txn)),
                Err(error) => tracing::warn!(
                    %error,
                    lease = format_args!("{:x}", place.lease),
                    "a place in a queue stays until its lease ends"
                ),
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(modes: &str) -> Vec<mvccpb::KeyValue> {
        let modes = modes.split_whitespace().enumerate();
        let places = modes.map(|(number, mode)| {
            let claim = match mode {
                "x" => Claim::Exclusive,
                "s" => Claim::Shared,
                _ => Claim::Permit(2),
            };
            mvccpb::KeyValue {
                key: format!("{number}").into(),
                value: Bytes::from_static(claim.value()),
                ..Default::default()
            }
        });
        places.collect()
    }

    #[test]
    fn who_waits_for_whom() {
        let place = |number: &'static str| Some(Hindrance::Place(number.into()));
        for (claim, older, hindrance) in [
            (Claim::Exclusive, "", None),
            (Claim::Exclusive, "s s", place("1")),
            (Claim::Shared, "s s s", None),
            (Claim::Shared, "s x s x s", place("3")),
            (Claim::Shared, "p", place("0")),
            (Claim::Permit(2), "", None),
            (Claim::Permit(2), "p", None),
            (Claim::Permit(2), "p p", Some(Hindrance::Any)),
            (Claim::Permit(3), "p p", None),
            (Claim::Permit(2), "p x p", place("1")),
            (Claim::Permit(2), "s", place("0")),
        ] {
            assert_eq!(
                claim.hindrance(&places(older)),
                hindrance,
                "{claim:?} after {older}"
            );
        }
    }
}
