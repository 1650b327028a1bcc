//! One request: from its head to the head of its answer.

use std::sync::Arc;

use atoll_world::random;
use hyper::{
    Method, Request, Response, StatusCode, Uri, Version,
    body::{Body, Incoming},
    header::{EXPECT, HeaderValue, SET_COOKIE, TE},
    http::{request, uri},
    upgrade::{self, OnUpgrade},
};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    access::Entry,
    admit::admit,
    answer::Refusal,
    body::{Answer, Held, Open, Outgoing, Watched},
    send::{SendError, Sending, Sent},
    serve::Client,
    session,
    tunnel::Tunnel,
};
use crate::{
    core::{
        breaker::Permit,
        config::{Backend, HashKey, Policy},
        fields, paths,
        route::Asked,
        trace,
    },
    driver::{state::ClusterState, table::Target},
};

/// A request as it goes to an endpoint, and what came with it.
struct Prepared {
    cluster: Arc<ClusterState>,
    request: Request<Outgoing>,
    key: u64,
    /// Its place among the cluster's requests.
    permit: Permit,
    /// The client's side of a WebSocket, if it asks for one.
    upgrade: Option<OnUpgrade>,
    /// Who asks, if the route wants to know.
    user: Option<String>,
    /// What the client is to send with its next requests.
    cookie: Option<HeaderValue>,
}

/// Answers a request.
pub(super) async fn answer(client: &Client, mut request: Request<Incoming>) -> Response<Answer> {
    let shared = &client.shared;
    let began_us = shared.start.elapsed_us();
    let trace = trace::settle(request.headers_mut(), client.traces_percent, random::u64);
    let mut open = Open {
        _busy: client.gate.enter(),
        _request: shared.stats.requests_open.enter(),
        entry: Entry::begin(shared.start, began_us, client.address, trace, &request),
    };
    let answered = match prepare(client, request, began_us).await {
        Ok(prepared) => {
            if let (Some(entry), Some(user)) = (&mut open.entry, &prepared.user) {
                entry.asked_by(user);
            }
            exchange(client, prepared).await
        }
        Err(refusal) => Err(refusal),
    };
    let (mut response, by) = match answered {
        Ok(Exchanged::Answer(response, by)) => (response, Some(by)),
        Ok(Exchanged::Tunnel(response, ends)) => {
            client.gate.open_tunnel();
            shared.stats.answered(response.status());
            if let Some(entry) = &mut open.entry {
                entry.answered(response.status(), Some(ends.by));
            }
            let tunnel = Tunnel {
                client: ends.client,
                endpoint: ends.endpoint,
                stages: client.stages.clone(),
                counted: shared.stats.tunnels_open.enter(),
                held: ends.held,
                open,
            };
            tunnel.run();
            return response;
        }
        Err(refusal) => {
            tracing::debug!(%refusal, "a request is answered by the gateway");
            refusal.count(&shared.stats);
            (refusal.answer(), None)
        }
    };
    client.gate.decline_upgrade();
    shared.stats.answered(response.status());
    if let Some(entry) = &mut open.entry {
        entry.answered(response.status(), by);
    }
    let body = std::mem::replace(response.body_mut(), Answer::text(""));
    *response.body_mut() = body.holding(open);
    response
}

async fn prepare(
    client: &Client,
    mut request: Request<Incoming>,
    now_us: u64,
) -> Result<Prepared, Refusal> {
    if *request.method() == Method::CONNECT {
        return Err(Refusal::Method);
    }
    let wants_websocket =
        fields::wants_websocket(request.method(), request.version(), request.headers());
    let upgrade = wants_websocket.then(|| upgrade::on(&mut request));
    let (mut head, body) = request.into_parts();
    let host = fields::settle_host(head.version, &head.uri, &mut head.headers)?;
    let taken = route(client, &head, &host)?;
    let user = admit(client, &head, &host, &taken).await?;
    let cluster = taken.cluster.clone();
    let limits = &cluster.config.limits;
    if limits
        .rate
        .is_some_and(|rate| !cluster.load.bucket.take(rate, now_us))
    {
        return Err(Refusal::Rate);
    }
    let permit = cluster.load.requests.take(limits.requests_max);
    let permit = permit.ok_or(SendError::Limited)?;
    cluster.load.budget.deposit(&cluster.config.retries);
    let (key, cookie) = hash_key(&cluster.config.policy, client, &head);

    let backend = cluster.config.backend;
    change_fields(client, &mut head, &host, backend);
    if let Some(user) = &user {
        fields::tell_user(&mut head.headers, user);
    }
    // A WebSocket is a thing of HTTP/1.1.
    let upgrade = upgrade.filter(|_| backend == Backend::Http1);
    if upgrade.is_some() {
        fields::set_websocket(&mut head.headers);
    }
    // What endpoints hear by themselves is the scheme of the connection to them.
    let is_tls = client.fields.is_tls || cluster.config.tls.is_some();
    let mut forwarded = Request::new(outgoing(body, taken.policy.body_bytes_max));
    *forwarded.method_mut() = head.method;
    *forwarded.uri_mut() = target(head.uri, backend, &host, is_tls);
    *forwarded.version_mut() = match backend {
        Backend::Http1 => Version::HTTP_11,
        Backend::Http2 => Version::HTTP_2,
    };
    *forwarded.headers_mut() = head.headers;
    Ok(Prepared {
        cluster,
        request: forwarded,
        key,
        permit,
        upgrade,
        user,
        cookie,
    })
}

/// The route of a request, which must be the same however its endpoint reads the path.
fn route(
    client: &Client,
    head: &request::Parts,
    host: &HeaderValue,
) -> Result<Arc<Target>, Refusal> {
    let target = head.uri.path_and_query();
    if target.is_some_and(|it| !paths::is_certain(it.as_str())) {
        return Err(Refusal::Path);
    }
    let table = client.shared.table.borrow();
    let find = |path: &str| {
        let asked = Asked {
            listener: &client.listener,
            host: host.to_str().expect("a settled host is ASCII"),
            path,
            method: &head.method,
            headers: &head.headers,
        };
        table.router.find(&asked).cloned()
    };
    let written = find(head.uri.path());
    if let Some(read) = paths::read(head.uri.path()) {
        let is_same = match (&written, &find(&read)) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        if !is_same {
            return Err(Refusal::Path);
        }
    }
    written.ok_or(Refusal::NoRoute)
}

/// What a consistent hash goes by, and a cookie to go by next time.
fn hash_key(policy: &Policy, client: &Client, head: &request::Parts) -> (u64, Option<HeaderValue>) {
    let Policy::Maglev(of) = policy else {
        return (0, None);
    };
    let value = match of {
        HashKey::Source => None,
        HashKey::Header(name) => head.headers.get(name).map(HeaderValue::as_bytes),
        HashKey::Cookie(name) => fields::cookie(&head.headers, name),
        HashKey::Session(name) => {
            let is_tls = client.fields.came_by_tls(&head.headers);
            return session::key(&head.headers, name, is_tls);
        }
    };
    let key = xxh3_64(value.unwrap_or_else(|| client.fields.address.as_bytes()));
    (key, None)
}

fn change_fields(client: &Client, head: &mut request::Parts, host: &HeaderValue, backend: Backend) {
    let takes_trailers = backend == Backend::Http2 && fields::takes_trailers(&head.headers);
    fields::strip_hop_by_hop(&mut head.headers);
    fields::strip_proxy_credentials(&mut head.headers);
    fields::strip_lookalikes(&mut head.headers);
    // The client was told to go on when its body was asked for.
    head.headers.remove(EXPECT);
    if takes_trailers {
        head.headers
            .insert(TE, HeaderValue::from_static("trailers"));
    }
    client.fields.tell(&mut head.headers, host);
}

fn outgoing(body: Incoming, bytes_max: Option<u64>) -> Outgoing {
    if body.is_end_stream() {
        return Outgoing::Empty;
    }
    Outgoing::Streamed {
        body,
        left: bytes_max.unwrap_or(u64::MAX),
        watched: Watched::default(),
    }
}

/// The target in the form that the endpoint's protocol has.
fn target(uri: Uri, backend: Backend, host: &HeaderValue, is_tls: bool) -> Uri {
    if backend == Backend::Http1 && uri.authority().is_none() {
        return uri;
    }
    let path = uri.into_parts().path_and_query;
    let path = path.unwrap_or_else(|| uri::PathAndQuery::from_static("/"));
    if backend == Backend::Http1 {
        return Uri::from(path);
    }
    let mut parts = uri::Parts::default();
    let authority = uri::Authority::try_from(host.as_bytes());
    parts.authority = authority.ok();
    if parts.authority.is_some() {
        let scheme = if is_tls {
            uri::Scheme::HTTPS
        } else {
            uri::Scheme::HTTP
        };
        parts.scheme = Some(scheme);
    }
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).expect("scheme, authority and path are all there, or only the path")
}

/// What came of a request.
enum Exchanged {
    /// An answer, and who gave it after how many attempts.
    Answer(Response<Answer>, By),
    /// A tunnel.
    Tunnel(Response<Answer>, Box<Ends>),
}

type By = (std::net::SocketAddr, u32);

/// The two sides of a tunnel.
struct Ends {
    client: OnUpgrade,
    endpoint: OnUpgrade,
    held: Held,
    by: By,
}

async fn exchange(client: &Client, prepared: Prepared) -> Result<Exchanged, Refusal> {
    let sending = Sending {
        cluster: &prepared.cluster,
        shared: &client.shared,
        key: prepared.key,
    };
    let Sent {
        mut response,
        lease,
        open,
        endpoint,
        attempts,
    } = sending.send(prepared.request).await?;
    let by = (endpoint, attempts);
    let held = Held {
        _request: prepared.permit,
        _open: open,
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let is_websocket = fields::is_websocket(response.headers());
        let ours = prepared
            .upgrade
            .filter(|_| is_websocket)
            .ok_or(Refusal::Switched)?;
        let ends = Ends {
            client: ours,
            endpoint: upgrade::on(&mut response),
            held,
            by,
        };
        let (mut head, _) = response.into_parts();
        fields::strip_hop_by_hop(&mut head.headers);
        fields::set_websocket(&mut head.headers);
        head.extensions.clear();
        let response = Response::from_parts(head, Answer::text(""));
        return Ok(Exchanged::Tunnel(response, Box::new(ends)));
    }
    let (mut head, body) = response.into_parts();
    fields::strip_hop_by_hop(&mut head.headers);
    head.extensions.clear();
    // Whatever the endpoint spoke, the client's connection knows what it speaks itself.
    head.version = Version::HTTP_11;
    if let Some(cookie) = prepared.cookie {
        head.headers.append(SET_COOKIE, cookie);
    }
    let answer = Answer::streamed(body, lease, held);
    Ok(Exchanged::Answer(Response::from_parts(head, answer), by))
}
