//! How pods of other machines' nodes are reached: kept as Nodes come, go and move.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use atoll_world::clock;
use ipnet::Ipv4Net;

use super::runtime::Runtime;
use crate::{
    core::{controllers::world::View as _, kinds, pod_network},
    driver::mirror::Mirror,
};

/// How often Nodes are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// So often it is seen to it that they are still there, though no Node has changed: services that
/// manage networks remove routes that they don't know.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// Keeps the routes of the node of that name.
pub(super) async fn keep<R: Runtime>(mirror: Mirror, name: String, runtime: R) {
    // Nothing to begin with: most nodes never need any.
    let mut kept = (None, BTreeMap::new());
    let mut kept_at = clock::now();
    let mut told = String::new();
    loop {
        let wanted = wanted(&mirror, &name);
        let is_needed = !(wanted.1.is_empty() && kept.1.is_empty());
        let is_due = kept != wanted || kept_at.elapsed() >= CHECK_INTERVAL;
        if is_needed && is_due {
            match runtime.route(wanted.0, wanted.1.clone()).await {
                Ok(()) => {
                    (kept, kept_at) = (wanted, clock::now());
                    told.clear();
                }
                Err(why) if why == told => {}
                Err(why) => {
                    tracing::warn!(%why, "pods of another machine are not reached by their own addresses");
                    told = why;
                }
            }
        }
        clock::sleep(INTERVAL).await;
    }
}

/// The node's own range, and the ways to those of other machines' nodes.
fn wanted(mirror: &Mirror, name: &str) -> (Option<Ipv4Net>, BTreeMap<Ipv4Net, Ipv4Addr>) {
    let (own, nodes) = {
        let look = mirror.look();
        let own = look.get(&kinds::NODES, "", name);
        (own, look.list(&kinds::NODES, None))
    };
    let own = own.as_deref();
    let nodes = nodes.iter().map(|node| &**node);
    (
        own.and_then(pod_network::range),
        pod_network::routes(nodes, own),
    )
}
