//! Two doors of one server: clients of both see each other.

use atoll_base::id::NodeId;
use atoll_ring::slot::{SLOTS, Slot};

use super::*;
use crate::api::{ClusterNode, ClusterView, Redirect, Route, SlotRange};

/// One node that owns the first half of the slots, and another one.
struct Half;

impl ClusterMap for Half {
    fn view(&self) -> ClusterView {
        let range = |first, last, owner| SlotRange {
            first,
            last,
            owner: NodeId(owner),
            replicas: Vec::new(),
            is_covered: true,
        };
        let node = |id: u16| ClusterNode {
            id: NodeId(id.into()),
            host: "127.0.0.1".to_owned(),
            port: 7000 + id,
            is_up: true,
            changed_ms: 0,
        };
        ClusterView {
            own: NodeId(1),
            epoch: 1,
            nodes: vec![node(1), node(2)],
            ranges: vec![range(0, SLOTS / 2 - 1, 1), range(SLOTS / 2, SLOTS - 1, 2)],
        }
    }

    fn route(&self, slot: Slot) -> Route {
        match slot.number() < SLOTS / 2 {
            true => Route::Here,
            false => Route::Elsewhere(Redirect {
                host: "127.0.0.1".to_owned(),
                port: 7002,
            }),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn both_doors_are_of_one_server() {
    let node = Node::new(settings());
    let mut plain = node.connect();
    let mut cluster = node.connect_to(node.server.in_cluster(Arc::new(Half)));
    // "a" is in slot 15495, "b" in 3300.
    plain.ask("SET a 1", "+OK\r\n").await;
    cluster
        .ask("SET a 2", "-MOVED 15495 127.0.0.1:7002\r\n")
        .await;
    cluster.ask("SET b 2", "+OK\r\n").await;
    plain.ask("GET b", "$1\r\n2\r\n").await;
    // In a pipeline each reply has its place.
    cluster.send("SET b 3\r\nSET a 3\r\nGET b\r\n").await;
    cluster
        .expect("+OK\r\n-MOVED 15495 127.0.0.1:7002\r\n$1\r\n3\r\n")
        .await;
    for (client, lines) in [
        (&mut plain, ["cluster_enabled:0", "redis_mode:standalone"]),
        (&mut cluster, ["cluster_enabled:1", "redis_mode:cluster"]),
    ] {
        client.send("INFO\r\n").await;
        let info = client.bulk().await;
        for line in lines {
            assert!(info.lines().any(|it| it == line), "{line} is not in {info}");
        }
        assert!(info.contains("connected_clients:2\r\n"));
        // Numbers of connections are told apart.
        client.send("CLIENT LIST\r\n").await;
        let list = client.bulk().await;
        assert!(
            list.starts_with("id=3 ") && list.contains("\nid=4 "),
            "{list}"
        );
    }
    cluster
        .ask(
            "SUBSCRIBE news",
            "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n",
        )
        .await;
    plain.ask("PUBLISH news x", ":1\r\n").await;
}
