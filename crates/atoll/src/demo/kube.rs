//! A client of the Kubernetes API of a node, let in as `atoll kubeconfig` lets kubectl in.

use std::{path::Path, time::Duration};

use atoll_world::{
    clock, net,
    pki::{certificates_from_pem, tls},
    task,
};
use axum::body::{Body, to_bytes};
use hyper::{Method, Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::{
    command::kubeconfig::{Access, from_folder},
    error::CliError,
};

/// For how long it lets somebody in: a demonstration is over before.
const LIFE: Duration = Duration::from_secs(86_400);
/// How long an answer may take. Who asks for a state asks again.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer: a few objects.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// What is applied is owned by this name.
const MANAGER: &str = "atoll-demo";

/// A client of one node.
pub(super) struct Api(Access);

impl Api {
    /// Of the node that has this folder.
    pub(super) fn of(folder: &Path) -> Result<Api, CliError> {
        from_folder(folder, None, LIFE).map(Api)
    }

    /// Applies an object at its path, on the server's side.
    pub(super) async fn apply(&self, path: &str, object: &Value) -> Result<(), CliError> {
        let path = format!("{path}?fieldManager={MANAGER}");
        let kind = "application/apply-patch+yaml";
        let body = object.to_string();
        self.ask(Method::PATCH, &path, kind, body).await.map(drop)
    }

    /// Reads.
    pub(super) async fn get(&self, path: &str) -> Result<Value, CliError> {
        self.ask(Method::GET, path, "", String::new()).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: String,
    ) -> Result<Value, CliError> {
        let address = self.0.server.trim_start_matches("https://");
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", address)
            .header("content-type", content_type)
            .body(Body::from(body));
        let request = request.map_err(|error| failed(path, &error))?;
        let asked = clock::timeout(TIMEOUT, self.exchange(address, request));
        let (status, answer) = match asked.await {
            Ok(answered) => answered.map_err(|error| failed(path, &error))?,
            Err(late) => return Err(failed(path, &late)),
        };
        if !(200..300).contains(&status) {
            let why = answer["message"].as_str().unwrap_or_default();
            return Err(failed(path, &format!("{status}: {why}")));
        }
        Ok(answer)
    }

    async fn exchange(
        &self,
        address: &str,
        request: Request<Body>,
    ) -> Result<(u16, Value), Box<dyn std::error::Error + Send + Sync>> {
        let roots = certificates_from_pem("the roots", &self.0.roots_pem)?;
        let config = tls::client_config(&roots, Some(&self.0.identity), &[b"http/1.1"])?;
        let stream = net::connect_tls(address, "127.0.0.1", config, TIMEOUT).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = task::spawn(connection);
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let body = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX).await?;
        connection.abort();
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }
}

fn failed(path: &str, why: &dyn std::fmt::Display) -> CliError {
    CliError::failed(format!("the Kubernetes API at {path}: {why}"), "")
}
