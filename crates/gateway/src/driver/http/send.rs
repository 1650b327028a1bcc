//! One request to a cluster: an endpoint is picked and asked, and another one when that is
//! safe. It is safe as long as nothing of the request went out; afterwards only if the method
//! is idempotent (RFC 9110 section 9.2.2), there is no body, and no answer has begun.
//!
//! What few requests need (to connect, a second attempt beside the first) is in boxes: each
//! request's future is as large as the largest thing that it may wait for, and is copied when
//! its task is made.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use atoll_world::{
    clock::{self, Instant},
    net::{Distrust, NetError},
};
use hyper::{Method, Request, Response, body::Incoming, client::conn::TrySendError};

use super::{
    body::{Fate, Outgoing, Watched},
    hedge::Attempts,
    pool::{Lease, connect_http1, connect_http2},
};
use crate::{
    core::{breaker::Permit, config::Backend},
    driver::{
        Shared,
        open::distrusted,
        state::{ClusterState, EndpointState},
    },
};

/// Why there is no connection to an endpoint.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// It can't be reached.
    #[error("{0}")]
    Net(#[from] NetError),
    /// What is there does not speak HTTP.
    #[error("{0}")]
    Handshake(#[source] hyper::Error),
    /// As many as the cluster may have.
    #[error("the cluster has as many connections as it may have")]
    Limited,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// Nobody to ask.
    #[error("no endpoint is available")]
    NoEndpoint,
    /// Nobody could be reached.
    #[error("no endpoint could be reached")]
    Unreachable,
    /// Who was reached is not who he should be, or does not believe this node.
    #[error("the endpoint and the gateway did not come to TLS")]
    Distrusted,
    /// A bound was reached.
    #[error("too many connections or requests are open")]
    Limited,
    /// The endpoint broke off.
    #[error("the endpoint broke off: {0}")]
    Broke(#[source] hyper::Error),
    /// The client's body broke off, or is none.
    #[error("the request's body broke off")]
    BadBody,
    /// The client's body is longer than the route takes.
    #[error("the request's body is too long")]
    BodyTooLarge,
    /// It took too long.
    #[error("the endpoint did not answer in time")]
    Timeout,
}

/// An answer, and what it came from.
pub(super) struct Sent {
    pub(super) response: Response<Incoming>,
    /// The connection, if it may be kept afterwards.
    pub(super) lease: Option<Lease>,
    pub(super) open: Permit,
    pub(super) endpoint: SocketAddr,
    pub(super) attempts: u32,
}

/// What became of one attempt.
pub(super) enum Failure {
    /// Nothing was sent; the request is here again.
    NotSent(Box<Request<Outgoing>>, ConnectError),
    /// It was sent, and no answer came. `is_stale`: the connection had been kept, so that the
    /// endpoint may have closed it in the same moment.
    Broke { error: hyper::Error, is_stale: bool },
    /// The time is over.
    Timeout,
}

/// One attempt that has ended.
pub(super) struct Attempt {
    pub(super) place: usize,
    pub(super) open: Permit,
    pub(super) result: Result<Answered, Failure>,
}

/// An answer, and its connection if it may be kept afterwards.
pub(super) type Answered = (Response<Incoming>, Option<Lease>);

/// A request on its way to a cluster.
pub(super) struct Sending<'a> {
    pub(super) cluster: &'a Arc<ClusterState>,
    pub(super) shared: &'a Shared,
    /// What a consistent hash goes by.
    pub(super) key: u64,
}

impl Sending<'_> {
    /// Has it answered.
    ///
    /// # Errors
    /// Nobody answered.
    pub(super) async fn send(&self, mut request: Request<Outgoing>) -> Result<Sent, SendError> {
        let config = &self.cluster.config;
        let watched = match request.body() {
            Outgoing::Empty => None,
            Outgoing::Streamed { watched, .. } => Some(watched.clone()),
        };
        let may_repeat = watched.is_none() && is_idempotent(request.method());
        let response_limit = Duration::from_millis(config.timeouts.response_ms);
        let deadline = clock::now() + response_limit;
        let mut tried = Vec::new();
        for attempt in 0.. {
            let now_ms = self.shared.start.elapsed_ms();
            let picked = self.cluster.pick(self.key, &tried, now_ms);
            let Some(place) = picked else {
                return Err(SendError::NoEndpoint);
            };
            let is_last = attempt >= config.retries.attempts_max;
            let copy = (may_repeat && !is_last).then(|| head_of(&request));
            let second = self.hedge(&request, may_repeat);
            let Attempts { ended, beside } = match second {
                None => self.once(place, request, deadline).await.into(),
                Some(second) => {
                    let hedged = self.hedged(place, [request, second], deadline, &tried);
                    Box::pin(hedged).await
                }
            };
            tried.extend([ended.place].into_iter().chain(beside));
            let (again, error) = match ended.result {
                Ok((response, lease)) => {
                    let is_none = config
                        .retries
                        .statuses
                        .contains(&response.status().as_u16());
                    match copy.filter(|_| is_none && self.may_retry()) {
                        Some(again) => {
                            request = again;
                            continue;
                        }
                        None => {
                            return Ok(Sent {
                                response,
                                lease,
                                open: ended.open,
                                endpoint: self.cluster.endpoints[ended.place].address,
                                attempts: attempt + 1,
                            });
                        }
                    }
                }
                Err(failure) => self.judge(failure, copy, watched.as_ref()),
            };
            match again {
                Some(again) if !is_last && self.may_retry() => request = again,
                _ => return Err(error),
            }
        }
        unreachable!("the last attempt returns");
    }

    /// Asks one endpoint, and remembers how it answered.
    pub(super) async fn once(
        &self,
        place: usize,
        request: Request<Outgoing>,
        deadline: Instant,
    ) -> Attempt {
        let endpoint = &self.cluster.endpoints[place];
        let watched = match request.body() {
            Outgoing::Empty => None,
            Outgoing::Streamed { watched, .. } => Some(watched.clone()),
        };
        let open = endpoint.open.enter();
        let started_us = self.shared.start.elapsed_us();
        let result = self.attempt(endpoint, request, deadline).await;
        let is_clients_fault = watched.is_some_and(|it| it.fate() != Fate::Good);
        match &result {
            Ok((response, _)) => self.observe(endpoint, response, started_us),
            Err(
                Failure::Timeout
                | Failure::Broke {
                    is_stale: false, ..
                },
            ) if !is_clients_fault => {
                let now_ms = self.shared.start.elapsed_ms();
                self.cluster.failed(endpoint, now_ms, &self.shared.stats);
            }
            // Connecting has told the cluster already.
            Err(_) => {}
        }
        if let Err(failure) = &result {
            self.tell_distrust(endpoint, failure);
        }
        Attempt {
            place,
            open,
            result,
        }
    }

    /// With TLS 1.3 an endpoint says only after the handshake that it does not believe this node.
    fn tell_distrust(&self, endpoint: &EndpointState, failure: &Failure) {
        let (Failure::Broke { error, .. } | Failure::NotSent(_, ConnectError::Handshake(error))) =
            failure
        else {
            return;
        };
        if let Some(why) = distrust(error) {
            distrusted(endpoint, self.cluster, why, error, &self.shared.stats);
        }
    }

    /// What a failed attempt means, and what can be sent again.
    fn judge(
        &self,
        failure: Failure,
        copy: Option<Request<Outgoing>>,
        watched: Option<&Watched>,
    ) -> (Option<Request<Outgoing>>, SendError) {
        match failure {
            Failure::NotSent(_, ConnectError::Limited) => (None, SendError::Limited),
            Failure::NotSent(request, error) => {
                tracing::debug!(%error, "no connection");
                let is_distrust = match &error {
                    ConnectError::Net(error) => error.distrust().is_some(),
                    ConnectError::Handshake(error) => distrust(error).is_some(),
                    ConnectError::Limited => false,
                };
                let told = match is_distrust {
                    true => SendError::Distrusted,
                    false => SendError::Unreachable,
                };
                (Some(*request), told)
            }
            Failure::Broke { error, .. } => match watched.map_or(Fate::Good, Watched::fate) {
                Fate::Good if distrust(&error).is_some() => (copy, SendError::Distrusted),
                Fate::Good => (copy, SendError::Broke(error)),
                Fate::Broken => (None, SendError::BadBody),
                Fate::TooLong => (None, SendError::BodyTooLarge),
            },
            Failure::Timeout => (None, SendError::Timeout),
        }
    }

    pub(super) fn may_retry(&self) -> bool {
        let retries = &self.cluster.config.retries;
        let now_ms = self.shared.start.elapsed_ms();
        let may = self.cluster.load.budget.withdraw(retries, now_ms);
        if may {
            self.shared.stats.retries.add_one();
        } else {
            self.shared.stats.retries_refused.add_one();
        }
        may
    }

    fn observe(&self, endpoint: &EndpointState, response: &Response<Incoming>, started_us: u64) {
        let now_us = self.shared.start.elapsed_us();
        if response.status().is_server_error() {
            self.cluster
                .failed(endpoint, now_us / 1_000, &self.shared.stats);
        } else {
            self.cluster
                .succeeded(endpoint, now_us - started_us, now_us);
        }
    }

    async fn attempt(
        &self,
        endpoint: &Arc<EndpointState>,
        request: Request<Outgoing>,
        deadline: Instant,
    ) -> Result<(Response<Incoming>, Option<Lease>), Failure> {
        let sending = async {
            match self.cluster.config.backend {
                Backend::Http1 => self.attempt_http1(endpoint, request).await,
                Backend::Http2 => self.attempt_http2(endpoint, request).await,
            }
        };
        match clock::timeout_at(deadline, sending).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Timeout),
        }
    }

    async fn attempt_http1(
        &self,
        endpoint: &Arc<EndpointState>,
        mut request: Request<Outgoing>,
    ) -> Result<(Response<Incoming>, Option<Lease>), Failure> {
        let config = &self.cluster.config;
        let idle_ms_max = config.timeouts.pool_idle_ms;
        loop {
            let now_ms = self.shared.start.elapsed_ms();
            let kept = endpoint.pool.take(idle_ms_max, now_ms);
            let is_kept = kept.is_some();
            let mut sender = match kept {
                Some(sender) => sender,
                None => {
                    let connecting = connect_http1(endpoint, self.cluster, self.shared);
                    match Box::pin(connecting).await {
                        Ok(sender) => sender,
                        Err(error) => return Err(Failure::NotSent(Box::new(request), error)),
                    }
                }
            };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let lease = Lease {
                        sender,
                        endpoint: endpoint.clone(),
                        idle_max: config.limits.idle_per_endpoint_max,
                        start: self.shared.start,
                    };
                    return Ok((response, Some(lease)));
                }
                // A kept one that had just been closed: there may be others, and in the end
                // there is a new one.
                Err(error) => request = not_sent(error, is_kept)?,
            }
        }
    }

    async fn attempt_http2(
        &self,
        endpoint: &Arc<EndpointState>,
        mut request: Request<Outgoing>,
    ) -> Result<(Response<Incoming>, Option<Lease>), Failure> {
        let mut is_kept = true;
        loop {
            let mut sender = match endpoint.pool.open_shared() {
                Some(sender) => sender,
                None => {
                    let connecting = connect_http2(endpoint, self.cluster, self.shared);
                    match Box::pin(connecting).await {
                        Ok(sender) => sender,
                        Err(error) => return Err(Failure::NotSent(Box::new(request), error)),
                    }
                }
            };
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, None)),
                Err(error) => request = not_sent(error, is_kept)?,
            }
            is_kept = false;
        }
    }
}

/// Why a connection under TLS broke off, if one side did not believe the other.
fn distrust(error: &hyper::Error) -> Option<Distrust> {
    let first = std::error::Error::source(error);
    let mut causes = std::iter::successors(first, |cause| cause.source());
    causes.find_map(|cause| Distrust::of(cause.downcast_ref()?))
}

/// The request, if it may be sent on another connection of the same endpoint.
fn not_sent(
    mut error: TrySendError<Request<Outgoing>>,
    is_kept: bool,
) -> Result<Request<Outgoing>, Failure> {
    match error.take_message() {
        Some(request) if is_kept => Ok(request),
        Some(request) => {
            let error = ConnectError::Handshake(error.into_error());
            Err(Failure::NotSent(Box::new(request), error))
        }
        None => Err(Failure::Broke {
            error: error.into_error(),
            is_stale: is_kept,
        }),
    }
}

fn is_idempotent(method: &Method) -> bool {
    *method == Method::GET
        || *method == Method::HEAD
        || *method == Method::PUT
        || *method == Method::DELETE
        || *method == Method::OPTIONS
        || *method == Method::TRACE
}

/// The same request; it has no body.
pub(super) fn head_of(request: &Request<Outgoing>) -> Request<Outgoing> {
    let mut copy = Request::new(Outgoing::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}
