//! Tells in this node's Node which images it has.

use std::time::Duration;

use atoll_control::api::ControlApi;
use atoll_world::{clock, task};
use serde_json::Value;

use super::{
    agent::registration::OwnNode,
    images::Shelf,
    mirror::Mirror,
    objects::{Objects, Writer},
};
use crate::core::{
    image::report,
    kinds::{self, Subresource},
    object::{self, Name},
};

/// How often it is looked whether it is true.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);

/// Keeps it true as long as this process runs.
pub(super) fn follow<C: ControlApi>(
    shelf: Shelf,
    mirror: Mirror,
    objects: Objects<C>,
    node: OwnNode,
) {
    task::spawn(async move {
        loop {
            clock::sleep(LOOK_INTERVAL).await;
            let images = match shelf.known().await {
                Ok(known) => report::report(known),
                Err(error) => {
                    tracing::debug!(%error, "it can't be told which images there are");
                    continue;
                }
            };
            tell(&images, &mirror, &objects, &node).await;
        }
    });
}

async fn tell<C: ControlApi>(
    images: &Value,
    mirror: &Mirror,
    objects: &Objects<C>,
    node: &OwnNode,
) {
    let Some(own) = node.find(&mirror.look()) else {
        return;
    };
    let has_none = images.as_array().is_some_and(Vec::is_empty);
    let told = &own["status"]["images"];
    if told == images || (has_none && told.is_null()) {
        return;
    }
    let name = Name {
        kind: &kinds::NODES,
        namespace: String::new(),
        name: object::name(&own).to_owned(),
    };
    let change = |old: &Value| {
        let mut new = old.clone();
        new["status"]["images"] = images.clone();
        Ok(new)
    };
    let part = Some(Subresource::Status);
    let written = objects
        .update(&name, part, &Writer::own("agent"), change)
        .await;
    if let Err(failure) = written {
        tracing::debug!(%failure, "the node's images are told again later");
    }
}
