//! What an Ingress asks for beyond its paths, by annotations `atoll.dev/…`. Others are not
//! looked at. One of ours that can't be understood breaks the Ingress's routes.

use std::sync::Arc;

use hyper::header::HeaderName;
use serde_json::Value;

use super::{
    Doors, Index, Key, backend_tls, health, key,
    matches::{self, Matches},
    written::{PREFIX, UNKNOWN, Written},
};
use crate::core::{
    config::{
        Auth, BackendTls, Cluster, HashKey, HealthCheck, Hedge, Policy, Rate, RateKey, RoutePolicy,
        RouteRate,
    },
    jwt::Jwt,
    sources::networks,
};

/// How far apart clocks may be, of who signs tokens and of this node.
const LEEWAY_S: u64 = 30;

/// What one Ingress asks for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) policy: RoutePolicy,
    pub(super) matches: Matches,
    /// What can't be understood.
    pub(super) problems: Vec<String>,
    changes: Vec<Change>,
}

/// What is to be changed about the clusters of its backends.
#[derive(Debug)]
enum Change {
    Balancer(Policy),
    ResponseMs(u64),
    ConnectMs(u64),
    IdleMs(u64),
    Retries(u32),
    Hedge(u64),
    Tls(Option<BackendTls>),
    Health(Option<HealthCheck>),
}

impl Asked {
    pub(super) fn of(ingress: &Value, index: &Index<'_>, doors: &Doors) -> Self {
        let mut asked = Asked::default();
        let (namespace, name) = key(ingress);
        let context = Context {
            index,
            doors,
            namespace,
            name,
            all: &ingress["metadata"]["annotations"],
        };
        let annotations = ingress["metadata"]["annotations"].as_object();
        for (name, value) in annotations.into_iter().flatten() {
            let Some(short) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let text = value.as_str().unwrap_or_default().trim();
            if let Err(problem) = asked.take(short, text, &context) {
                asked.policy.is_broken = true;
                asked.problems.push(format!("annotation {name}: {problem}"));
            }
        }
        asked
    }

    /// Whether its backends are to be used in another way than their Services say.
    pub(super) fn changes_clusters(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Changes a backend's cluster, which is this Service's.
    pub(super) fn change(&self, cluster: &mut Cluster, service: Key<'_>) {
        for change in &self.changes {
            match change {
                Change::Balancer(policy) => cluster.policy = policy.clone(),
                Change::ResponseMs(ms) => cluster.timeouts.response_ms = *ms,
                Change::ConnectMs(ms) => cluster.timeouts.connect_ms = *ms,
                Change::IdleMs(ms) => cluster.timeouts.idle_ms = *ms,
                Change::Retries(attempts) => cluster.retries.attempts_max = *attempts,
                Change::Tls(tls) => {
                    let named = |tls: &BackendTls| tls.clone().of_service(service);
                    cluster.tls = tls.as_ref().map(named);
                }
                Change::Health(check) => cluster.health.clone_from(check),
                Change::Hedge(after_ms) => {
                    cluster.hedge = Some(Hedge {
                        after_ms: *after_ms,
                    });
                }
            }
        }
    }

    fn take(&mut self, name: &str, text: &str, context: &Context<'_>) -> Result<(), String> {
        let policy = &mut self.policy;
        match name {
            "balancer" => self.changes.push(Change::Balancer(balancer(text)?)),
            "affinity" => {
                let policy = Policy::Maglev(hash_key(text)?);
                self.changes.push(Change::Balancer(policy));
            }
            "response-timeout-ms" => {
                self.changes
                    .push(Change::ResponseMs(number(text, 1, DAY_MS)?));
            }
            "connect-timeout-ms" => self
                .changes
                .push(Change::ConnectMs(number(text, 1, DAY_MS)?)),
            "idle-timeout-ms" => self.changes.push(Change::IdleMs(number(text, 1, DAY_MS)?)),
            "retries" => {
                let attempts = number(text, 0, 10)?;
                self.changes.push(Change::Retries(attempts as u32));
            }
            "hedge-after-ms" => self.changes.push(Change::Hedge(number(text, 1, DAY_MS)?)),
            "rate-limit" => policy.rate = Some(context.rate(text)?),
            // Read together with the rate.
            "rate-limit-by" | "rate-limit-scope" => context.needs("rate-limit")?,
            "allow" => policy.sources.allow = some_networks(text)?,
            "deny" => policy.sources.deny = some_networks(text)?,
            "basic-auth-secret" | "jwt-secret" => context.auth(&mut policy.auth, name, text)?,
            "basic-auth-realm" => context.needs("basic-auth-secret")?,
            "jwt-issuer" | "jwt-audience" => context.needs("jwt-secret")?,
            "body-bytes-max" => policy.body_bytes_max = Some(number(text, 0, u64::MAX)?),
            "redirect-to-https" => policy.https_port = context.https_port(text)?,
            "backend-tls" => {
                self.changes.push(Change::Tls(context.written().tls(text)?));
            }
            "match-methods" => self.matches.methods = matches::methods(text)?,
            "match-headers" => self.matches.headers = matches::headers(text)?,
            "health-probe" => {
                self.changes
                    .push(Change::Health(context.written().health(text)?));
            }
            _ if health::BESIDE.contains(&name) => context.needs("health-probe")?,
            _ if backend_tls::BESIDE.contains(&name) => context.needs("backend-tls")?,
            _ => return Err(UNKNOWN.to_owned()),
        }
        Ok(())
    }
}

/// A day in milliseconds: the longest that anything is waited for.
const DAY_MS: u64 = 24 * 3600 * 1000;

/// What the annotations of an Ingress are read with.
struct Context<'a> {
    index: &'a Index<'a>,
    doors: &'a Doors,
    namespace: &'a str,
    name: &'a str,
    /// All annotations.
    all: &'a Value,
}

impl Context<'_> {
    fn other(&self, name: &str) -> Option<&str> {
        self.all[format!("{PREFIX}{name}")].as_str().map(str::trim)
    }

    fn needs(&self, name: &str) -> Result<(), String> {
        self.written().needs(name)
    }

    fn written(&self) -> Written<'_> {
        Written::new(self.all, self.namespace, self.index)
    }

    fn rate(&self, text: &str) -> Result<RouteRate, String> {
        let by = rate_key(self.other("rate-limit-by").unwrap_or("source"));
        let by = by.map_err(|problem| format!("rate-limit-by: {problem}"))?;
        let is_shared = match self.other("rate-limit-scope").unwrap_or("node") {
            "node" => false,
            "cluster" => true,
            _ => return Err("rate-limit-scope is `node` or `cluster`".to_owned()),
        };
        Ok(RouteRate {
            name: format!("{}/{}", self.namespace, self.name),
            rate: rate(text)?,
            by,
            is_shared,
        })
    }

    fn auth(&self, auth: &mut Option<Auth>, name: &str, secret: &str) -> Result<(), String> {
        if auth.is_some() {
            return Err("passwords and tokens can't both be asked for".to_owned());
        }
        let secret = (self.namespace, secret);
        let texts = |text: Option<&str>| {
            let parts = text.unwrap_or_default().split(',').map(str::trim);
            let parts = parts.filter(|it| !it.is_empty()).map(str::to_owned);
            parts.collect::<Vec<_>>()
        };
        *auth = Some(if name == "jwt-secret" {
            let audiences = texts(self.other("jwt-audience"));
            if self.other("jwt-audience").is_some() && audiences.is_empty() {
                return Err("jwt-audience names nobody".to_owned());
            }
            Auth::Jwt(Arc::new(Jwt {
                keys: self.index.keys(secret)?,
                issuer: self.other("jwt-issuer").map(str::to_owned),
                audiences,
                leeway_s: LEEWAY_S,
            }))
        } else {
            Auth::Basic {
                realm: realm(self.other("basic-auth-realm").unwrap_or("atoll"))?,
                users: Arc::new(self.index.users(secret)?),
            }
        });
        Ok(())
    }

    fn https_port(&self, text: &str) -> Result<Option<u16>, String> {
        match text {
            "false" => Ok(None),
            "true" => {
                let address = self.doors.https.as_deref().unwrap_or_default();
                let port = address.rsplit_once(':').and_then(|(_, it)| it.parse().ok());
                port.map(Some)
                    .ok_or_else(|| "this node has no listener with TLS".to_owned())
            }
            _ => Err("it is `true` or `false`".to_owned()),
        }
    }
}

/// Whose requests are counted together.
pub(in crate::core) fn rate_key(text: &str) -> Result<RateKey, String> {
    Ok(match text {
        "all" => RateKey::All,
        "source" => RateKey::Source,
        other => match other.strip_prefix("header ") {
            Some(name) => RateKey::Header(header(name)?),
            None => return Err("it is one of: all, source, header NAME".to_owned()),
        },
    })
}

/// What browsers show: it stands between quotes.
pub(in crate::core) fn realm(text: &str) -> Result<String, String> {
    let is_plain = |letter: char| (' '..='~').contains(&letter) && letter != '"' && letter != '\\';
    match !text.is_empty() && text.len() <= 64 && text.chars().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("it is 1 to 64 ASCII letters without quotes and backslashes".to_owned()),
    }
}

fn some_networks(text: &str) -> Result<Vec<crate::core::sources::Network>, String> {
    let networks = networks(text).map_err(|error| error.to_string())?;
    match networks.is_empty() {
        // An empty list to allow would allow everybody.
        true => Err("it names no network".to_owned()),
        false => Ok(networks),
    }
}

/// `PER_SECOND`, or `PER_SECOND/BURST`.
fn rate(text: &str) -> Result<Rate, String> {
    let (per_second, burst) = match text.split_once('/') {
        Some((per_second, burst)) => (per_second, Some(burst)),
        None => (text, None),
    };
    let max = u64::from(u32::MAX);
    let per_second = number(per_second, 1, max)? as u32;
    let burst = burst.map(|it| number(it, 1, max)).transpose()?;
    Ok(Rate {
        per_second,
        burst: burst.map_or(per_second, |it| it as u32),
    })
}

fn number(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let number = text.trim().parse().ok();
    number
        .filter(|it| (least..=most).contains(it))
        .ok_or_else(|| format!("it is a number of {least} to {most}"))
}

fn header(name: &str) -> Result<HeaderName, String> {
    let name = name.trim();
    name.parse().map_err(|_| format!("{name:?} is no header"))
}

/// A way to choose endpoints.
pub(in crate::core) fn balancer(text: &str) -> Result<Policy, String> {
    Ok(match text {
        "round-robin" => Policy::RoundRobin,
        "weighted" => Policy::Weighted,
        "random" => Policy::Random,
        "two-choices" => Policy::TwoChoices,
        "least-requests" => Policy::LeastRequests,
        _ => {
            let all = "round-robin, weighted, random, two-choices, least-requests";
            return Err(format!("it is one of: {all}"));
        }
    })
}

/// What a client is told by, to come to the same endpoint again.
pub(in crate::core) fn hash_key(text: &str) -> Result<HashKey, String> {
    let (kind, name) = text.split_once(' ').unwrap_or((text, ""));
    let name = name.trim();
    Ok(match (kind, name) {
        ("source", "") => HashKey::Source,
        ("header", name) if !name.is_empty() => HashKey::Header(header(name)?),
        ("cookie", name) if is_cookie(name) => HashKey::Cookie(name.to_owned()),
        ("session", name) if is_cookie(name) => HashKey::Session(name.to_owned()),
        _ => {
            let all = "source, header NAME, cookie NAME, session NAME";
            return Err(format!("it is one of: {all}"));
        }
    })
}

/// Whether a cookie may be called so (RFC 6265 section 4.1.1, letters of `token`).
fn is_cookie(name: &str) -> bool {
    let is_letter = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it);
    (1..=64).contains(&name.len()) && name.bytes().all(is_letter)
}
