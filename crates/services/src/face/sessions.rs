//! `kubectl exec`, `attach` and `port-forward`: the session is opened, then the connection is
//! upgraded and carries it for as long as the client has the right to it.

use atoll_control::api::ControlApi;
use atoll_world::task;
use axum::{
    body::Body,
    http::{Response, request::Parts},
};
use hyper::upgrade::OnUpgrade;
use serde_json::Value;

use super::{Api, identity::Right, logs::container, objects, route::Resource, streams};
use crate::{
    api::Running,
    core::{
        kinds::Subresource,
        object,
        status::Failure,
        streams::{
            negotiate::{Purpose, Wire},
            options::{ExecOptions, Ports},
        },
    },
};

impl<C: ControlApi> Api<C> {
    /// Opens a session and answers with the upgrade.
    pub(super) async fn answer_session(
        &self,
        mut parts: Parts,
        resource: &Resource,
        part: Subresource,
        right: Right,
    ) -> Result<Response<Body>, Failure> {
        let control = self.objects.store.control().clone();
        let query = parts.uri.query();
        let purpose = match part {
            Subresource::PortForward => Purpose::PortForward,
            _ => Purpose::Exec,
        };
        let (protocol, response) = streams::upgrade_response(&parts.headers, purpose)?;
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        let upgrade = upgrade.ok_or_else(|| {
            Failure::bad_request("this connection can't be upgraded: HTTP/1.1 is needed for it")
        })?;
        let pod = self.objects.get(&objects::name(resource)?).await?.object;
        let running = running(&pod)?;
        if purpose == Purpose::PortForward {
            if pod["status"]["phase"] != "Running" {
                let phase = pod["status"]["phase"].as_str().unwrap_or_default();
                return Err(Failure::bad_request(format!(
                    "unable to forward port because pod is not running. Current status={phase}"
                )));
            }
            let ports = match protocol.wire {
                Wire::Channels { .. } => Ports::parse(query)?,
                // Each stream tells its own.
                _ => Ports::default(),
            };
            let ends = self.sessions.forward(running).await?;
            task::spawn(async move {
                let Ok(upgraded) = upgrade.await else { return };
                let served = streams::serve_forward(upgraded, &protocol, &ports, ends);
                tokio::select! {
                    served = served => if let Err(error) = served {
                        tracing::debug!(%error, "a port is forwarded no more");
                    },
                    why = right.ends(&control) => {
                        tracing::info!(%why, "a port may be forwarded no more");
                    }
                }
            });
            return Ok(response);
        }
        let mut options = match part {
            Subresource::Attach => ExecOptions::attach(query)?,
            _ => ExecOptions::exec(query)?,
        };
        if part == Subresource::Attach {
            options.command.clear();
        }
        options.container = container(&pod, &options.container)?;
        if matches!(
            pod["status"]["phase"].as_str(),
            Some("Succeeded" | "Failed")
        ) {
            let phase = pod["status"]["phase"].as_str().unwrap_or_default();
            return Err(Failure::bad_request(format!(
                "cannot exec into a container in a completed pod; current phase is {phase}"
            )));
        }
        let wanted = options.streams;
        let ends = self.sessions.process(running, options).await?;
        task::spawn(async move {
            let Ok(upgraded) = upgrade.await else { return };
            let served = streams::serve_exec(upgraded, &protocol, wanted, ends);
            tokio::select! {
                served = served => if let Err(error) = served {
                    tracing::debug!(%error, "a session with a program ended early");
                },
                why = right.ends(&control) => {
                    tracing::info!(%why, "a session with a program may go on no more");
                }
            }
        });
        Ok(response)
    }
}

/// Where a pod runs.
fn running(pod: &Value) -> Result<Running, Failure> {
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    if node.is_empty() {
        return Err(Failure::bad_request(format!(
            "pod {} does not have a host assigned",
            object::name(pod)
        )));
    }
    Ok(Running {
        namespace: object::namespace(pod).to_owned(),
        name: object::name(pod).to_owned(),
        uid: object::uid(pod).to_owned(),
        node: node.to_owned(),
    })
}
