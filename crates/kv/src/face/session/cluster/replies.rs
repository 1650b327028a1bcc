//! What CLUSTER answers, from what is known of the cluster (Redis: "CLUSTER SLOTS", "CLUSTER
//! SHARDS", "CLUSTER NODES", "CLUSTER INFO", "CLUSTER LINKS").
//!
//! In a Redis Cluster a node is a master or a replica; here each owns some partitions and holds
//! replicas of others. Where an answer has room for that (SLOTS, SHARDS) it says so; where a
//! node has one line (NODES) it is a master.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use atoll_base::id::NodeId;
use atoll_ring::slot::SLOTS;

use crate::{
    api::{ClusterNode, ClusterView, SlotRange},
    core::reply::Reply,
};

/// A node's name among cluster clients: 40 hexadecimal digits, of which the first 16 are its id.
pub(super) fn node_id(node: NodeId) -> String {
    format!("{:016x}{:024x}", node.0, 0)
}

/// The name of a node's shard, which is its own.
pub(super) fn shard_id(node: NodeId) -> String {
    format!("{:016x}{:024x}", node.0, 1)
}

fn find(view: &ClusterView, id: NodeId) -> Option<&ClusterNode> {
    view.nodes.iter().find(|node| node.id == id)
}

/// The replicas of a range that clients can be sent to.
fn replicas_up<'a>(
    view: &'a ClusterView,
    range: &'a SlotRange,
) -> impl Iterator<Item = &'a ClusterNode> {
    let nodes = range.replicas.iter().filter_map(|id| find(view, *id));
    nodes.filter(|node| node.is_up)
}

/// CLUSTER SLOTS. Some clients take a node for what it is the first time they meet it, and ask
/// only those that were masters then what all masters are asked. So each owner comes first with
/// a single slot of its own, and without replicas.
pub(super) fn slots(view: &ClusterView) -> Reply {
    let mut first = Vec::new();
    let mut rest = Vec::new();
    let mut met = BTreeSet::new();
    for range in &view.ranges {
        let Some(owner) = find(view, range.owner) else {
            continue;
        };
        let mut begin = range.first;
        if met.insert(range.owner) {
            first.push(slot_range(begin, begin, &[owner]));
            if begin == range.last {
                continue;
            }
            begin += 1;
        }
        let nodes: Vec<&ClusterNode> = [owner]
            .into_iter()
            .chain(replicas_up(view, range))
            .collect();
        rest.push(slot_range(begin, range.last, &nodes));
    }
    first.append(&mut rest);
    Reply::Array(first)
}

fn slot_range(first: u16, last: u16, nodes: &[&ClusterNode]) -> Reply {
    let bounds = [first, last].map(|slot| Reply::Integer(slot.into()));
    let nodes = nodes.iter().map(|node| {
        Reply::Array(vec![
            Reply::bulk(&node.host),
            Reply::Integer(node.port.into()),
            Reply::bulk(node_id(node.id)),
            Reply::Array(Vec::new()),
        ])
    });
    Reply::Array(bounds.into_iter().chain(nodes).collect())
}

/// CLUSTER SHARDS: slots with the same owner and replicas are one shard.
pub(super) fn shards(view: &ClusterView) -> Reply {
    let mut shards: BTreeMap<(NodeId, &[NodeId]), Vec<Reply>> = BTreeMap::new();
    for range in &view.ranges {
        let slots = shards.entry((range.owner, &range.replicas)).or_default();
        slots.extend([range.first, range.last].map(|slot| Reply::Integer(slot.into())));
    }
    let shards = shards.into_iter().map(|((owner, replicas), slots)| {
        let node = |id: NodeId, role| find(view, id).map(|node| shard_node(node, role));
        let owner = node(owner, "master").into_iter();
        let replicas = replicas.iter().filter_map(|id| node(*id, "replica"));
        Reply::Map(vec![
            (Reply::bulk("slots"), Reply::Array(slots)),
            (
                Reply::bulk("nodes"),
                Reply::Array(owner.chain(replicas).collect()),
            ),
        ])
    });
    Reply::Array(shards.collect())
}

fn shard_node(node: &ClusterNode, role: &str) -> Reply {
    let health = if node.is_up { "online" } else { "fail" };
    Reply::Map(vec![
        (Reply::bulk("id"), Reply::bulk(node_id(node.id))),
        (Reply::bulk("port"), Reply::Integer(node.port.into())),
        (Reply::bulk("ip"), Reply::bulk(&node.host)),
        (Reply::bulk("endpoint"), Reply::bulk(&node.host)),
        (Reply::bulk("role"), Reply::bulk(role)),
        (Reply::bulk("replication-offset"), Reply::Integer(0)),
        (Reply::bulk("health"), Reply::bulk(health)),
    ])
}

/// The beginning of a node's line. There is no bus: its port is 0.
fn line(view: &ClusterView, node: &ClusterNode, role: &str, master: &str) -> String {
    let me = if node.id == view.own { "myself," } else { "" };
    let (fail, link) = match node.is_up {
        true => ("", "connected"),
        false => (",fail", "disconnected"),
    };
    // When it was last asked, and when it last answered.
    let (asked_ms, answered_ms) = match (node.id == view.own, node.is_up) {
        (true, _) => (0, 0),
        (false, true) => (0, node.changed_ms),
        (false, false) => (node.changed_ms, 0),
    };
    format!(
        "{} {}:{}@0 {me}{role}{fail} {master} {asked_ms} {answered_ms} {} {link}",
        node_id(node.id),
        node.host,
        node.port,
        view.epoch,
    )
}

/// CLUSTER NODES: a line for each, with the slots that it owns.
pub(super) fn nodes(view: &ClusterView) -> String {
    let mut text = String::new();
    for node in &view.nodes {
        text.push_str(&line(view, node, "master", "-"));
        for range in owned(view, node.id) {
            // Writing to a string does not fail.
            let _ = match range {
                (first, last) if first == last => write!(text, " {first}"),
                (first, last) => write!(text, " {first}-{last}"),
            };
        }
        text.push('\n');
    }
    text
}

/// What a node owns, in as few ranges as there are, whatever their replicas.
fn owned(view: &ClusterView, id: NodeId) -> Vec<(u16, u16)> {
    let mut all: Vec<(u16, u16)> = Vec::new();
    for range in view.ranges.iter().filter(|range| range.owner == id) {
        match all.last_mut() {
            Some((_, last)) if *last + 1 == range.first => *last = range.last,
            _ => all.push((range.first, range.last)),
        }
    }
    all
}

/// CLUSTER REPLICAS: a line for each node that holds replicas of what another one owns.
pub(super) fn replicas(view: &ClusterView, owner: NodeId) -> Vec<String> {
    let ranges = view.ranges.iter().filter(|range| range.owner == owner);
    let ids: BTreeSet<NodeId> = ranges.flat_map(|it| it.replicas.iter().copied()).collect();
    let nodes = ids.into_iter().filter_map(|id| find(view, id));
    nodes
        .map(|node| line(view, node, "slave", &node_id(owner)))
        .collect()
}

/// CLUSTER INFO. A slot is well if a majority of its replicas can be reached.
pub(super) fn info(view: &ClusterView) -> String {
    let slots = |range: &SlotRange| u64::from(range.last - range.first) + 1;
    let assigned: u64 = view.ranges.iter().map(slots).sum();
    let covered = view.ranges.iter().filter(|range| range.is_covered);
    let well: u64 = covered.map(slots).sum();
    let owners: BTreeSet<NodeId> = view.ranges.iter().map(|range| range.owner).collect();
    let state = if well == u64::from(SLOTS) {
        "ok"
    } else {
        "fail"
    };
    format!(
        "cluster_state:{state}\r\ncluster_slots_assigned:{assigned}\r\ncluster_slots_ok:{well}\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:{}\r\ncluster_known_nodes:{}\r\n\
         cluster_size:{}\r\ncluster_current_epoch:{}\r\ncluster_my_epoch:{}\r\n\
         cluster_stats_messages_sent:0\r\ncluster_stats_messages_received:0\r\n\
         total_cluster_links_buffer_limit_exceeded:0\r\n",
        assigned - well,
        view.nodes.len(),
        owners.len(),
        view.epoch,
        view.epoch,
    )
}

/// CLUSTER LINKS: one in each direction to every node that can be reached.
pub(super) fn links(view: &ClusterView) -> Reply {
    let others = view
        .nodes
        .iter()
        .filter(|node| node.id != view.own && node.is_up);
    let links = others.flat_map(|node| {
        ["to", "from"].map(|direction| {
            let events = if direction == "to" { "rw" } else { "r" };
            Reply::Map(vec![
                (Reply::bulk("direction"), Reply::bulk(direction)),
                (Reply::bulk("node"), Reply::bulk(node_id(node.id))),
                (
                    Reply::bulk("create-time"),
                    Reply::Integer(i64::try_from(node.changed_ms).unwrap_or(i64::MAX)),
                ),
                (Reply::bulk("events"), Reply::bulk(events)),
                (Reply::bulk("send-buffer-allocated"), Reply::Integer(0)),
                (Reply::bulk("send-buffer-used"), Reply::Integer(0)),
            ])
        })
    });
    Reply::Array(links.collect())
}
