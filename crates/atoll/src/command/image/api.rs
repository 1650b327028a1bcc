//! The Kubernetes listener of a node, as far as images need it.

use atoll_services::driver::images::Listed;
use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use serde::Deserialize;
use serde_json::Value;
use tonic::Status;

use crate::{
    command::kubeconfig::Access,
    error::CliError,
    kube::{self, Kube},
};

/// Labels of Nodes: which node of the cluster it is, and that it is none.
const NODE_ID: &str = "atoll.dev/node-id";
const SIMULATED: &str = "atoll.dev/simulated";

/// A connection to the API of one node, which leads on to others.
pub(super) struct Api(Kube);

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
        Kube::connect(access).await.map(Api)
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
        let (status, value) = self.0.ask(method, path, None, body).await?;
        match status.is_success() {
            true => Ok(value),
            false => Err(refusal(status, &value)),
        }
    }
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
    Some(Node {
        name: node["metadata"]["name"].as_str()?.to_owned(),
        is_ready: kube::is_true(node, "Ready"),
    })
}

fn path(node: &str, name: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("node", node);
    if let Some(name) = name {
        query.append_pair("name", name);
    }
    format!("/atoll/v1/images?{}", query.finish())
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
