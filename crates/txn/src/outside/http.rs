//! Services that take part by HTTP callbacks. docs/transactions.md says what is asked of them.
//!
//! An order is one POST of a JSON object to the service's URL and the order's word; its answer is
//! a JSON object with a report. Anything else than such an answer is none, and the order is sent
//! again. Each request has a connection of its own, redirects are not followed, and nothing is
//! read beyond a bound.

use std::{sync::Arc, time::Duration};

use atoll_base::id::ClusterId;
use atoll_world::{
    clock,
    net::{self, NetError, Stream},
    task,
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, Uri,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};

use super::{
    Tls,
    hosts::{Hosts, Place},
};
use crate::{
    core::global::{Order, Report},
    driver::global::{Call, Later, Unfit},
};

/// The version of what is sent.
const VERSION: u32 = 1;
/// How long a request may take, from looking for the host to the end of its answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// The most headers of an answer.
const HEADERS_MAX: usize = 64;
/// What an answer's head and what is read ahead of it may take, in bytes.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// What a service is sent.
#[derive(Serialize)]
struct Sent<'a> {
    version: u32,
    cluster: String,
    transaction: String,
    branch: u16,
    order: &'static str,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    participants: &'a [String],
}

/// What it answers. What else it says is its own.
#[derive(Deserialize)]
struct Answered {
    report: Word,
    /// Of a yes where participants may end it among themselves: how many of them it knows.
    #[serde(default)]
    known: Option<u16>,
}

/// The reports, as they are written.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    Yes,
    No,
    ReadOnly,
    PreCommitted,
    Committed,
    Aborted,
    Unknown,
    Done,
    NotDone,
    Failed,
    Compensated,
}

impl Answered {
    fn report(&self) -> Report {
        match (self.report, self.known) {
            (Word::Yes, Some(known)) => Report::YesAmong(known),
            (Word::Yes, None) => Report::Yes,
            (Word::No, _) => Report::No,
            (Word::ReadOnly, _) => Report::ReadOnly,
            (Word::PreCommitted, _) => Report::PreCommitted,
            (Word::Committed, _) => Report::Committed,
            (Word::Aborted, _) => Report::Aborted,
            (Word::Unknown, _) => Report::Unknown,
            (Word::Done, _) => Report::Done,
            (Word::NotDone, _) => Report::NotDone,
            (Word::Failed, _) => Report::Failed,
            (Word::Compensated, _) => Report::Compensated,
        }
    }
}

/// The report in a service's answer.
///
/// # Errors
/// There is none in it.
pub(crate) fn report(body: &[u8]) -> Result<Report, serde_json::Error> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        // Arrays would be taken for the fields of an object, in their order.
        return Err(serde::de::Error::custom("it is no JSON object"));
    }
    let answered: Answered = serde_json::from_slice(body)?;
    Ok(answered.report())
}

/// Why an order has no answer.
#[derive(Debug, thiserror::Error)]
enum HttpError {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error("it is at {0}, which is not this machine")]
    NotHere(std::net::IpAddr),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("the request can't be made: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("it answered {0}")]
    Status(hyper::StatusCode),
    #[error("its answer can't be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("its answer is no report: {0}")]
    Report(#[from] serde_json::Error),
    #[error("no answer within {} ms", CALL_TIMEOUT.as_millis())]
    Timeout,
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

/// The way to services. Clones are the same.
#[derive(Clone)]
pub struct Http {
    cluster: ClusterId,
    hosts: Arc<Hosts>,
    tls: Option<Tls>,
}

/// A service, as its name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    place: Place,
    is_tls: bool,
    /// What the Host header says.
    authority: String,
    /// Without a slash at its end.
    path: String,
}

impl Http {
    /// Talks to these hosts, by https only if it is said how.
    pub fn new(cluster: ClusterId, hosts: Hosts, tls: Option<Tls>) -> Self {
        Http {
            cluster,
            hosts: Arc::new(hosts),
            tls,
        }
    }

    /// Where a service is, if this node may talk to it.
    pub(super) fn target(&self, name: &str) -> Result<Target, Unfit> {
        let refused = |why: &str| Unfit::Refused(format!("{name}: {why}"));
        let uri: Uri = name
            .parse()
            .map_err(|_| refused("this is no URL such as http://HOST:PORT/PATH"))?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") if self.tls.is_some() => true,
            Some("https") => {
                return Err(refused(
                    "by TLS no service is talked to before txn.roots_file says whom to trust",
                ));
            }
            _ => {
                return Err(refused(
                    "a participant is http://…, https://… or postgres:NAME",
                ));
            }
        };
        let authority = uri.authority().ok_or_else(|| refused("no host is named"))?;
        if authority.as_str().contains('@') {
            return Err(refused("names and passwords have no place in it"));
        }
        if uri.query().is_some() || name.contains('#') {
            return Err(refused("only a path may follow the host"));
        }
        let port = authority
            .port_u16()
            .unwrap_or(if is_tls { 443 } else { 80 });
        let place = self.hosts.place(authority.host(), port).ok_or_else(|| {
            refused("this host is not among those that txn.http_hosts lets nodes talk to")
        })?;
        Ok(Target {
            place,
            is_tls,
            authority: authority.to_string(),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    pub(super) fn check(&self, name: &str, payload: &[u8]) -> Result<(), Unfit> {
        self.target(name)?;
        match std::str::from_utf8(payload) {
            Ok(_) => Ok(()),
            Err(_) => Err(Unfit::Refused(format!(
                "{name}: what it is to do is not UTF-8"
            ))),
        }
    }

    pub(super) fn tell(&self, call: Call) -> Later<Option<Report>> {
        let http = self.clone();
        Box::pin(async move {
            let asked = clock::timeout(CALL_TIMEOUT, http.ask(&call)).await;
            match asked.unwrap_or(Err(HttpError::Timeout)) {
                Ok(report) => Some(report),
                Err(error) => {
                    tracing::debug!(branch = %call.branch, name = call.name, attempt = call.attempt, %error, "a service gave no answer");
                    None
                }
            }
        })
    }

    async fn ask(&self, call: &Call) -> Result<Report, HttpError> {
        let target = self.target(&call.name)?;
        let body = serde_json::to_vec(&self.sent(call))?;
        let stream = self.connect(&target).await?;
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(HEADERS_MAX)
            .max_buf_size(BUFFER_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await?;
        // It ends with the sender, and when this is given up.
        let connection = Ending(task::spawn(connection).abort_handle());
        let request = Request::post(format!("{}/{}", target.path, word(&call.order)))
            .header(HOST, target.authority)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("atoll/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::from(body)))?;
        let answer = sender.send_request(request).await?;
        if !answer.status().is_success() {
            return Err(HttpError::Status(answer.status()));
        }
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect();
        let body = body.await.map_err(HttpError::Body)?.to_bytes();
        drop(connection);
        Ok(report(&body)?)
    }

    async fn connect(&self, target: &Target) -> Result<Stream, HttpError> {
        let address = target.place.to_string();
        let stream = match (target.is_tls, &self.tls) {
            (true, Some(tls)) => {
                net::connect_tls(&address, &target.place.host, tls.clone(), CALL_TIMEOUT).await?
            }
            _ => net::connect(&address, CALL_TIMEOUT).await?,
        };
        let ip = stream.peer_address().ip();
        if target.place.only_loopback && !ip.is_loopback() {
            return Err(HttpError::NotHere(ip));
        }
        Ok(stream)
    }

    fn sent<'a>(&self, call: &'a Call) -> Sent<'a> {
        let (payload, participants): (_, &[String]) = match &call.order {
            Order::Prepare { payload, peers } => (Some(payload), peers),
            Order::Do { payload } | Order::Compensate { payload } => (Some(payload), &[]),
            _ => (None, &[]),
        };
        Sent {
            version: VERSION,
            cluster: self.cluster.to_string(),
            transaction: call.branch.transaction.to_string(),
            branch: call.branch.place.0,
            order: word(&call.order),
            attempt: call.attempt,
            // It was checked before it was written down.
            payload: payload.map(|it| std::str::from_utf8(it).unwrap_or_default()),
            participants,
        }
    }
}

/// Ends a task when it is dropped.
struct Ending(tokio::task::AbortHandle);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An order's word: where it is sent, and what it is called in what is sent.
fn word(order: &Order) -> &'static str {
    match order {
        Order::Prepare { .. } => "prepare",
        Order::PreCommit => "pre-commit",
        Order::Commit => "commit",
        Order::Abort => "abort",
        Order::Terminate => "terminate",
        Order::Do { .. } => "do",
        Order::Ask => "ask",
        Order::Compensate { .. } => "compensate",
    }
}

#[cfg(test)]
mod tests;
