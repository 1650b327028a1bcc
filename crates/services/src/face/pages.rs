//! What clients read before they ask for objects: the version, what is served, of what types it
//! is made.

use std::sync::OnceLock;

use atoll_control::api::ControlApi;
use axum::http::{
    HeaderMap, StatusCode,
    header::{ACCEPT, HOST},
};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Api, render::Answer, route::Page};
use crate::{
    core::{
        discovery::{self, Encoding, Endpoint, Form},
        openapi,
        status::{Failure, Reason},
        versions,
    },
    driver::store,
};

/// Documents that are made once.
#[derive(Default)]
pub(super) struct Pages {
    v2: OnceLock<Bytes>,
    v2_protobuf: OnceLock<Bytes>,
}

impl<C: ControlApi> Api<C> {
    pub(super) async fn answer_page(
        &self,
        page: &Page,
        headers: &HeaderMap,
    ) -> Result<Answer, Failure> {
        let accept = headers.get(ACCEPT).and_then(|it| it.to_str().ok());
        let wanted = |endpoint| discovery::negotiate(accept.unwrap_or_default(), endpoint);
        let found = |document: Option<Value>| {
            let document = document.ok_or_else(nothing)?;
            let wanted = wanted(Endpoint::Discovery)?;
            Ok(Answer::bytes(
                wanted.content_type(),
                document.to_string().into(),
            ))
        };
        match page {
            Page::Alive => Ok(Answer::text(StatusCode::OK, "ok")),
            Page::Ready => match self.objects.store.control().barrier().await {
                Ok(()) => Ok(Answer::text(StatusCode::OK, "ok")),
                Err(error) => Err(store::failure(&error)),
            },
            Page::Version => Ok(Answer::json(&discovery::version())),
            Page::Paths => Ok(Answer::json(&json!({"paths": paths()}))),
            Page::CoreVersions | Page::Groups => {
                let wanted = wanted(Endpoint::Discovery)?;
                let document = match (page, wanted.form) {
                    (Page::CoreVersions, Form::Aggregated(it)) => discovery::aggregated_core(it),
                    (Page::CoreVersions, _) => discovery::api_versions(&host(headers)),
                    (_, Form::Aggregated(it)) => discovery::aggregated_groups(it),
                    _ => discovery::api_group_list(),
                };
                Ok(Answer::bytes(
                    wanted.content_type(),
                    document.to_string().into(),
                ))
            }
            Page::Group(group) => found(discovery::api_group(group)),
            Page::Resources(group, version) => found(discovery::api_resource_list(group, version)),
            Page::Definitions => Ok(Answer::json(&json!({
                "kind": "CustomResourceDefinitionList", "apiVersion": "apiextensions.k8s.io/v1",
                "metadata": {"resourceVersion": "1"}, "items": [],
            }))),
            Page::OpenApiV2 => {
                let wanted = wanted(Endpoint::OpenApiV2)?;
                let made = match wanted.encoding {
                    Encoding::OpenApiV2Protobuf => {
                        let made = &self.pages.v2_protobuf;
                        made.get_or_init(|| openapi::v2_protobuf().into())
                    }
                    _ => self
                        .pages
                        .v2
                        .get_or_init(|| openapi::v2().to_string().into()),
                };
                Ok(Answer::bytes(wanted.content_type(), made.clone()))
            }
            Page::OpenApiV3Index => Ok(Answer::json(&openapi::v3_index())),
            Page::OpenApiV3(group, version) => {
                let document = openapi::v3(group, version).ok_or_else(nothing)?;
                let text: Bytes = document.to_string().into();
                let etag = openapi::etag(&text);
                Ok(Answer::bytes("application/json", text).with_etag(&etag))
            }
        }
    }
}

/// The name under which a client has reached this node.
fn host(headers: &HeaderMap) -> String {
    let host = headers.get(HOST).and_then(|it| it.to_str().ok());
    host.unwrap_or("127.0.0.1").to_owned()
}

fn paths() -> Vec<String> {
    let mut paths: Vec<String> = [
        "/api",
        "/api/v1",
        "/apis",
        "/healthz",
        "/livez",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ]
    .map(str::to_owned)
    .into();
    for kind in versions::served().filter(|kind| !kind.group.is_empty()) {
        paths.push(format!("/apis/{}", kind.group));
        paths.push(format!("/apis/{}", kind.api_version()));
    }
    paths.sort_unstable();
    paths.dedup();
    paths
}

fn nothing() -> Failure {
    Failure::new(
        Reason::NotFound,
        "the server could not find the requested resource",
    )
}
