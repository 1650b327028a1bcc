//! The Kubernetes API of a node, as far as the demonstration needs it.

use std::{path::Path, time::Duration};

use atoll_world::clock;
use axum::{body::Body, http::Method};
use serde_json::Value;

use crate::{
    command::kubeconfig::{Access, from_folder},
    error::CliError,
    kube::Kube,
};

/// For how long it lets somebody in: a demonstration is over before.
const LIFE: Duration = Duration::from_secs(86_400);
/// How long an answer may take. Who asks for a state asks again.
const TIMEOUT: Duration = Duration::from_secs(5);
/// What is applied is owned by this name.
const MANAGER: &str = "atoll-demo";

/// A client of one node, which connects each time: nodes of a demonstration go and come.
pub(super) struct Api(Access);

impl Api {
    /// Of the node that has this folder.
    pub(super) fn of(folder: &Path) -> Result<Api, CliError> {
        from_folder(folder, None, LIFE).map(Api)
    }

    /// Applies an object at its path, on the server's side.
    pub(super) async fn apply(&self, path: &str, object: &Value) -> Result<(), CliError> {
        let path = format!("{path}?fieldManager={MANAGER}");
        let kind = Some("application/apply-patch+yaml");
        let body = Body::from(object.to_string());
        self.ask(Method::PATCH, &path, kind, body).await.map(drop)
    }

    /// Reads.
    pub(super) async fn get(&self, path: &str) -> Result<Value, CliError> {
        self.ask(Method::GET, path, None, Body::empty()).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&'static str>,
        body: Body,
    ) -> Result<Value, CliError> {
        let asking = async {
            let kube = Kube::connect(&self.0).await?;
            kube.ask(method, path, content_type, body).await
        };
        let asked = clock::timeout(TIMEOUT, asking).await;
        let (status, answer) = asked.map_err(|late| failed(path, &late))??;
        if !status.is_success() {
            let why = answer["message"].as_str().unwrap_or_default();
            return Err(failed(path, &format!("{status}: {why}")));
        }
        Ok(answer)
    }
}

fn failed(path: &str, why: &dyn std::fmt::Display) -> CliError {
    CliError::failed(format!("the Kubernetes API at {path}: {why}"), "")
}
