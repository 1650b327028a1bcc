//! Who looks on: a watcher for each node, and one that notes what nodes say of themselves.

use std::{sync::Arc, time::Duration};

use atoll_base::id::Revision;
use atoll_control::{
    api::{ControlApi as _, Watches as _},
    driver::control::Control,
    proto::{
        etcdserverpb::{self as pb, watch_request::RequestUnion},
        mvccpb::{Event, event::EventType},
    },
};
use atoll_world::clock;
use bytes::Bytes;

use crate::{
    clients::{anonymous, parse, parse_key},
    history::{Change, Hash, Recorder, Sighting},
    node::{Node, Running},
};

/// How often nodes are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(7);
/// Each so many looks, hashes are taken too.
const HASH_EVERY: u64 = 40;

/// Watches everything on a node from the first revision on. When the node dies, the watch
/// is resumed on its next life after the last revision that was seen.
pub async fn watch(node: Arc<Node>, recorder: Recorder) {
    loop {
        let running = node.wait_running().await;
        let (id, seen) = (node.id, recorder.clone());
        let ended = running
            .call(move |control| async move { watch_life(control, id, &seen).await })
            .await;
        if let Some(reason) = ended {
            recorder.fault(format!("a watch on node {id} ended: {reason}"));
            return;
        }
    }
}

async fn watch_life(control: Control, id: atoll_base::id::NodeId, recorder: &Recorder) -> String {
    let mut from = recorder.with(|history| {
        let changes = history.watched.entry(id).or_default();
        changes.last().map_or(1, |change| change.revision + 1)
    });
    loop {
        let (compacted, reason) = watch_from(&control, id, from, recorder).await;
        // Compactions never go beyond what present watchers have seen: only one that has seen
        // nothing, that of a new node, can come too late.
        let seen_nothing = recorder.with(|history| history.watched[&id].is_empty());
        if compacted < from || !seen_nothing {
            return reason;
        }
        from = compacted + 1;
        recorder.with(|history| history.watched_from.insert(id, from));
    }
}

/// Watches until the watch is cancelled; answers the compacted revision, if that is why, and
/// the reason.
async fn watch_from(
    control: &Control,
    id: atoll_base::id::NodeId,
    from: i64,
    recorder: &Recorder,
) -> (i64, String) {
    let everything = Bytes::from_static(b"\0");
    let create = pb::WatchCreateRequest {
        key: everything.clone(),
        range_end: everything,
        start_revision: from,
        ..Default::default()
    };
    let request = pb::WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    };
    let mut stream = control.watch(anonymous());
    if let Err(error) = stream.request(request).await {
        return (0, error.to_string());
    }
    loop {
        let response = stream.next().await;
        if response.canceled {
            return (response.compact_revision, response.cancel_reason);
        }
        for event in &response.events {
            match change(event) {
                Ok(change) => recorder.with(|history| {
                    history.watched.entry(id).or_default().push(change);
                }),
                Err(odd) => return (0, odd),
            }
        }
    }
}

fn change(event: &Event) -> Result<Change, String> {
    let kv = event.kv.as_ref().ok_or("an event says nothing")?;
    Ok(match event.r#type() {
        EventType::Put => {
            let found = parse(kv)?;
            Change {
                revision: found.mod_revision,
                key: found.key,
                value: Some(found.value),
                create_revision: found.create_revision,
                version: found.version,
            }
        }
        EventType::Delete => Change {
            revision: kv.mod_revision,
            key: parse_key(&kv.key)?,
            value: None,
            create_revision: 0,
            version: 0,
        },
    })
}

/// Notes again and again what nodes say of themselves.
pub async fn look(nodes: Vec<Arc<Node>>, recorder: Recorder) {
    let mut looks = 0_u64;
    loop {
        clock::sleep(LOOK_INTERVAL).await;
        looks += 1;
        for node in &nodes {
            if let Some(running) = node.running() {
                sight(node, &running, &recorder);
                if looks.is_multiple_of(HASH_EVERY) {
                    hash(node, running, &recorder).await;
                }
            }
        }
    }
}

fn sight(node: &Node, running: &Running, recorder: &Recorder) {
    let status = running.control.status();
    recorder.with(|history| {
        history.sightings.push(Sighting {
            node: node.id,
            boot: running.boot,
            term: status.term,
            leader: status.leader,
            applied_index: status.applied_index,
            revision: status.revision.0,
        });
    });
}

/// Takes a node's hash over everything it has.
pub async fn hash(node: &Node, running: Running, recorder: &Recorder) {
    let hashed = running
        .call(|control| async move { control.hash_kv(Revision(0)).await })
        .await;
    match hashed {
        Some(Ok(hash)) => recorder.with(|history| {
            history.hashes.push(Hash {
                node: node.id,
                revision: hash.hash_revision.0,
                compacted: hash.compact_revision.0,
                hash: hash.hash,
            });
        }),
        Some(Err(error)) => recorder.fault(format!("node {} has no hash: {error}", node.id)),
        None => {}
    }
}
