//! What this node does for its peers when it leads: takes their proposals, confirms their
//! reads, renews their clients' leases, changes the membership.

use std::{future::Future, sync::Arc};

use atoll_base::id::NodeId;
use atoll_world::{
    peers::{Handler, Peers, Reply, Service},
    pki::Keyring,
    task,
};
use bytes::Bytes;
use prost::Message;

use super::{leases::LeaseKeeper, logins::Logins, members::Members, propose, rotation};
use crate::{
    log::Log,
    proto::{cluster::AuthorityRequest, raft as pb},
};

/// Commands for the log.
pub(crate) const PROPOSE: Service = Service(16);
/// A read index, confirmed.
pub(crate) const READ_INDEX: Service = Service(17);
/// What is left of a lease, or its renewal.
pub(crate) const LEASE: Service = Service(18);
/// A change of membership.
pub(crate) const MEMBER: Service = Service(19);
// 20 is `rotation::AUTHORITY`.

/// Logins that were used elsewhere.
pub(crate) const LOGINS: Service = Service(24);

/// Registers the handlers.
pub(crate) fn serve(
    peers: &dyn Peers,
    log: &Log,
    leases: &Arc<LeaseKeeper>,
    members: &Arc<Members>,
    logins: &Arc<Logins>,
    keyring: Option<&Arc<Keyring>>,
) {
    if let Some(keyring) = keyring.cloned() {
        on(
            peers,
            rotation::AUTHORITY,
            move |from, request: AuthorityRequest| {
                tracing::info!(%from, "a member asks for an authority");
                let answer = rotation::hand_over(&keyring, &request);
                async move { Some(answer) }
            },
        );
    }
    let propose = log.clone();
    on(peers, PROPOSE, move |_, request: pb::ProposeRequest| {
        let log = propose.clone();
        async move {
            let batch = propose::batch_of(&request.commands);
            let accepted = match log.propose(batch, None).await {
                Ok(applied) => applied.await.is_ok(),
                Err(_) => false,
            };
            Some(pb::ProposeResponse { accepted })
        }
    });
    let confirm = log.clone();
    on(peers, READ_INDEX, move |_, _: pb::ReadIndexRequest| {
        let log = confirm.clone();
        async move {
            Some(match log.read_index().await {
                Ok(confirmed) => pb::ReadIndexResponse {
                    confirmed: true,
                    index: confirmed.index,
                },
                Err(_) => pb::ReadIndexResponse::default(),
            })
        }
    });
    let leases = leases.clone();
    on(peers, LEASE, move |_, request: pb::LeaseRequest| {
        let leases = leases.clone();
        async move { Some(leases.answer(request).await) }
    });
    let logins = logins.clone();
    on(peers, LOGINS, move |_, report: pb::LoginsUsed| {
        let logins = logins.clone();
        async move { Some(logins.heard(report)) }
    });
    let members = members.clone();
    on(peers, MEMBER, move |from, request: pb::MemberRequest| {
        let members = members.clone();
        async move {
            tracing::info!(%from, ?request, "a peer asks for a change of membership");
            Some(members.answer(request).await)
        }
    });
}

/// Serves one kind of request, each in a task of its own, begun in order of arrival.
fn on<Request, Response, F, Fut>(peers: &dyn Peers, service: Service, handle: F)
where
    Request: Message + Default + 'static,
    Response: Message,
    F: Fn(NodeId, Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Option<Response>> + Send + 'static,
{
    struct On<F, Request>(F, std::marker::PhantomData<fn(Request)>);
    impl<Request, Response, F, Fut> Handler for On<F, Request>
    where
        Request: Message + Default + 'static,
        Response: Message,
        F: Fn(NodeId, Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Option<Response>> + Send + 'static,
    {
        fn handle(&self, from: NodeId, payload: Bytes, reply: Reply) {
            let request = match Request::decode(payload) {
                Ok(request) => request,
                Err(error) => {
                    tracing::warn!(%from, %error, "a peer sent a message that cannot be read");
                    return;
                }
            };
            let answer = (self.0)(from, request);
            task::spawn(async move {
                if let Some(response) = answer.await {
                    reply.send(response.encode_to_vec().into());
                }
            });
        }
    }
    peers.serve(service, Arc::new(On(handle, std::marker::PhantomData)));
}
