//! Listeners of TCP.

use atoll_gateway::core::{
    config::{Endpoint, HashKey, Policy, ProxyVersion},
    sources::Sources,
};
use tokio::io::AsyncWriteExt;

use crate::{
    clients::{connect, read_all, read_exactly},
    endpoints::{echo, greet, nobody, serve},
    rig::{Rig, cluster, raw, until},
};

#[tokio::test]
async fn bytes_go_both_ways_and_each_side_may_end_first() {
    let endpoint = echo().await;
    let rig = Rig::start(raw(cluster(&[endpoint.address])));
    let address = rig.address("raw").await;
    let mut stream = connect(address).await;
    stream.write_all(b"hello").await.unwrap();
    assert_eq!(read_exactly(&mut stream, 5).await, "hello");
    stream.write_all(b"last").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read_all(&mut stream).await, "last");
    let stats = rig.stats();
    until("the connection's end", || {
        stats.connections_open.open() == 0
    })
    .await;
    assert_eq!(rig.gateway.endpoints()["a"][0].open, 0);
    assert_eq!(stats.tcp_connections.get(), 1);
}

#[tokio::test]
async fn connections_outlive_their_endpoint_in_the_config() {
    let (old, new) = (greet("old").await, greet("new").await);
    let mut rig = Rig::start(raw(cluster(&[old.address])));
    let address = rig.address("raw").await;
    let mut first = connect(address).await;
    assert_eq!(read_exactly(&mut first, 3).await, "old");
    rig.change(|config| {
        config.clusters.get_mut("a").unwrap().endpoints[0] = Endpoint::new(new.address)
    })
    .await;
    let mut second = connect(address).await;
    assert_eq!(read_exactly(&mut second, 3).await, "new");
    first.write_all(b"still").await.unwrap();
    assert_eq!(read_exactly(&mut first, 5).await, "still");
    // Not even without its listener.
    rig.change(|config| config.listeners.clear()).await;
    let gone = rig.gateway.addresses();
    until("the listener's end", || gone.borrow().is_empty()).await;
    first.write_all(b"there").await.unwrap();
    assert_eq!(read_exactly(&mut first, 5).await, "there");
    rig.gateway.stop(std::time::Duration::from_millis(10)).await;
    assert_eq!(read_all(&mut first).await, "", "cut off after the grace");
}

#[tokio::test]
async fn the_next_endpoint_is_tried_and_bad_ones_are_left_out() {
    let endpoint = greet("here").await;
    let mut config = raw(cluster(&[nobody().await, endpoint.address, nobody().await]));
    let cluster = config.clusters.get_mut("a").unwrap();
    cluster.outliers = Some(atoll_gateway::core::config::OutlierPolicy {
        consecutive_errors: 1,
        ejected_percent_max: 100,
        ..Default::default()
    });
    let rig = Rig::start(config);
    let address = rig.address("raw").await;
    for _ in 0..12 {
        let mut stream = connect(address).await;
        assert_eq!(read_exactly(&mut stream, 4).await, "here");
    }
    let stats = rig.stats();
    // One error each, and then nobody asks them any more.
    assert_eq!(
        (stats.ejections.get(), stats.connect_failures.get()),
        (2, 2)
    );
    let ejected = rig.gateway.endpoints();
    let ejected: Vec<_> = ejected["a"].iter().map(|it| it.is_ejected).collect();
    assert_eq!(ejected, [true, false, true]);
}

#[tokio::test]
async fn nobody_there_is_an_end_and_not_a_wait() {
    let rig = Rig::start(raw(cluster(&[])));
    let mut stream = connect(rig.address("raw").await).await;
    assert_eq!(read_all(&mut stream).await, "");
    let rig = Rig::start(raw(cluster(&[nobody().await])));
    let mut stream = connect(rig.address("raw").await).await;
    assert_eq!(read_all(&mut stream).await, "");
    assert_eq!(
        rig.stats().connect_failures.get(),
        1,
        "the same one is not tried twice"
    );
}

#[tokio::test]
async fn silence_ends_a_connection() {
    let endpoint = greet("x").await;
    let mut config = raw(cluster(&[endpoint.address]));
    config.clusters.get_mut("a").unwrap().timeouts.idle_ms = 100;
    let rig = Rig::start(config);
    let mut stream = connect(rig.address("raw").await).await;
    assert_eq!(read_all(&mut stream).await, "x");
}

#[tokio::test]
async fn a_client_keeps_its_endpoint_by_source() {
    let (a, b, c) = (greet("a").await, greet("b").await, greet("c").await);
    let mut config = raw(cluster(&[a.address, b.address, c.address]));
    config.clusters.get_mut("a").unwrap().policy = Policy::Maglev(HashKey::Source);
    let rig = Rig::start(config);
    let address = rig.address("raw").await;
    let first = read_exactly(&mut connect(address).await, 1).await;
    for _ in 0..8 {
        assert_eq!(read_exactly(&mut connect(address).await, 1).await, first);
    }
}

#[tokio::test]
async fn proxy_headers_come_in_and_go_out() {
    let endpoint = echo().await;
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let mut config = raw(cluster(&[endpoint.address]));
        config.listeners[0].proxies = Some(Sources::default());
        config.listeners[0].limits.head_ms = 300;
        config.clusters.get_mut("a").unwrap().sends_proxy_header = Some(version);
        let rig = Rig::start(config);
        let address = rig.address("raw").await;
        let mut stream = connect(address).await;
        let came = b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 2222\r\nhi";
        stream.write_all(came).await.unwrap();
        if version == ProxyVersion::V1 {
            let sent = read_exactly(&mut stream, came.len()).await;
            assert_eq!(sent.as_bytes(), came);
        } else {
            use tokio::io::AsyncReadExt;
            let mut sent = vec![0; 30];
            stream.read_exact(&mut sent).await.unwrap();
            assert_eq!(
                &sent[12..],
                b"\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x04\x57\x08\xaehi"
            );
        }
        for wrong in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PROXY"] {
            let mut stream = connect(address).await;
            stream.write_all(wrong).await.unwrap();
            assert_eq!(read_all(&mut stream).await, "", "refused, or too slow");
        }
    }
}

#[tokio::test]
async fn as_many_connections_as_the_cluster_may_have() {
    let endpoint = serve(|mut stream, _| async move {
        let _ = stream.write_all(b"x").await;
        let _ = read_all(&mut stream).await;
    })
    .await;
    let mut config = raw(cluster(&[endpoint.address]));
    config.clusters.get_mut("a").unwrap().limits.connections_max = 1;
    let rig = Rig::start(config);
    let address = rig.address("raw").await;
    let mut first = connect(address).await;
    assert_eq!(read_exactly(&mut first, 1).await, "x");
    assert_eq!(read_all(&mut connect(address).await).await, "");
    assert_eq!(rig.stats().limited.get(), 1);
}
