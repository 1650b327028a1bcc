//! The JSON gateway: every path of etcd's, and those of our own services, as a gRPC call in
//! process.
//!
//! JSON becomes the bytes of the message that the API's own description names, goes through
//! the same services as any gRPC call, and the answer comes back as JSON: field names as in
//! the .proto files, 64-bit numbers as strings, bytes as base64, what is unset left out. A
//! field that the API does not have is refused, so that a misspelt one is not silently
//! ignored.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
    },
    response::IntoResponse,
    routing::any,
};
use bytes::{Buf, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, SerializeOptions};
use serde::de::DeserializeSeed;
use serde_json::json;
use tonic::{Code, Status};

use super::{
    Connection, Face,
    body::FaceBody,
    generate::{Out, generate},
    router::call,
    unary::{PREFIX_BYTES, frame, message_bytes},
};
use crate::{api::ControlApi, core::error::Error, proto::DESCRIPTORS};

/// JSON takes more room than the message it stands for: base64 a third more, and names.
const JSON_BYTES_PER_MESSAGE_BYTE: usize = 2;

/// Largest message that is turned into JSON, in bytes. Answers are ours, so this only guards
/// against a broken one.
const ANSWER_BYTES_MAX: usize = i32::MAX as usize;

/// Headers that go on as metadata, under the prefix that gateways use.
const METADATA: [&str; 3] = ["token", "hasleader", "client-api-version"];

pub(crate) const SERIALIZE: SerializeOptions = SerializeOptions::new()
    .use_proto_field_name(true)
    .skip_default_fields(true)
    .stringify_64_bit_integers(true);

/// Path, service, method.
#[rustfmt::skip]
const PATHS: &[(&str, &str, &str)] = &[
    ("/v3/kv/range", "etcdserverpb.KV", "Range"),
    ("/v3/kv/put", "etcdserverpb.KV", "Put"),
    ("/v3/kv/deleterange", "etcdserverpb.KV", "DeleteRange"),
    ("/v3/kv/txn", "etcdserverpb.KV", "Txn"),
    ("/v3/kv/compaction", "etcdserverpb.KV", "Compact"),
    ("/v3/watch", "etcdserverpb.Watch", "Watch"),
    ("/v3/lease/grant", "etcdserverpb.Lease", "LeaseGrant"),
    ("/v3/lease/revoke", "etcdserverpb.Lease", "LeaseRevoke"),
    ("/v3/kv/lease/revoke", "etcdserverpb.Lease", "LeaseRevoke"),
    ("/v3/lease/keepalive", "etcdserverpb.Lease", "LeaseKeepAlive"),
    ("/v3/lease/timetolive", "etcdserverpb.Lease", "LeaseTimeToLive"),
    ("/v3/kv/lease/timetolive", "etcdserverpb.Lease", "LeaseTimeToLive"),
    ("/v3/lease/leases", "etcdserverpb.Lease", "LeaseLeases"),
    ("/v3/kv/lease/leases", "etcdserverpb.Lease", "LeaseLeases"),
    ("/v3/cluster/member/add", "etcdserverpb.Cluster", "MemberAdd"),
    ("/v3/cluster/member/remove", "etcdserverpb.Cluster", "MemberRemove"),
    ("/v3/cluster/member/update", "etcdserverpb.Cluster", "MemberUpdate"),
    ("/v3/cluster/member/list", "etcdserverpb.Cluster", "MemberList"),
    ("/v3/cluster/member/promote", "etcdserverpb.Cluster", "MemberPromote"),
    ("/v3/maintenance/alarm", "etcdserverpb.Maintenance", "Alarm"),
    ("/v3/maintenance/status", "etcdserverpb.Maintenance", "Status"),
    ("/v3/maintenance/defragment", "etcdserverpb.Maintenance", "Defragment"),
    ("/v3/maintenance/hash", "etcdserverpb.Maintenance", "Hash"),
    ("/v3/maintenance/hashkv", "etcdserverpb.Maintenance", "HashKV"),
    ("/v3/maintenance/snapshot", "etcdserverpb.Maintenance", "Snapshot"),
    ("/v3/maintenance/transfer-leadership", "etcdserverpb.Maintenance", "MoveLeader"),
    ("/v3/maintenance/downgrade", "etcdserverpb.Maintenance", "Downgrade"),
    ("/v3/auth/enable", "etcdserverpb.Auth", "AuthEnable"),
    ("/v3/auth/disable", "etcdserverpb.Auth", "AuthDisable"),
    ("/v3/auth/status", "etcdserverpb.Auth", "AuthStatus"),
    ("/v3/auth/authenticate", "etcdserverpb.Auth", "Authenticate"),
    ("/v3/auth/user/add", "etcdserverpb.Auth", "UserAdd"),
    ("/v3/auth/user/get", "etcdserverpb.Auth", "UserGet"),
    ("/v3/auth/user/list", "etcdserverpb.Auth", "UserList"),
    ("/v3/auth/user/delete", "etcdserverpb.Auth", "UserDelete"),
    ("/v3/auth/user/changepw", "etcdserverpb.Auth", "UserChangePassword"),
    ("/v3/auth/user/grant", "etcdserverpb.Auth", "UserGrantRole"),
    ("/v3/auth/user/revoke", "etcdserverpb.Auth", "UserRevokeRole"),
    ("/v3/auth/role/add", "etcdserverpb.Auth", "RoleAdd"),
    ("/v3/auth/role/get", "etcdserverpb.Auth", "RoleGet"),
    ("/v3/auth/role/list", "etcdserverpb.Auth", "RoleList"),
    ("/v3/auth/role/delete", "etcdserverpb.Auth", "RoleDelete"),
    ("/v3/auth/role/grant", "etcdserverpb.Auth", "RoleGrantPermission"),
    ("/v3/auth/role/revoke", "etcdserverpb.Auth", "RoleRevokePermission"),
    ("/v3/lock/lock", "v3lockpb.Lock", "Lock"),
    ("/v3/lock/unlock", "v3lockpb.Lock", "Unlock"),
    ("/v3/election/campaign", "v3electionpb.Election", "Campaign"),
    ("/v3/election/proclaim", "v3electionpb.Election", "Proclaim"),
    ("/v3/election/leader", "v3electionpb.Election", "Leader"),
    ("/v3/election/observe", "v3electionpb.Election", "Observe"),
    ("/v3/election/resign", "v3electionpb.Election", "Resign"),
    ("/v1/locks/acquire", "atoll.v1.Locks", "Acquire"),
    ("/v1/locks/release", "atoll.v1.Locks", "Release"),
];

struct Gateway<C> {
    face: Arc<Face<C>>,
    methods: BTreeMap<&'static str, MethodDescriptor>,
}

pub(crate) fn router<C: ControlApi>(face: Arc<Face<C>>) -> axum::Router {
    let mut methods = methods();
    for guest in face.guests.iter() {
        let paths = guest.paths.iter();
        let paths: Vec<_> = paths
            .map(|(path, method)| (*path, guest.service, *method))
            .collect();
        methods.extend(methods_of(guest.descriptors, &paths));
    }
    let gateway = Arc::new(Gateway { methods, face });
    axum::Router::new()
        .route("/v3/{*path}", any(serve::<C>))
        .route("/v1/{*path}", any(serve::<C>))
        .with_state(gateway)
}

/// The method behind each path.
pub(crate) fn methods() -> BTreeMap<&'static str, MethodDescriptor> {
    methods_of(DESCRIPTORS, PATHS)
}

fn methods_of(
    descriptors: &'static [u8],
    paths: &[(&'static str, &'static str, &'static str)],
) -> BTreeMap<&'static str, MethodDescriptor> {
    let pool = DescriptorPool::decode(descriptors).expect("our own descriptors decode");
    let method = |&(path, service, method): &(&'static str, &str, &str)| {
        let service = pool
            .get_service_by_name(service)
            .expect("every path names a service of ours");
        let method = service.methods().find(|found| found.name() == method);
        (
            path,
            method.expect("every path names a method of its service"),
        )
    };
    paths.iter().map(method).collect()
}

async fn serve<C: ControlApi>(
    State(gateway): State<Arc<Gateway<C>>>,
    request: Request<Body>,
) -> Response<Body> {
    let Some(method) = gateway.methods.get(request.uri().path()) else {
        return refusal(StatusCode::NOT_FOUND, Code::NotFound, "Not Found");
    };
    if request.method() != Method::POST {
        let mut response = refusal(
            StatusCode::METHOD_NOT_ALLOWED,
            Code::Unimplemented,
            "Method Not Allowed",
        );
        let allow = HeaderValue::from_static("POST");
        response.headers_mut().insert(header::ALLOW, allow);
        return response;
    }
    let answered = gateway.make_call(method.clone(), request).await;
    answered.unwrap_or_else(|status| error(&status))
}

impl<C: ControlApi> Gateway<C> {
    async fn make_call(
        &self,
        method: MethodDescriptor,
        request: Request<Body>,
    ) -> Result<Response<Body>, Status> {
        let (parts, body) = request.into_parts();
        let json = self.read_json(body).await?;
        let mut grpc = Request::new(Full::new(messages(&method, &json)?));
        *grpc.uri_mut() = uri_of(&method);
        *grpc.method_mut() = Method::POST;
        *grpc.headers_mut() = metadata(&parts.headers);
        let connection = parts.extensions.get::<Arc<Connection>>();
        let response = call(&self.face, grpc, connection).await;
        let (parts, body) = response.into_parts();
        if let Some(status) = Status::from_header_map(&parts.headers)
            && status.code() != Code::Ok
        {
            return Err(status);
        }
        let mut answers = Answers::new(body);
        if method.is_server_streaming() {
            return stream(&method, answers).await;
        }
        let message = answers
            .next()
            .await?
            .ok_or_else(|| Status::internal("the call ended without an answer"))?;
        let mut json = Vec::new();
        to_json(&method, message, &mut json)?;
        // The status comes after the message.
        answers.next().await?;
        Ok(page(StatusCode::OK, Body::from(json)))
    }

    async fn read_json(&self, body: Body) -> Result<Bytes, Status> {
        let limits = &self.face.limits;
        let bytes_max = limits.message_bytes_max() * JSON_BYTES_PER_MESSAGE_BYTE;
        let read = Limited::new(body, bytes_max).collect();
        match tokio::time::timeout(limits.body_read_timeout, read).await {
            Ok(Ok(read)) => Ok(read.to_bytes()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                Err(Error::RequestTooLarge.into())
            }
            Ok(Err(error)) => Err(Status::cancelled(format!("the request broke off: {error}"))),
            Err(_) => Err(Status::deadline_exceeded(
                "atoll: the body of the request took too long; send it at once",
            )),
        }
    }
}

/// The messages of a request, framed as gRPC frames them. A call that takes a stream takes
/// any number of JSON values, the others take one; nothing at all stands for an empty message.
pub(crate) fn messages(method: &MethodDescriptor, json: &[u8]) -> Result<Bytes, Status> {
    let mut framed = BytesMut::new();
    let mut values = serde_json::Deserializer::from_slice(json);
    while values.end().is_err() {
        if !framed.is_empty() && !method.is_client_streaming() {
            return Err(Status::invalid_argument(
                "more than one JSON value in the body of a request that takes one",
            ));
        }
        let message = method
            .input()
            .deserialize(&mut values)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        framed.extend_from_slice(&frame(&message)?);
    }
    if framed.is_empty() {
        framed.extend_from_slice(&frame(&DynamicMessage::new(method.input()))?);
    }
    Ok(framed.freeze())
}

fn uri_of(method: &MethodDescriptor) -> Uri {
    let service = method.parent_service();
    let path = format!("/{}/{}", service.full_name(), method.name());
    path.try_into()
        .expect("names of services are valid in paths")
}

fn metadata(headers: &HeaderMap) -> HeaderMap {
    let mut metadata = HeaderMap::new();
    let grpc = HeaderValue::from_static("application/grpc");
    metadata.insert(header::CONTENT_TYPE, grpc);
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        metadata.insert(header::AUTHORIZATION, value.clone());
    }
    for name in METADATA {
        if let Some(value) = headers.get(format!("grpc-metadata-{name}")) {
            metadata.insert(HeaderName::from_static(name), value.clone());
        }
    }
    metadata
}

/// The messages of a call's answer.
struct Answers {
    body: FaceBody,
    buffer: BytesMut,
}

impl Answers {
    fn new(body: FaceBody) -> Self {
        Answers {
            body,
            buffer: BytesMut::new(),
        }
    }

    /// The next message; `None` at the end of a call that went well.
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if self.buffer.len() >= PREFIX_BYTES {
                let bytes = message_bytes(&self.buffer, ANSWER_BYTES_MAX)?;
                if self.buffer.len() >= PREFIX_BYTES + bytes {
                    self.buffer.advance(PREFIX_BYTES);
                    return Ok(Some(self.buffer.split_to(bytes).freeze()));
                }
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| Status::internal(error.to_string()))?;
            match frame.into_data() {
                Ok(data) => self.buffer.extend_from_slice(&data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return match Status::from_header_map(&trailers) {
                        Some(status) if status.code() != Code::Ok => Err(status),
                        _ => Ok(None),
                    };
                }
            }
        }
    }
}

fn to_json(method: &MethodDescriptor, message: Bytes, json: &mut Vec<u8>) -> Result<(), Status> {
    let message = DynamicMessage::decode(method.output(), message)
        .map_err(|error| Status::internal(error.to_string()))?;
    message
        .serialize_with_options(&mut serde_json::Serializer::new(json), &SERIALIZE)
        .map_err(|error| Status::internal(error.to_string()))
}

/// Answers with a line of JSON for each message. The first one is awaited, so that a call that
/// fails at once has the status that says so.
async fn stream(method: &MethodDescriptor, mut answers: Answers) -> Result<Response<Body>, Status> {
    let mut message = answers.next().await?;
    let method = method.clone();
    let lines = generate(move |out: Out<Bytes>| async move {
        while let Some(received) = message {
            let mut line = br#"{"result":"#.to_vec();
            to_json(&method, received, &mut line)?;
            line.extend_from_slice(b"}\n");
            out.send(line.into()).await;
            message = match answers.next().await {
                Ok(next) => next,
                Err(status) => {
                    out.send(Bytes::from(format!("{}\n", stream_error(&status))))
                        .await;
                    None
                }
            };
        }
        Ok(())
    });
    Ok(page(StatusCode::OK, Body::from_stream(lines)))
}

/// The HTTP status that stands for a gRPC code.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(499).expect("499 is a status"),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn page(status: StatusCode, body: Body) -> Response<Body> {
    let json = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, json)], body).into_response()
}

fn refusal(status: StatusCode, code: Code, message: &str) -> Response<Body> {
    let body = json!({ "error": message, "code": code as i32, "message": message });
    page(status, Body::from(body.to_string()))
}

fn error(status: &Status) -> Response<Body> {
    refusal(http_status(status.code()), status.code(), status.message())
}

/// An error in the midst of a stream, under the names of both generations of gateways.
fn stream_error(status: &Status) -> serde_json::Value {
    let http = http_status(status.code());
    json!({ "error": {
        "code": status.code() as i32,
        "grpc_code": status.code() as i32,
        "http_code": http.as_u16(),
        "http_status": http.canonical_reason().unwrap_or_default(),
        "message": status.message(),
    }})
}
