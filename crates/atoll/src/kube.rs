//! A client of the Kubernetes API of one node, let in as `atoll kubeconfig` lets kubectl in.

use std::time::Duration;

use atoll_world::{
    net,
    pki::{self, certificates_from_pem},
    task,
};
use axum::{
    body::{self, Body},
    http::{
        Method, Request, StatusCode, Uri,
        header::{CONTENT_TYPE, HeaderValue},
    },
};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde_json::Value;

use crate::{
    client::reason,
    command::kubeconfig::{self, Access},
    error::CliError,
    node::pki_failed,
};

/// How long a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How often a silent connection is asked whether it still stands, and how long that may take:
/// unpacking a large image takes minutes in which nothing is said.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A connection.
pub(crate) struct Kube {
    sender: SendRequest<Body>,
    server: Uri,
}

impl Kube {
    /// Connects.
    ///
    /// # Errors
    /// The node can't be reached, or is not one of the cluster.
    pub(crate) async fn connect(access: &Access) -> Result<Kube, CliError> {
        let unreachable = |why: String| CliError::Unreachable {
            tried: vec![(access.server.clone(), why)],
        };
        let server: Uri = access.server.parse().map_err(|_| {
            let what = format!("{:?} is no URL", access.server);
            CliError::usage(what, "Give it as https://HOST:PORT.")
        })?;
        let host = server.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let address = format!("{host}:{}", server.port_u16().unwrap_or(kubeconfig::PORT));
        let roots = certificates_from_pem("the root certificate", &access.roots_pem);
        let roots = roots.map_err(pki_failed)?;
        let tls = pki::tls::client_config(&roots, Some(&access.identity), &[b"h2"]);
        let tls = tls.map_err(pki_failed)?;
        let stream = net::connect_tls(&address, bare, tls, CONNECT_MAX).await;
        let stream = stream.map_err(|error| unreachable(error.to_string()))?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        let shaken = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|error| unreachable(error.to_string()))?;
        task::spawn(async move {
            // Whoever waits for an answer is told.
            let _ = connection.await;
        });
        Ok(Kube { sender, server })
    }

    /// Asks: what is answered, and with which status. `content_type` is that of the body, where
    /// it has to be said.
    ///
    /// # Errors
    /// No answer came, so it is not known whether it was done.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&'static str>,
        body: Body,
    ) -> Result<(StatusCode, Value), CliError> {
        let broken = |why: String| CliError::OutcomeUnknown {
            endpoint: self.server.to_string(),
            why,
        };
        let authority = self.server.authority().map_or("", |it| it.as_str());
        let request = Request::builder()
            .method(method)
            .uri(format!("https://{authority}{path}"))
            .body(body);
        let mut request = request.map_err(|error| CliError::failed(error.to_string(), ""))?;
        if let Some(content_type) = content_type {
            let content_type = HeaderValue::from_static(content_type);
            request.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        let answer = self.sender.clone().send_request(request).await;
        // It often is the body that can't be read.
        let answer = answer.map_err(|error| broken(reason(&error)))?;
        let status = answer.status();
        let bytes = body::to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX).await;
        let bytes = bytes.map_err(|error| broken(error.to_string()))?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }
}

/// Whether a condition of an object is true.
pub(crate) fn is_true(object: &Value, condition: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|it| it["type"] == condition && it["status"] == "True")
}
