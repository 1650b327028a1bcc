//! Whether a request may take its route.

use std::net::IpAddr;

use atoll_world::clock;
use hyper::{
    header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue},
    http::request,
};
use xxhash_rust::xxh3::xxh3_64;

use super::{answer::Refusal, serve::Client};
use crate::{
    core::{
        basic,
        config::{Auth, RateKey, RouteRate},
        fields::{self, HostError},
        route::without_port,
    },
    driver::table::Target,
};

/// The port of https that need not be said.
const HTTPS_PORT: u16 = 443;
/// Whoever has an address of version 6 has all that begin with as many bits.
const V6_CLIENT_BITS: u32 = 64;

/// Who asks, if the route wants to know.
///
/// # Errors
/// The request may not take the route.
pub(super) async fn admit(
    client: &Client,
    head: &request::Parts,
    host: &HeaderValue,
    target: &Target,
) -> Result<Option<String>, Refusal> {
    let policy = &target.policy;
    if policy.is_broken {
        return Err(Refusal::BrokenRoute);
    }
    if let Some(port) = policy.https_port
        && !client.fields.came_by_tls(&head.headers)
    {
        let location = with_tls(head, host, port)?;
        return Err(Refusal::Elsewhere(location));
    }
    if !policy.sources.permit(client.address.ip()) {
        return Err(Refusal::Forbidden);
    }
    if let (Some(rate), Some(limiter)) = (&policy.rate, &target.limiter) {
        let key = rate_key(rate, client, head);
        if !Box::pin(limiter.take(rate, key, &client.shared)).await {
            return Err(Refusal::Rate);
        }
    }
    let user = match &policy.auth {
        None => None,
        Some(auth) => Some(Box::pin(identify(client, head, auth)).await?),
    };
    let length = head.headers.get(CONTENT_LENGTH);
    let length = length.and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
    match policy.body_bytes_max {
        Some(max) if length.is_some_and(|it| it > max) => Err(Refusal::BodyTooLarge),
        _ => Ok(user),
    }
}

/// The same target at the port with TLS.
fn with_tls(
    head: &request::Parts,
    host: &HeaderValue,
    port: u16,
) -> Result<HeaderValue, HostError> {
    let host = without_port(host.to_str().expect("a settled host is ASCII"));
    if host.is_empty() {
        return Err(HostError::Missing);
    }
    let path = head.uri.path_and_query().map_or("/", |it| it.as_str());
    let location = match port {
        HTTPS_PORT => format!("https://{host}{path}"),
        port => format!("https://{host}:{port}{path}"),
    };
    HeaderValue::try_from(location).map_err(|_| HostError::Malformed)
}

fn rate_key(rate: &RouteRate, client: &Client, head: &request::Parts) -> u64 {
    let source = || match client.address.ip().to_canonical() {
        IpAddr::V4(address) => xxh3_64(&address.octets()),
        IpAddr::V6(address) => {
            let network = u128::from(address) >> (u128::BITS - V6_CLIENT_BITS);
            xxh3_64(&network.to_be_bytes())
        }
    };
    match &rate.by {
        RateKey::All => 0,
        RateKey::Source => source(),
        RateKey::Header(name) => match head.headers.get(name) {
            Some(value) => xxh3_64(value.as_bytes()),
            None => source(),
        },
    }
}

async fn identify(client: &Client, head: &request::Parts, auth: &Auth) -> Result<String, Refusal> {
    let field = fields::only(&head.headers, AUTHORIZATION);
    match auth {
        Auth::Basic { realm, users } => {
            let challenge = || {
                let text = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
                HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Basic"))
            };
            let given = field.and_then(basic::credentials);
            let Some((name, password)) = given else {
                return Err(Refusal::Unauthorized(challenge()));
            };
            let checked = client.shared.passwords.check(users, &name, password).await;
            match checked.ok_or(Refusal::Busy)? {
                true => Ok(name),
                false => Err(Refusal::Unauthorized(challenge())),
            }
        }
        Auth::Jwt(jwt) => {
            let challenge = |error| Refusal::Unauthorized(HeaderValue::from_static(error));
            let Some(token) = field.and_then(fields::bearer) else {
                return Err(challenge("Bearer"));
            };
            jwt.verify(token, clock::wall_ms() / 1_000)
                .map_err(|error| {
                    tracing::debug!(%error, "a token is refused");
                    challenge("Bearer error=\"invalid_token\"")
                })
        }
    }
}
