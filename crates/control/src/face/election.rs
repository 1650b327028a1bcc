//! The Election service: a queue whose first place leads, with the value of its key for all
//! to see.

use bytes::Bytes;
use tonic::{Request, Response, Status};

use super::{
    Face,
    caller::{Caller, OwnedCaller},
    generate::{Answers, Out, generate},
    methods,
    queue::{
        Place, Turn, created_at, delete_op, first_under, found, get, place_key, prefix, put_op,
        range_op, revision_of,
    },
};
use crate::{
    api::ControlApi,
    proto::{
        etcdserverpb as pb,
        mvccpb::{self, event::EventType},
        v3electionpb::{self as electionpb, election_server::Election},
    },
};

fn missing_leader() -> Status {
    Status::unknown("\"leader\" field must be provided")
}

/// Puts a new value if the place is still the one that was won.
async fn proclaim<C: ControlApi>(
    turn: &Turn<'_, C>,
    place: &Place,
    value: Bytes,
) -> Result<Option<pb::ResponseHeader>, Status> {
    let response = turn
        .txn(pb::TxnRequest {
            compare: vec![created_at(&place.key, place.revision)],
            success: vec![put_op(place.key.clone(), value, place.lease)],
            failure: Vec::new(),
        })
        .await?;
    match response.succeeded {
        true => Ok(response.header),
        false => Err(Status::unknown("election: not leader")),
    }
}

impl<C: ControlApi> Face<C> {
    async fn on_campaign(
        &self,
        caller: Caller<'_>,
        request: electionpb::CampaignRequest,
    ) -> Result<electionpb::CampaignResponse, Status> {
        let turn = Turn::begin(self, caller)?;
        let lease = turn.session(request.lease).await?;
        let prefix = prefix(&request.name);
        let key = place_key(&prefix, lease);
        let response = turn
            .txn(pb::TxnRequest {
                compare: vec![created_at(&key, 0)],
                success: vec![put_op(key.clone(), request.value.clone(), lease)],
                failure: vec![range_op(get(&key))],
            })
            .await?;
        let mut place = Place {
            key,
            revision: revision_of(&response.header),
            lease,
        };
        let standing_there = match response.succeeded {
            true => None,
            false => found(&response, 0),
        };
        if let Some(kv) = standing_there {
            place.revision = kv.create_revision;
        }
        let guard = turn.guard(place.clone());
        if standing_there.is_some_and(|kv| kv.value != request.value) {
            proclaim(&turn, &place, request.value).await?;
        }
        turn.wait_for_older(&prefix, place.revision).await?;
        let place = guard.keep();
        Ok(electionpb::CampaignResponse {
            header: response.header,
            leader: Some(electionpb::LeaderKey {
                name: request.name,
                key: place.key,
                rev: place.revision,
                lease,
            }),
        })
    }

    async fn on_proclaim(
        &self,
        caller: Caller<'_>,
        request: electionpb::ProclaimRequest,
    ) -> Result<electionpb::ProclaimResponse, Status> {
        let turn = Turn::begin(self, caller)?;
        let leader = request.leader.ok_or_else(missing_leader)?;
        let place = Place {
            key: leader.key,
            revision: leader.rev,
            lease: turn.session(leader.lease).await?,
        };
        let header = proclaim(&turn, &place, request.value).await?;
        Ok(electionpb::ProclaimResponse { header })
    }

    async fn on_leader(
        &self,
        caller: Caller<'_>,
        request: electionpb::LeaderRequest,
    ) -> Result<electionpb::LeaderResponse, Status> {
        let turn = Turn::begin(self, caller)?;
        let response = turn.range(first_under(&prefix(&request.name))).await?;
        let header = response.header;
        match response.kvs.into_iter().next() {
            Some(kv) => Ok(electionpb::LeaderResponse {
                header,
                kv: Some(kv),
            }),
            None => Err(Status::unknown("election: no leader")),
        }
    }

    async fn on_resign(
        &self,
        caller: Caller<'_>,
        request: electionpb::ResignRequest,
    ) -> Result<electionpb::ResignResponse, Status> {
        let turn = Turn::begin(self, caller)?;
        let leader = request.leader.ok_or_else(missing_leader)?;
        let response = turn
            .txn(pb::TxnRequest {
                compare: vec![created_at(&leader.key, leader.rev)],
                success: vec![delete_op(leader.key)],
                failure: Vec::new(),
            })
            .await?;
        Ok(electionpb::ResignResponse {
            header: response.header,
        })
    }
}

/// Tells of every leader, and of every value that one proclaims, until the client stops.
async fn observe<C: ControlApi>(
    face: Face<C>,
    caller: OwnedCaller,
    name: Bytes,
    out: Out<electionpb::LeaderResponse>,
) -> Result<(), Status> {
    let turn = Turn::begin(&face, caller.borrow())?;
    let prefix = prefix(&name);
    loop {
        let response = turn.range(first_under(&prefix)).await?;
        let seen_at = revision_of(&response.header);
        let (kv, mut revision) = match response.kvs.into_iter().next() {
            Some(kv) => (kv, seen_at),
            None => first_put(&turn, &prefix, seen_at + 1).await?,
        };
        let key = kv.key.clone();
        let header = turn.header(revision);
        out.send(electionpb::LeaderResponse {
            header,
            kv: Some(kv),
        })
        .await;
        let mut events = turn.watch(key, Bytes::new(), revision + 1).await?;
        'leads: loop {
            let response = events.batch().await?;
            revision = revision_of(&response.header);
            for event in response.events {
                if event.r#type == EventType::Delete as i32 {
                    break 'leads;
                }
                let header = turn.header(revision);
                let kv = event.kv;
                out.send(electionpb::LeaderResponse { header, kv }).await;
            }
        }
    }
}

/// Waits for the first key under a prefix that has none, and says at which revision it came.
async fn first_put<C: ControlApi>(
    turn: &Turn<'_, C>,
    prefix: &Bytes,
    from: i64,
) -> Result<(mvccpb::KeyValue, i64), Status> {
    let range_end = first_under(prefix).range_end;
    let mut events = turn.watch(prefix.clone(), range_end, from).await?;
    loop {
        for event in events.batch().await?.events {
            if event.r#type == EventType::Put as i32
                && let Some(kv) = event.kv
            {
                let revision = kv.mod_revision;
                return Ok((kv, revision));
            }
        }
    }
}

#[tonic::async_trait]
impl<C: ControlApi> Election for Face<C> {
    type ObserveStream = Answers<electionpb::LeaderResponse>;

    methods! {
        campaign: electionpb::CampaignRequest => electionpb::CampaignResponse, on_campaign;
        proclaim: electionpb::ProclaimRequest => electionpb::ProclaimResponse, on_proclaim;
        leader: electionpb::LeaderRequest => electionpb::LeaderResponse, on_leader;
        resign: electionpb::ResignRequest => electionpb::ResignResponse, on_resign;
    }

    async fn observe(
        &self,
        request: Request<electionpb::LeaderRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let caller = Caller::new(metadata.as_ref(), &extensions);
        self.enter(caller, false)?;
        let required = caller.requires_leader();
        let (face, caller) = (self.clone(), caller.to_owned());
        Ok(Response::new(generate(move |out| async move {
            let leadership = face.leadership.clone();
            let work = observe(face, caller, request.name, out);
            leadership.hold(required, work).await
        })))
    }
}
