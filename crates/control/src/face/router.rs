//! Tells apart what arrives on one listener: gRPC calls, the JSON gateway, pages.

use std::{convert::Infallible, sync::Arc};

use atoll_world::clock;
use axum::http::{HeaderName, Request, Response, StatusCode, header::CONTENT_TYPE};
use bytes::Bytes;
use hyper::body::Body;
use tonic::{Status, codegen::Service};

use super::{
    Connection, Face, Figures, Limits,
    body::{FaceBody, GRPC_STATUS},
    browser,
    caller::Caller,
    deadline, gateway,
    guest::Guest,
    health, pages,
    unary::{too_large, unary},
};
use crate::{
    api::ControlApi,
    proto::{
        cluster::{
            authority_server::AuthorityServer, certificates_server::CertificatesServer,
            drains_server::DrainsServer, tokens_server::TokensServer,
        },
        etcdserverpb::{
            auth_server::AuthServer, cluster_server::ClusterServer, kv_server::KvServer,
            lease_server::LeaseServer, maintenance_server::MaintenanceServer,
            watch_server::WatchServer,
        },
        v1::locks_server::LocksServer,
        v3electionpb::election_server::ElectionServer,
        v3lockpb::lock_server::LockServer,
    },
};

const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Prometheus text of everything this process measures.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// Answers every request that comes in on a client listener. Cheap to clone.
pub struct Router<C>(Arc<Inner<C>>);

struct Inner<C> {
    face: Arc<Face<C>>,
    pages: axum::Router,
}

impl<C> Clone for Router<C> {
    fn clone(&self) -> Self {
        Router(self.0.clone())
    }
}

/// The face of a control plane. Has to be called inside the runtime that serves it.
pub fn router<C: ControlApi>(control: C, limits: Limits, metrics: Metrics) -> Router<C> {
    router_with(control, limits, metrics, Vec::new(), Arc::new(Vec::new))
}

/// The same, with services of other crates on the same listener, and what those tell of
/// themselves.
///
/// # Panics
/// If one of them describes itself wrongly.
pub fn router_with<C: ControlApi>(
    control: C,
    limits: Limits,
    metrics: Metrics,
    guests: Vec<Guest>,
    figures: Figures,
) -> Router<C> {
    let face = Arc::new(Face::new(control, limits).with_guests(guests, figures));
    let pages = pages::router(face.clone(), metrics).merge(gateway::router(face.clone()));
    Router(Arc::new(Inner { face, pages }))
}

impl<C: ControlApi> Router<C> {
    /// The same, with pages of others beside its own.
    ///
    /// # Panics
    /// If both have a page under the same path.
    #[must_use]
    pub fn with_pages(self, pages: axum::Router) -> Self {
        Router(Arc::new(Inner {
            face: self.0.face.clone(),
            pages: self.0.pages.clone().merge(pages),
        }))
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.face.limits
    }

    /// Answers one request.
    pub async fn answer<B>(
        self,
        mut request: Request<B>,
        connection: Arc<Connection>,
    ) -> Result<Response<FaceBody>, Infallible>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + std::fmt::Display + Send,
    {
        if is_grpc(&request) {
            return Ok(call(&self.0.face, request, Some(&connection)).await);
        }
        if let Err(reason) = browser::check(&request, &connection, &self.limits().hosts) {
            let page = axum::body::Body::from(format!("{reason}\n"));
            let mut response = Response::new(FaceBody::page(page));
            *response.status_mut() = StatusCode::FORBIDDEN;
            return Ok(response);
        }
        request.extensions_mut().insert(connection);
        let request = request.map(axum::body::Body::new);
        let response = self.0.pages.clone().call(request).await?;
        Ok(response.map(FaceBody::page))
    }
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    request.headers().get(CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes();
        kind.strip_prefix(b"application/grpc")
            .is_some_and(|rest| matches!(rest, [] | [b'+' | b';', ..]))
    })
}

/// Makes a gRPC call, for as long as its client waits: until the answer is there, or begins.
pub(crate) async fn call<C, B>(
    face: &Arc<Face<C>>,
    request: Request<B>,
    connection: Option<&Arc<Connection>>,
) -> Response<FaceBody>
where
    C: ControlApi,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + std::fmt::Display + Send,
{
    match deadline::of(request.headers()) {
        Ok(None) => dispatch(face, request, connection).await,
        Ok(Some(wait)) => clock::timeout(wait, dispatch(face, request, connection))
            .await
            .unwrap_or_else(|_| deadline::exceeded().into_http()),
        Err(malformed) => malformed.into_http(),
    }
}

/// Makes a call. Those that make up nearly all traffic take a shorter way.
async fn dispatch<C, B>(
    face: &Arc<Face<C>>,
    request: Request<B>,
    connection: Option<&Arc<Connection>>,
) -> Response<FaceBody>
where
    C: ControlApi,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + std::fmt::Display + Send,
{
    let bytes_max = face.limits.message_bytes_max();
    let method = request.uri().path();
    if let Some(method) = method.strip_prefix("/etcdserverpb.KV/")
        && let Some(method) = Short::of(method)
    {
        let (parts, body) = request.into_parts();
        let caller = Caller {
            headers: &parts.headers,
            connection: connection.map(|connection| &**connection),
        };
        return match method {
            Short::Range => unary(body, bytes_max, |q| face.kv_range(caller, q)).await,
            Short::Put => unary(body, bytes_max, |q| face.kv_put(caller, q)).await,
            Short::Txn => unary(body, bytes_max, |q| face.kv_txn(caller, q)).await,
            Short::DeleteRange => unary(body, bytes_max, |q| face.kv_delete_range(caller, q)).await,
        };
    }
    let mut request = request.map(tonic::body::Body::new);
    if let Some(connection) = connection {
        request.extensions_mut().insert(connection.clone());
    }
    general(face.clone(), request, bytes_max).await
}

/// Calls of the KV service that take the short way.
enum Short {
    Range,
    Put,
    Txn,
    DeleteRange,
}

impl Short {
    fn of(method: &str) -> Option<Self> {
        match method {
            "Range" => Some(Short::Range),
            "Put" => Some(Short::Put),
            "Txn" => Some(Short::Txn),
            "DeleteRange" => Some(Short::DeleteRange),
            _ => None,
        }
    }
}

/// Makes any call, through the generated services.
async fn general<C: ControlApi>(
    face: Arc<Face<C>>,
    request: Request<tonic::body::Body>,
    bytes_max: usize,
) -> Response<FaceBody> {
    let path = request.uri().path();
    let service = path
        .strip_prefix('/')
        .and_then(|path| path.split_once('/'))
        .map_or("", |(service, _)| service);
    macro_rules! serve {
        ($server:ident) => {
            $server::from_arc(face)
                .max_decoding_message_size(bytes_max)
                .call(request)
                .await
        };
    }
    let response = match service {
        "etcdserverpb.KV" => serve!(KvServer),
        "etcdserverpb.Watch" => serve!(WatchServer),
        "etcdserverpb.Lease" => serve!(LeaseServer),
        "etcdserverpb.Cluster" => serve!(ClusterServer),
        "etcdserverpb.Maintenance" => serve!(MaintenanceServer),
        "etcdserverpb.Auth" => serve!(AuthServer),
        "v3lockpb.Lock" => serve!(LockServer),
        "v3electionpb.Election" => serve!(ElectionServer),
        "atoll.v1.Locks" => serve!(LocksServer),
        "atoll.cluster.v1.Tokens" => serve!(TokensServer),
        "atoll.cluster.v1.Authority" => serve!(AuthorityServer),
        "atoll.cluster.v1.Drains" => serve!(DrainsServer),
        "atoll.cluster.v1.Certificates" => serve!(CertificatesServer),
        "grpc.health.v1.Health" => health::serve(request).await,
        _ => match face.guests.iter().find(|guest| guest.service == service) {
            Some(guest) => match face.admit(request) {
                Ok(request) => Ok((guest.call)(request, bytes_max).await),
                Err(status) => return status.into_http(),
            },
            None => return Status::unimplemented(format!("unknown service {service}")).into_http(),
        },
    };
    let Ok(response) = response;
    reword(response, bytes_max).map(FaceBody::grpc)
}

/// Says in the words that etcd's clients know what tonic words otherwise: that a message was
/// too long.
fn reword(response: Response<tonic::body::Body>, bytes_max: usize) -> Response<tonic::body::Body> {
    let headers = response.headers();
    if headers.get(GRPC_STATUS).is_none_or(|status| status != "11") {
        return response;
    }
    let found = headers
        .get(GRPC_MESSAGE)
        .and_then(|message| message.to_str().ok())
        .and_then(|message| {
            message.strip_prefix("Error,%20decoded%20message%20length%20too%20large:%20found%20")
        })
        .and_then(|rest| rest.split('%').next()?.parse().ok());
    match found {
        Some(bytes) => too_large(bytes, bytes_max).into_http(),
        None => response,
    }
}
