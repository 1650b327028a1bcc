//! Nodes that tell each other what has changed, over simulated links.

use atoll_base::id::ReplicaId;
use atoll_ring::partition::Partitions;
use atoll_world::peers::sim::SimNet;

use super::*;
use crate::{
    core::machine::Author,
    hub::{Mailbox, Told, Tracked},
};

fn nodes(net: &SimNet) -> Vec<Invalidations> {
    let ids = [1, 2, 3];
    let nodes = ids.map(|id| (ReplicaId(id), NodeId(id))).into();
    let partitions = Partitions::new(1).unwrap();
    let layout = Layout::fixed(partitions, nodes, |_| ids.map(ReplicaId).into());
    let start = |id| {
        let peers = net.peers(NodeId(id));
        for other in ids.into_iter().filter(|other| *other != id) {
            peers.set_address(NodeId(other), String::new());
        }
        Invalidations::start(Hub::default(), NodeId(id), peers, &layout)
    };
    ids.map(start).into()
}

/// A client of a node that hears of all changes but its own.
async fn track(node: &Invalidations) -> Arc<Mailbox> {
    let mailbox = Arc::default();
    let tracked = Tracked {
        prefixes: Some(vec![Bytes::new()]),
        no_loop: true,
        ..Tracked::default()
    };
    let trackers = node.0.hub.trackers();
    trackers.set(5, &mailbox, Some(tracked));
    trackers.announced().await;
    mailbox
}

async fn told(mailbox: &Mailbox) -> Option<Vec<Bytes>> {
    for _ in 0..100_000 {
        match mailbox.take_told() {
            Some(Told::Invalidated { keys, .. }) => return keys,
            Some(other) => panic!("{other:?}"),
            None => clock::sleep(Duration::from_millis(1)).await,
        }
    }
    panic!("nothing was told");
}

fn changed(key: &str, by: Option<(u64, u64)>) -> Changed {
    Changed {
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        author: by.map(|(node, client)| Author {
            node: NodeId(node),
            client,
        }),
    }
}

#[tokio::test(start_paused = true)]
async fn what_changes_anywhere_is_told_once() {
    let net = SimNet::new(1);
    let nodes = nodes(&net);
    assert!(nodes.iter().all(|node| !node.are_wanted()));
    let mailbox = track(&nodes[0]).await;
    assert!(nodes.iter().all(Invalidations::are_wanted));
    for number in 0..1000 {
        let key = number.to_string();
        nodes[number % 3].tell(&[changed("own", Some((1, 5))), changed(&key, Some((2, 5)))]);
        assert_eq!(told(&mailbox).await, Some(vec![Bytes::from(key)]));
        if number % 100 == 0 {
            clock::sleep(ASK_EVERY * 3).await;
        }
    }
    nodes[0].0.hub.trackers().set(5, &mailbox, None);
    clock::sleep(FORGOTTEN_AFTER * 2).await;
    for node in &nodes {
        node.tell(&[changed("last", None)]);
        assert!(!node.are_wanted());
    }
    assert_eq!(mailbox.take_told(), None);
}

#[tokio::test(start_paused = true)]
async fn who_may_have_missed_something_forgets_everything() {
    let net = SimNet::new(2);
    let nodes = nodes(&net);
    let mailbox = track(&nodes[0]).await;
    net.isolate(NodeId(2));
    nodes[1].tell(&[changed("lost", None)]);
    assert_eq!(told(&mailbox).await, None);
    net.heal();
    // It is asked again sooner or later, and begins anew.
    for _ in 0..1000 {
        nodes[1].tell(&[changed("back", None)]);
        clock::sleep(Duration::from_millis(100)).await;
        while let Some(told) = mailbox.take_told() {
            if told
                != (Told::Invalidated {
                    keys: None,
                    redirected: false,
                })
            {
                return;
            }
        }
    }
    panic!("it is told nothing any more");
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_is_told_as_everything() {
    let net = SimNet::new(3);
    let nodes = nodes(&net);
    let mailbox = track(&nodes[0]).await;
    let large = "k".repeat(KEPT_BYTES_MAX / 2);
    for _ in 0..4 {
        nodes[1].tell(&[changed(&large, None)]);
    }
    for _ in 0..5 {
        if told(&mailbox).await.is_none() {
            return;
        }
    }
    panic!("what was lost is not told");
}
