//! The Lease service.

use atoll_world::random;
use tonic::{Request, Response, Status, Streaming};

use super::{
    Face,
    caller::{Caller, OwnedCaller, header},
    generate::{Answers, Out, generate},
    methods, reply,
};
use crate::{
    api::{ControlApi, Standing},
    core::error::Error,
    proto::{
        etcdserverpb::{self as pb, lease_server::Lease},
        internal::{Identity, command::Op},
    },
};

/// A new lease's id, where the client named none: random, so that nodes need not agree.
fn draw_lease_id() -> i64 {
    loop {
        // The top bit would make it negative.
        let id = (random::u64() >> 1).cast_signed();
        if id != 0 {
            return id;
        }
    }
}

impl<C: ControlApi> Face<C> {
    pub(crate) async fn on_lease_grant(
        &self,
        caller: Caller<'_>,
        request: pb::LeaseGrantRequest,
    ) -> Result<pb::LeaseGrantResponse, Status> {
        let standing = self.enter(caller, false)?;
        let identity = self.logged_in(caller, &standing)?;
        self.grant(&standing, identity, request).await
    }

    /// Grants a lease, under a new id if the request names none.
    pub(crate) async fn grant(
        &self,
        standing: &Standing,
        identity: Identity,
        mut request: pb::LeaseGrantRequest,
    ) -> Result<pb::LeaseGrantResponse, Status> {
        if request.id == 0 {
            request.id = draw_lease_id();
        }
        let applied = self
            .control
            .propose(identity, Op::LeaseGrant(request))
            .await?;
        let mut response = reply!(applied.reply, LeaseGrant);
        response.header = header(standing, applied.revision.0);
        Ok(response)
    }

    pub(crate) async fn on_lease_revoke(
        &self,
        caller: Caller<'_>,
        request: pb::LeaseRevokeRequest,
    ) -> Result<pb::LeaseRevokeResponse, Status> {
        let standing = self.enter(caller, false)?;
        let identity = self.logged_in(caller, &standing)?;
        let applied = self
            .control
            .propose(identity, Op::LeaseRevoke(request))
            .await?;
        let mut response = reply!(applied.reply, LeaseRevoke);
        response.header = header(&standing, applied.revision.0);
        Ok(response)
    }

    pub(crate) async fn on_lease_time_to_live(
        &self,
        caller: Caller<'_>,
        request: pb::LeaseTimeToLiveRequest,
    ) -> Result<pb::LeaseTimeToLiveResponse, Status> {
        let standing = self.enter(caller, false)?;
        let identity = self.logged_in(caller, &standing)?;
        if request.keys {
            self.control.permit_lease(&identity, request.id, false)?;
        }
        let response = match self.control.time_to_live(request.id, request.keys).await {
            Ok(lease) => pb::LeaseTimeToLiveResponse {
                header: header(&standing, 0),
                id: request.id,
                ttl: seconds(lease.left),
                granted_ttl: seconds(lease.granted),
                keys: lease.keys,
            },
            // A lease that is gone is an answer, not an error.
            Err(Error::LeaseNotFound) => pb::LeaseTimeToLiveResponse {
                header: header(&standing, 0),
                id: request.id,
                ttl: -1,
                ..Default::default()
            },
            Err(error) => return Err(error.into()),
        };
        Ok(response)
    }

    pub(crate) async fn on_lease_leases(
        &self,
        caller: Caller<'_>,
        _request: pb::LeaseLeasesRequest,
    ) -> Result<pb::LeaseLeasesResponse, Status> {
        let standing = self.enter(caller, false)?;
        let identity = self.logged_in(caller, &standing)?;
        let leases = self.control.leases().await?;
        if standing.auth && self.control.require_admin(&identity).is_err() {
            for &lease in &leases {
                self.control.permit_lease(&identity, lease, false)?;
            }
        }
        Ok(pb::LeaseLeasesResponse {
            header: header(&standing, 0),
            leases: leases
                .into_iter()
                .map(|id| pb::LeaseStatus { id })
                .collect(),
        })
    }
}

fn seconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// Renews the leases that the client names, one after the other, until it stops.
async fn keep_alive<C: ControlApi>(
    face: Face<C>,
    caller: OwnedCaller,
    mut requests: Streaming<pb::LeaseKeepAliveRequest>,
    out: Out<pb::LeaseKeepAliveResponse>,
) -> Result<(), Status> {
    while let Some(request) = requests.message().await? {
        // Before the renewal: were the revision read after it, a lease could look alive at a
        // revision at which it had been revoked.
        let standing = face.control.standing();
        let answered = header(&standing, 0);
        let identity = face.logged_in(caller.borrow(), &standing)?;
        if standing.auth && face.control.require_admin(&identity).is_err() {
            face.control.permit_lease(&identity, request.id, true)?;
        }
        let ttl = match face.control.keep_alive(request.id).await {
            Ok(ttl) => ttl,
            Err(Error::LeaseNotFound) => 0,
            Err(error) => return Err(error.into()),
        };
        out.send(pb::LeaseKeepAliveResponse {
            header: answered,
            id: request.id,
            ttl,
        })
        .await;
    }
    Ok(())
}

#[tonic::async_trait]
impl<C: ControlApi> Lease for Face<C> {
    type LeaseKeepAliveStream = Answers<pb::LeaseKeepAliveResponse>;

    methods! {
        lease_grant: pb::LeaseGrantRequest => pb::LeaseGrantResponse, on_lease_grant;
        lease_revoke: pb::LeaseRevokeRequest => pb::LeaseRevokeResponse, on_lease_revoke;
        lease_time_to_live: pb::LeaseTimeToLiveRequest => pb::LeaseTimeToLiveResponse, on_lease_time_to_live;
        lease_leases: pb::LeaseLeasesRequest => pb::LeaseLeasesResponse, on_lease_leases;
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let (metadata, extensions, requests) = request.into_parts();
        let caller = Caller::new(metadata.as_ref(), &extensions);
        self.enter(caller, false)?;
        let required = caller.requires_leader();
        let (face, caller) = (self.clone(), caller.to_owned());
        Ok(Response::new(generate(move |out| async move {
            let leadership = face.leadership.clone();
            let work = keep_alive(face, caller, requests, out);
            leadership.hold(required, work).await
        })))
    }
}
