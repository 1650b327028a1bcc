//! The Kubernetes listener of a node, as far as images need it.

use std::{sync::Arc, time::Duration};

use atoll_services::driver::images::Listed;
use atoll_world::{
    net,
    pki::{self, certificates_from_pem},
    task,
};
use axum::{
    body::{self, Body},
    http::{Method, Request, StatusCode, Uri},
};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde::Deserialize;
use serde_json::Value;
use tonic::Status;

use crate::{command::kubeconfig::Access, error::CliError, node::pki_failed};

/// How long a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How often a silent connection is asked whether it still stands, and how long that may take:
/// unpacking a large image takes minutes in which nothing is said.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Labels of Nodes: which node of the cluster it is, and that it is none.
const NODE_ID: &str = "atoll.dev/node-id";
const SIMULATED: &str = "atoll.dev/simulated";

/// A connection to the API of one node, which leads on to others.
pub(super) struct Api {
    sender: SendRequest<Body>,
    server: Uri,
}

/// Why a node did not do what it was asked.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It has no such thing.
    NotFound(String),
    /// Anything else.
    Other(CliError),
}

impl From<CliError> for Refusal {
    fn from(error: CliError) -> Refusal {
        Refusal::Other(error)
    }
}

impl From<Refusal> for CliError {
    fn from(refusal: Refusal) -> CliError {
        match refusal {
            Refusal::NotFound(what) => CliError::failed(what, ""),
            Refusal::Other(error) => error,
        }
    }
}

/// A Node that runs pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) is_ready: bool,
}

#[derive(Deserialize)]
struct Images {
    images: Vec<Listed>,
}

impl Api {
    /// Connects.
    pub(super) async fn connect(access: &Access) -> Result<Api, CliError> {
        let unreachable = |why: String| CliError::Unreachable {
            tried: vec![(access.server.clone(), why)],
        };
        let server: Uri = access.server.parse().map_err(|_| {
            let what = format!("{:?} is no URL", access.server);
            CliError::usage(what, "Give it as https://HOST:PORT.")
        })?;
        let host = server.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let address = format!("{host}:{}", server.port_u16().unwrap_or(kubeconfig_port()));
        let roots = certificates_from_pem("the root certificate", &access.roots_pem);
        let roots = roots.map_err(pki_failed)?;
        let tls = pki::tls::client_config(&roots, Some(&access.identity), &[b"h2"]);
        let tls = Arc::clone(&tls.map_err(pki_failed)?);
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
        Ok(Api { sender, server })
    }

    /// All Nodes but simulated ones, in order.
    pub(super) async fn nodes(&self) -> Result<Vec<Node>, CliError> {
        let list = self
            .ask(Method::GET, "/api/v1/nodes", Body::empty())
            .await?;
        let items = list["items"].as_array().into_iter().flatten();
        let mut nodes: Vec<Node> = items.filter_map(node).collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(nodes)
    }

    /// The images of a node.
    pub(super) async fn list(&self, node: &str) -> Result<Vec<Listed>, Refusal> {
        let listed = self
            .ask(Method::GET, &path(node, None), Body::empty())
            .await?;
        images(listed)
    }

    /// Hands an archive to a node.
    pub(super) async fn import(
        &self,
        node: &str,
        name: Option<&str>,
        archive: Body,
    ) -> Result<Vec<Listed>, Refusal> {
        images(self.ask(Method::POST, &path(node, name), archive).await?)
    }

    /// Takes a name away on a node.
    pub(super) async fn remove(&self, node: &str, name: &str) -> Result<(), Refusal> {
        let path = path(node, Some(name));
        self.ask(Method::DELETE, &path, Body::empty()).await?;
        Ok(())
    }

    async fn ask(&self, method: Method, path: &str, body: Body) -> Result<Value, Refusal> {
        let broken = |why: String| CliError::OutcomeUnknown {
            endpoint: self.server.to_string(),
            why,
        };
        let authority = self.server.authority().map_or("", |it| it.as_str());
        let request = Request::builder()
            .method(method)
            .uri(format!("https://{authority}{path}"))
            .body(body)
            .map_err(|error| CliError::failed(error.to_string(), ""))?;
        let answer = self.sender.clone().send_request(request).await;
        let answer = answer.map_err(|error| broken(innermost(&error)))?;
        let status = answer.status();
        let bytes = body::to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX).await;
        let bytes = bytes.map_err(|error| broken(error.to_string()))?;
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        match status.is_success() {
            true => Ok(value),
            false => Err(refusal(status, &value)),
        }
    }
}

/// Where the API is if nobody says otherwise.
fn kubeconfig_port() -> u16 {
    crate::command::kubeconfig::PORT
}

/// What lies below the error of a connection; it often is the archive that can't be read.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn refusal(status: StatusCode, told: &Value) -> Refusal {
    let message = told["message"].as_str().unwrap_or_default();
    let message = match message {
        "" => format!("the node answers {status}"),
        told => told.to_owned(),
    };
    let refused = |status: Status| {
        Refusal::Other(CliError::Refused {
            status: Box::new(status),
        })
    };
    match status {
        StatusCode::NOT_FOUND => Refusal::NotFound(message),
        StatusCode::UNAUTHORIZED => refused(Status::unauthenticated(message)),
        StatusCode::FORBIDDEN => refused(Status::permission_denied(message)),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            refused(Status::unavailable(message))
        }
        _ => Refusal::Other(CliError::failed(message, "")),
    }
}

fn images(told: Value) -> Result<Vec<Listed>, Refusal> {
    let read: Result<Images, _> = serde_json::from_value(told);
    let read = read.map_err(|error| {
        let what = format!("the node's answer can't be read: {error}");
        CliError::failed(what, "Is it of another version?")
    })?;
    Ok(read.images)
}

fn node(node: &Value) -> Option<Node> {
    let labels = &node["metadata"]["labels"];
    if labels[NODE_ID].is_null() || !labels[SIMULATED].is_null() {
        return None;
    }
    let conditions = node["status"]["conditions"].as_array();
    let is_ready = conditions.into_iter().flatten();
    let mut is_ready = is_ready.filter(|it| it["type"] == "Ready");
    Some(Node {
        name: node["metadata"]["name"].as_str()?.to_owned(),
        is_ready: is_ready.any(|it| it["status"] == "True"),
    })
}

fn path(node: &str, name: Option<&str>) -> String {
    let mut path = format!("/atoll/v1/images?node={}", quoted(node));
    if let Some(name) = name {
        path.push_str("&name=");
        path.push_str(&quoted(name));
    }
    path
}

/// A text as a part of a query (RFC 3986, section 2.1).
fn quoted(text: &str) -> String {
    let quote = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(quote).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_is_one_part_of_the_query() {
        assert_eq!(
            path("a", Some("x.io:5/a&b:1")),
            "/atoll/v1/images?node=a&name=x.io%3A5%2Fa%26b%3A1"
        );
    }

    #[test]
    fn simulated_nodes_have_no_images() {
        let made = |labels: Value, status: &str| {
            node(&json!({
                "metadata": {"name": "a", "labels": labels},
                "status": {"conditions": [{"type": "Ready", "status": status}]},
            }))
        };
        let id = json!({NODE_ID: "1"});
        let is_ready = |status| made(id.clone(), status).map(|node| node.is_ready);
        assert_eq!(is_ready("True"), Some(true));
        assert_eq!(is_ready("Unknown"), Some(false));
        assert_eq!(made(json!({NODE_ID: "1", SIMULATED: "true"}), "True"), None);
        assert_eq!(made(json!({}), "True"), None);
    }

    #[test]
    fn refusals_say_whose_fault_it_is() {
        let told = json!({"message": "why"});
        let code = |status| match refusal(status, &told) {
            Refusal::NotFound(why) => {
                assert_eq!(why, "why");
                0
            }
            Refusal::Other(error) => error.exit_code(),
        };
        let codes = [
            (StatusCode::NOT_FOUND, 0),
            (StatusCode::BAD_REQUEST, 1),
            (StatusCode::SERVICE_UNAVAILABLE, 3),
            (StatusCode::FORBIDDEN, 4),
            (StatusCode::UNAUTHORIZED, 4),
        ];
        for (status, expected) in codes {
            assert_eq!(code(status), expected, "{status}");
        }
    }
}
