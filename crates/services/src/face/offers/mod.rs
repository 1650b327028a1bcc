//! `atoll.v1.Offers`: on the control plane's listener by gRPC and JSON, and by gRPC on the
//! listener of the Kubernetes API.
//!
//! A request goes one way: who asks → may that one → pods held against the schema → one question
//! to the node that leads → answer. Pods are code that runs, so nobody is served here who has not
//! shown who that is, also where the control plane's listener asks nobody; and rights are those
//! of the Kubernetes API.

mod convert;
mod manifest;
mod subscription;

use std::sync::Arc;

use atoll_control::{
    api::ControlApi,
    face::{Connection, Guest},
    proto::internal::Identity,
};
use axum::{
    body::Body,
    http::{HeaderMap, Request, Response},
};
use futures_util::stream::BoxStream;
use tonic::{Request as Call, Response as Reply, Status, codegen::Service as _};

use self::{
    convert::{refused, status},
    subscription::Subscription,
};
use super::{
    body::BODY_BYTES_MAX,
    identity::{self, User, Verb},
    route::Resource,
};
use crate::{
    core::{kinds, names, object, scheduler::TASKS_MAX},
    driver::offers::{
        Offers,
        wire::{Answer, Asked, Verb as Ask},
    },
    proto::{
        self as pb,
        offers_server::{Offers as Served, OffersServer},
    },
};

/// The service's name.
const SERVICE: &str = "atoll.v1.Offers";
/// Where a client names no namespace.
const NAMESPACE: &str = "default";
/// So many namespaces may be named.
const NAMESPACES_MAX: usize = 64;
/// So many offers may be declined at a time.
const DECLINED_MAX: usize = 1_000;
/// For so long what is declined is not offered again, where a client does not say.
const DECLINE_MS_DEFAULT: u64 = 5_000;
/// Paths of the JSON gateway.
const PATHS: &[(&str, &str)] = &[
    ("/v1/offers/subscribe", "Subscribe"),
    ("/v1/offers/accept", "Accept"),
    ("/v1/offers/decline", "Decline"),
    ("/v1/offers/revive", "Revive"),
];

/// Answers.
struct Face<C> {
    asking: Asking<C>,
}

/// What it takes to ask. Clones are the same.
#[derive(Clone)]
struct Asking<C> {
    control: C,
    offers: Offers<C>,
}

/// The service, for the control plane's listener.
pub(crate) fn guest<C: ControlApi>(control: C, offers: Offers<C>) -> Guest {
    let asking = Asking { control, offers };
    let face = Arc::new(Face { asking });
    Guest {
        service: SERVICE,
        descriptors: pb::DESCRIPTORS,
        paths: PATHS,
        call: Arc::new(move |request, bytes_max| {
            let server = OffersServer::from_arc(face.clone());
            let mut server = server.max_decoding_message_size(bytes_max);
            Box::pin(async move {
                let Ok(answer) = server.call(request).await;
                answer
            })
        }),
    }
}

/// Whether a request is a call of this service.
pub(crate) fn is_call(path: &str) -> bool {
    let service = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    service.is_some_and(|(service, _)| service == SERVICE)
}

/// Answers a call on the listener of the Kubernetes API.
pub(crate) async fn answer<C: ControlApi>(
    guest: &Guest,
    control: &C,
    request: Request<Body>,
    connection: &Connection,
) -> Response<Body> {
    let identified = |headers: &HeaderMap| {
        identity::refuse_others(headers)?;
        identity::identify(control, headers, connection)
    };
    let answer = match identified(request.headers()) {
        Ok(user) => {
            let mut request = request.map(tonic::body::Body::new);
            request.extensions_mut().insert(user);
            (guest.call)(request, BODY_BYTES_MAX).await
        }
        Err(failure) => status(&failure).into_http(),
    };
    answer.map(Body::new)
}

impl<C: ControlApi> Asking<C> {
    /// Who asks.
    fn user<T>(&self, call: &Call<T>) -> Result<User, Status> {
        let extensions = call.extensions();
        if let Some(user) = extensions.get::<User>() {
            return Ok(user.clone());
        }
        let identity = extensions.get::<Identity>().cloned().unwrap_or_default();
        let connection = extensions.get::<Arc<Connection>>();
        let common_name = connection.and_then(|it| it.peer_common_name.as_deref());
        identity::identified(&self.control, identity, common_name).map_err(|_| {
            Status::unauthenticated(
                "who runs pods has to show who that is: by a login or a certificate of a user's; while logins are off, by the certificate of root, on the Kubernetes listener",
            )
        })
    }

    /// Refuses who may not create pods in a namespace.
    fn permit(&self, user: &User, namespace: &str) -> Result<(), Status> {
        let pods = Resource {
            kind: &kinds::PODS,
            version: &kinds::PODS,
            namespace: Some(namespace.to_owned()),
            name: None,
            subresource: None,
        };
        let permitted = identity::permit(&self.control, user, Verb("create"), &pods);
        permitted.map_err(|failure| status(&failure))
    }

    async fn ask(
        &self,
        user: &User,
        framework: &str,
        session: u64,
        verb: Ask,
    ) -> Result<Answer, Status> {
        let asked = Asked {
            user: user.name.clone(),
            framework: framework.to_owned(),
            session,
            verb,
        };
        self.offers.ask(asked).await.map_err(|why| refused(&why))
    }
}

fn unexpected() -> Status {
    Status::internal("the node that leads has answered something else than it was asked")
}

/// The namespaces that a framework wants to use.
fn namespaces(named: Vec<String>) -> Result<Vec<String>, Status> {
    if named.len() > NAMESPACES_MAX {
        let message = format!("up to {NAMESPACES_MAX} namespaces can be named");
        return Err(Status::invalid_argument(message));
    }
    if let Some(wrong) = named.iter().find(|it| !names::dns1123_label(it).is_empty()) {
        return Err(Status::invalid_argument(format!(
            "{wrong:?} is not the name of a namespace"
        )));
    }
    Ok(match named.is_empty() {
        true => vec![NAMESPACE.to_owned()],
        false => named,
    })
}

fn check_name(framework: &str) -> Result<(), Status> {
    if framework.is_empty() {
        return Err(Status::invalid_argument("the framework has no name"));
    }
    match names::label_value(framework).first() {
        None => Ok(()),
        Some(wrong) => Err(Status::invalid_argument(format!(
            "the framework can't be called {framework:?}: {wrong}"
        ))),
    }
}

#[tonic::async_trait]
impl<C: ControlApi> Served for Face<C> {
    type SubscribeStream = BoxStream<'static, Result<pb::OfferEvent, Status>>;

    async fn subscribe(
        &self,
        call: Call<pb::SubscribeRequest>,
    ) -> Result<Reply<Self::SubscribeStream>, Status> {
        let user = self.asking.user(&call)?;
        let request = call.into_inner();
        check_name(&request.framework)?;
        let subscription = Subscription::new(
            self.asking.clone(),
            user,
            request.framework,
            request.weight.max(1),
            namespaces(request.namespaces)?,
        );
        subscription.permit()?;
        Ok(Reply::new(subscription.stream()))
    }

    async fn accept(
        &self,
        call: Call<pb::AcceptRequest>,
    ) -> Result<Reply<pb::AcceptResponse>, Status> {
        let user = self.asking.user(&call)?;
        let request = call.into_inner();
        let bytes: usize = request.pods.iter().map(String::len).sum();
        if request.pods.len() > TASKS_MAX || bytes > BODY_BYTES_MAX {
            return Err(Status::invalid_argument(format!(
                "up to {TASKS_MAX} pods can be started by one offer, and their manifests may take {BODY_BYTES_MAX} bytes"
            )));
        }
        let mut pods = Vec::with_capacity(request.pods.len());
        for text in &request.pods {
            let pod = manifest::pod(text).map_err(|failure| status(&failure))?;
            self.asking.permit(&user, object::namespace(&pod))?;
            pods.push(pod);
        }
        let verb = Ask::Accept {
            offer: request.offer,
            pods,
            decline_ms: request.decline_ms.unwrap_or(DECLINE_MS_DEFAULT),
        };
        let answer = self
            .asking
            .ask(&user, &request.framework, request.session, verb);
        match answer.await? {
            Answer::Accepted { node, pods } => Ok(Reply::new(pb::AcceptResponse {
                node,
                pods: pods.into_iter().map(Into::into).collect(),
            })),
            _ => Err(unexpected()),
        }
    }

    async fn decline(
        &self,
        call: Call<pb::DeclineRequest>,
    ) -> Result<Reply<pb::DeclineResponse>, Status> {
        let user = self.asking.user(&call)?;
        let request = call.into_inner();
        if request.offers.len() > DECLINED_MAX {
            return Err(Status::invalid_argument(format!(
                "up to {DECLINED_MAX} offers can be declined at a time"
            )));
        }
        let verb = Ask::Decline {
            offers: request.offers,
            decline_ms: request.decline_ms.unwrap_or(DECLINE_MS_DEFAULT),
        };
        let answer = self
            .asking
            .ask(&user, &request.framework, request.session, verb);
        match answer.await? {
            Answer::Declined { unknown } => Ok(Reply::new(pb::DeclineResponse { unknown })),
            _ => Err(unexpected()),
        }
    }

    async fn revive(
        &self,
        call: Call<pb::ReviveRequest>,
    ) -> Result<Reply<pb::ReviveResponse>, Status> {
        let user = self.asking.user(&call)?;
        let request = call.into_inner();
        let answer = self
            .asking
            .ask(&user, &request.framework, request.session, Ask::Revive);
        match answer.await? {
            Answer::Revived => Ok(Reply::new(pb::ReviveResponse {})),
            _ => Err(unexpected()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn calls_are_told_by_their_path() {
        let table = [
            ("/atoll.v1.Offers/Subscribe", true),
            ("/atoll.v1.Offers", false),
            ("/atoll.v1.OffersX/Subscribe", false),
            ("/api/v1/pods", false),
        ];
        for (path, expected) in table {
            assert_eq!(is_call(path), expected, "{path}");
        }
    }

    #[test]
    fn frameworks_are_called_as_labels_can_be() {
        let table = [
            ("batch", true),
            ("atoll-compute.v1_2", true),
            ("", false),
            ("a b", false),
            ("-a", false),
            (&"a".repeat(64), false),
        ];
        for (name, is_right) in table {
            let checked = check_name(name).map_err(|status| status.code());
            let expected = match is_right {
                true => Ok(()),
                false => Err(Code::InvalidArgument),
            };
            assert_eq!(checked, expected, "{name:?}");
        }
    }

    #[test]
    fn namespaces_are_named_within_bounds() {
        let named = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            namespaces(names).map_err(|status| status.code())
        };
        assert_eq!(named(&[]).unwrap(), [NAMESPACE]);
        assert_eq!(named(&["a", "b"]).unwrap(), ["a", "b"]);
        assert_eq!(named(&["a/b"]), Err(Code::InvalidArgument));
        assert_eq!(named(&[""]), Err(Code::InvalidArgument));
        assert_eq!(
            named(&["a"; NAMESPACES_MAX + 1]),
            Err(Code::InvalidArgument)
        );
    }
}
