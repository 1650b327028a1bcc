//! Sockets of the loopback interface.

use atoll_base::id::NodeId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{
    pki::{Authority, LEAF_LIFE, tls},
    task,
};

const LIMIT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_taken_port_says_so_and_what_to_do() {
    let first = listen("127.0.0.1:0").await.unwrap();
    let address = first.local_address().to_string();
    let error = listen(&address).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "address {address} is taken by another process; use --port-offset or another --listen"
        )
    );
    assert!(matches!(
        listen("192.0.2.1:0").await,
        Err(NetError::NotHere { .. })
    ));
    for wrong in ["", "localhost", "127.0.0.1:99999", "no such host:1"] {
        assert!(
            matches!(listen(wrong).await, Err(NetError::BadAddress { .. })),
            "{wrong}"
        );
    }
    drop(first);
    let refused = connect(&address, LIMIT).await.unwrap_err();
    assert!(matches!(refused, NetError::Socket { source, .. }
        if source.kind() == io::ErrorKind::ConnectionRefused));
}

#[tokio::test]
async fn plain_connections_carry_bytes() {
    let listener = listen("localhost:0").await.unwrap();
    let address = listener.local_address().to_string();
    let client = task::spawn(async move {
        let mut stream = connect(&address, LIMIT).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let mut stream = listener.accept().await.plain();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "hello");
    assert!(!stream.is_tls() && stream.alpn().is_none() && stream.peer_facts().is_none());
    client.await.unwrap();
}

#[tokio::test]
async fn pieces_arrive_one_behind_the_other_be_they_few_bytes_or_many() {
    let listener = listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_address().to_string();
    let (ours, theirs) = tokio::join!(connect(&address, LIMIT), listener.accept());
    let (mut ours, mut theirs) = (ours.unwrap(), theirs.plain());
    for body_bytes in [0, 1, 1_000, 1_019, 1_020, 2_000] {
        let body: Vec<u8> = (0..body_bytes).map(|at| at as u8).collect();
        let slices = [b"head" as &[u8], b"", &body].map(io::IoSlice::new);
        let sent = ours.write_vectored(&slices).await.unwrap();
        assert_eq!(sent, 4 + body_bytes);
        let mut came = vec![0; sent];
        theirs.read_exact(&mut came).await.unwrap();
        assert_eq!(came, [b"head", &body[..]].concat());
    }
}

#[tokio::test]
async fn what_stands_in_front_of_tls_is_read_first() {
    let authority = Authority::create().unwrap();
    let names = ["127.0.0.1".to_owned()];
    let node = authority.issue_node(NodeId(1), &names, LEAF_LIFE).unwrap();
    let trust = authority.trust();
    let optional = tls::ClientCertificate::Optional;
    let served = tls::listener_config(&node, &trust, optional, &[]).unwrap();
    let acceptor = TlsAcceptor::new(Some(served), None);
    let listener = listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_address().to_string();
    let client = task::spawn(async move {
        let config = tls::client_config(&trust.roots, None, &[]).unwrap();
        let connected = connect_tls_behind(&address, b"first", "127.0.0.1", config, LIMIT);
        connected.await.unwrap().write_all(b"then").await.unwrap();
    });
    let mut incoming = listener.accept().await;
    let mut first = [0; 5];
    incoming.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"first");
    let mut stream = incoming.handshake(&acceptor).await.unwrap();
    let mut then = [0; 4];
    stream.read_exact(&mut then).await.unwrap();
    assert_eq!(&then, b"then");
    client.await.unwrap();
}

#[tokio::test]
async fn one_listener_for_clients_and_peers() {
    let authority = Authority::create().unwrap();
    let trust = authority.trust();
    let node = NodeId(7);
    let server = authority
        .issue_node(node, &["127.0.0.1".to_owned()], LEAF_LIFE)
        .unwrap();
    let user = authority.issue_client("alice", LEAF_LIFE).unwrap();
    let acceptor = TlsAcceptor::new(
        Some(
            tls::listener_config(&server, &trust, tls::ClientCertificate::Optional, &[b"h2"])
                .unwrap(),
        ),
        Some(tls::peer_server_config(&server, &trust).unwrap()),
    );
    let listener = listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_address().to_string();

    let as_user = tls::client_config(&trust.roots, Some(&user), &[b"h2"]).unwrap();
    let (theirs, ours) = tokio::join!(connect_tls(&address, "127.0.0.1", as_user, LIMIT), async {
        listener.accept().await.handshake(&acceptor).await
    });
    let (theirs, ours) = (theirs.unwrap(), ours.unwrap());
    assert_eq!(ours.peer_common_name().as_deref(), Some("alice"));
    assert!(ours.is_tls() && !ours.is_peer_link() && theirs.alpn() == Some(b"h2"));
    assert_eq!(theirs.peer_facts().unwrap().node_id(), Some(node));

    let as_peer = tls::peer_client_config(&server, &trust).unwrap();
    let connecting = connect_tls(&address, "atoll-node-7", as_peer.clone(), LIMIT);
    let (theirs, ours) = tokio::join!(connecting, async {
        listener.accept().await.handshake(&acceptor).await
    });
    assert!(theirs.unwrap().is_peer_link());
    assert_eq!(ours.unwrap().peer_facts().unwrap().node_id(), Some(node));

    acceptor.replace(None, None);
    let connecting = connect_tls(&address, "atoll-node-7", as_peer, LIMIT);
    let (theirs, ours) = tokio::join!(connecting, async {
        listener.accept().await.handshake(&acceptor).await
    });
    assert!(matches!(theirs, Err(NetError::Tls { .. })));
    assert!(matches!(ours, Err(NetError::NotServed { .. })));
}

#[tokio::test]
async fn what_is_not_tls_is_told_apart() {
    let listener = listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_address().to_string();
    let (client, refused) = tokio::join!(
        async {
            let mut stream = connect(&address, LIMIT).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            stream
        },
        async {
            listener
                .accept()
                .await
                .handshake(&TlsAcceptor::default())
                .await
        }
    );
    assert!(matches!(refused, Err(NetError::Tls { .. })));
    drop(client);
}

#[tokio::test]
async fn datagrams_go_to_whoever_is_meant() {
    let server = listen_datagrams("127.0.0.1:0").await.unwrap();
    let address = server.local_address();
    let taken = listen_datagrams(&address.to_string()).await.unwrap_err();
    assert!(matches!(taken, NetError::AddressTaken { .. }), "{taken}");
    let client = datagrams_to(address).await.unwrap();
    let stranger = listen_datagrams("127.0.0.1:0").await.unwrap();
    let own = client.local_address();
    stranger.send_to(b"not this", own).await.unwrap();
    client.send(b"question").await.unwrap();
    let mut bytes = [0; 4];
    let (length, from) = server.receive_any(&mut bytes).await;
    assert_eq!((length, &bytes[..], from), (4, &b"ques"[..], own));
    server.send_to(b"yes", from).await.unwrap();
    assert_eq!(client.receive(&mut bytes).await.unwrap(), 3);
    assert_eq!(&bytes[..3], b"yes");
    drop(server);
    client.send(b"again").await.unwrap();
    assert!(client.receive(&mut bytes).await.is_err());
}

#[tokio::test]
async fn free_ports_are_different_and_a_simulation_draws_them() {
    let different = |ports: &[u16]| {
        ports
            .iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len()
    };
    assert_eq!(different(&free_ports(3).await.unwrap()), 3);
    random::seed_thread(7);
    let drawn = free_ports(3).await.unwrap();
    random::seed_thread(7);
    assert_eq!(free_ports(3).await.unwrap(), drawn);
    random::unseed_thread();
    assert_eq!(different(&drawn), 3);
}
