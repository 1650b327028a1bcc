//! A line for each request at the target `atoll_gateway::access`, for people who ask for it.
//! It is written when the answer has ended, so that it can say how long that took; nothing is
//! gathered unless somebody listens.

use std::net::SocketAddr;

use bytes::Bytes;
use hyper::{
    Method, StatusCode, Uri, Version,
    body::Frame,
    header::{HeaderMap, HeaderValue, USER_AGENT},
};

use crate::{core::trace::TraceId, driver::Start};

const TARGET: &str = "atoll_gateway::access";

/// What is known of a request.
#[derive(Debug)]
pub(super) struct Entry {
    start: Start,
    began_us: u64,
    client: SocketAddr,
    trace: TraceId,
    user: Option<String>,
    method: Method,
    uri: Uri,
    version: Version,
    agent: Option<HeaderValue>,
    status: StatusCode,
    endpoint: Option<SocketAddr>,
    attempts: u32,
    answer_bytes: u64,
    is_whole: bool,
}

impl Entry {
    /// A request that comes in now; `None` if nobody listens.
    pub(super) fn begin(
        start: Start,
        began_us: u64,
        client: SocketAddr,
        trace: TraceId,
        request: &hyper::Request<impl Sized>,
    ) -> Option<Box<Self>> {
        if !tracing::enabled!(target: TARGET, tracing::Level::INFO) {
            return None;
        }
        let headers: &HeaderMap = request.headers();
        Some(Box::new(Entry {
            start,
            began_us,
            client,
            trace,
            user: None,
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            agent: headers.get(USER_AGENT).cloned(),
            status: StatusCode::OK,
            endpoint: None,
            attempts: 0,
            answer_bytes: 0,
            is_whole: true,
        }))
    }

    /// It is this user's.
    pub(super) fn asked_by(&mut self, user: &str) {
        self.user = Some(user.to_owned());
    }

    /// It was answered.
    pub(super) fn answered(&mut self, status: StatusCode, by: Option<(SocketAddr, u32)>) {
        self.status = status;
        if let Some((endpoint, attempts)) = by {
            self.endpoint = Some(endpoint);
            self.attempts = attempts;
        }
    }

    /// A part of the answer was passed on; `None`: it broke.
    pub(super) fn passed(&mut self, frame: Option<&Frame<Bytes>>) {
        match frame {
            Some(frame) => {
                self.answer_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            None => self.is_whole = false,
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let taken_us = self.start.elapsed_us().saturating_sub(self.began_us);
        let agent = self.agent.as_ref().map(|agent| agent.to_str());
        tracing::info!(
            target: TARGET,
            client = %self.client,
            method = %self.method,
            // Without the query, where people put what nobody should read.
            path = self.uri.path(),
            host = self.uri.host(),
            version = ?self.version,
            agent = agent.and_then(Result::ok),
            status = self.status.as_u16(),
            endpoint = self.endpoint.map(tracing::field::display),
            attempts = self.attempts,
            answer_bytes = self.answer_bytes,
            is_whole = self.is_whole,
            taken_us,
            trace = %self.trace,
            user = self.user,
        );
    }
}
