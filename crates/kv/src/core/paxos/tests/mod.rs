//! The core by itself: an exhaustive search within small bounds, and stories.

mod search;
mod story;
mod world;

use atoll_base::id::ReplicaId;
use bytes::Bytes;

use super::{Configuration, Durable, Members, Payload, Replica, Settings};

fn members(ids: &[u64]) -> Members {
    Members::new(ids.iter().copied().map(ReplicaId).collect()).expect("some")
}

fn batch(text: &'static str) -> Payload {
    Payload::Batch(Bytes::from_static(text.as_bytes()))
}

fn replica(id: u64, configuration: &Configuration, settings: Settings) -> Replica {
    let durable = Durable::new(configuration.clone());
    Replica::new(ReplicaId(id), durable, settings, id)
}
