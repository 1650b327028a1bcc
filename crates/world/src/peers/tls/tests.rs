//! Nodes on real sockets of the loopback interface.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::{
    clock,
    net::TlsAcceptor,
    peers::{Reply, frame::HEADER_BYTES},
    pki::{Authority, Identity, LEAF_LIFE, node_dns_name, tls},
};

const ECHO: Service = Service(1);
/// Answers nothing, and keeps no reply.
const DROP: Service = Service(2);
/// Keeps replies for ever.
const HOLD: Service = Service(3);
const NOBODY: Service = Service(4);
const A: NodeId = NodeId(0xa);
const B: NodeId = NodeId(0xb);
const CLUSTER: ClusterId = ClusterId(77);
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Rooms {
    held: Mutex<Vec<Reply>>,
    count: AtomicUsize,
    last: Mutex<BTreeMap<NodeId, u64>>,
}

struct Room(Service, Arc<Rooms>);

impl Handler for Room {
    fn handle(&self, from: NodeId, payload: Bytes, reply: Reply) {
        self.1.count.fetch_add(1, Ordering::SeqCst);
        if let Ok(number) = payload[..].try_into().map(u64::from_le_bytes) {
            let before = self.1.last.lock().insert(from, number);
            assert!(before.is_none_or(|before| before < number), "in order");
        }
        match self.0 {
            ECHO => {
                task::spawn(async move { reply.send(payload) });
            }
            HOLD => self.1.held.lock().push(reply),
            _ => drop(reply),
        }
    }
}

struct World {
    authority: Authority,
}

struct Node {
    peers: Arc<TlsPeers>,
    address: String,
    rooms: Arc<Rooms>,
    accepting: task::JoinHandle<()>,
}

impl World {
    fn new() -> World {
        World {
            authority: Authority::create().unwrap(),
        }
    }

    async fn start(&self, node: NodeId, cluster: ClusterId) -> Node {
        let identity = self.authority.issue_node(node, &[], LEAF_LIFE).unwrap();
        self.start_as(node, cluster, &identity, "127.0.0.1:0").await
    }

    async fn start_as(
        &self,
        node: NodeId,
        cluster: ClusterId,
        identity: &Identity,
        at: &str,
    ) -> Node {
        let trust = self.authority.trust();
        let acceptor = TlsAcceptor::new(
            None,
            Some(tls::peer_server_config(identity, &trust).unwrap()),
        );
        let peers = TlsPeers::new(
            node,
            cluster,
            tls::peer_client_config(identity, &trust).unwrap(),
        );
        let rooms = Arc::new(Rooms::default());
        for service in [ECHO, DROP, HOLD] {
            peers.serve(service, Arc::new(Room(service, rooms.clone())));
        }
        let listener = net::listen(at).await.unwrap();
        let address = listener.local_address().to_string();
        let accepting = {
            let peers = peers.clone();
            task::spawn(async move {
                loop {
                    let incoming = listener.accept().await;
                    let (peers, acceptor) = (peers.clone(), acceptor.clone());
                    task::spawn(async move {
                        if let Ok(stream) = incoming.handshake(&acceptor).await {
                            peers.accept(stream);
                        }
                    });
                }
            })
        };
        Node {
            peers,
            address,
            rooms,
            accepting,
        }
    }

    async fn pair(&self) -> (Node, Node) {
        let (a, b) = (self.start(A, CLUSTER).await, self.start(B, CLUSTER).await);
        a.peers.set_address(B, b.address.clone());
        b.peers.set_address(A, a.address.clone());
        (a, b)
    }
}

impl Node {
    /// Stops at once, as a process that ends; its port is free again afterwards.
    async fn stop(self) -> String {
        self.accepting.abort();
        let _ = self.accepting.await;
        self.peers.close();
        self.address
    }

    async fn echo(&self, to: NodeId, text: &'static str) -> Result<Bytes, PeerError> {
        within(
            self.peers
                .call(to, ECHO, Bytes::from_static(text.as_bytes())),
        )
        .await
    }

    /// Calls until it works.
    async fn reach(&self, to: NodeId) {
        within(async {
            while self.echo(to, "are you there?").await.is_err() {
                task::yield_now().await;
            }
        })
        .await;
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    clock::timeout(PATIENCE, work)
        .await
        .expect("it happens in time")
}

fn reason(answer: Result<Bytes, PeerError>) -> String {
    match answer {
        Err(PeerError::Unreachable { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn two_nodes_call_each_other() {
    let (a, b) = World::new().pair().await;
    assert_eq!(a.echo(B, "hello").await.unwrap(), "hello");
    assert_eq!(b.echo(A, "").await.unwrap(), "");
    for service in [DROP, NOBODY] {
        let answer = within(a.peers.call(B, service, Bytes::new())).await;
        assert_eq!(answer, Err(PeerError::Refused(B)));
    }
    let large = Bytes::from(vec![7; PAYLOAD_BYTES_MAX]);
    assert_eq!(
        within(a.peers.call(B, ECHO, large.clone())).await.unwrap(),
        large
    );
    let larger = Bytes::from(vec![7; PAYLOAD_BYTES_MAX + 1]);
    let answer = within(a.peers.call(B, ECHO, larger)).await;
    assert_eq!(
        answer,
        Err(PeerError::TooLarge {
            bytes: PAYLOAD_BYTES_MAX + 1
        })
    );
    let unknown = a.echo(NodeId(0xc), "").await;
    assert_eq!(unknown, Err(PeerError::UnknownPeer(NodeId(0xc))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_arrive_in_order_and_are_matched_with_their_answers() {
    let (a, b) = World::new().pair().await;
    let number = |payload: &Bytes| u64::from_le_bytes(payload[..].try_into().unwrap());
    for _ in 0..5 {
        let start = b.rooms.count.load(Ordering::SeqCst) as u64;
        let calls: Vec<_> = (start..start + 3000)
            .map(|number| {
                (
                    number,
                    a.peers
                        .call(B, ECHO, Bytes::from(number.to_le_bytes().to_vec())),
                )
            })
            .collect();
        for (expected, call) in calls {
            assert_eq!(number(&within(call).await.unwrap()), expected);
        }
    }
    assert_eq!(b.rooms.count.load(Ordering::SeqCst), 15_000);
    // What was given up is not waited for.
    for _ in 0..100 {
        drop(a.peers.call(B, HOLD, Bytes::new()));
    }
    a.reach(B).await;
    assert!(a.peers.shared.links.lock().outbound[&B].clone().is_idle());
}

#[tokio::test]
async fn pending_calls_fail_at_once_when_the_other_side_ends_and_work_after_its_restart() {
    let world = World::new();
    let identity = world.authority.issue_node(B, &[], LEAF_LIFE).unwrap();
    let (a, b) = world.pair().await;
    let held = a.peers.call(B, HOLD, Bytes::new());
    a.reach(B).await;
    assert_eq!(b.rooms.held.lock().len(), 1);
    let address = b.stop().await;
    assert!(matches!(
        within(held).await,
        Err(PeerError::Unreachable { node: B, .. })
    ));
    for _ in 0..10 {
        assert!(a.echo(B, "gone").await.is_err());
    }
    let b = world.start_as(B, CLUSTER, &identity, &address).await;
    b.peers.set_address(A, a.address.clone());
    a.reach(B).await;
    b.reach(A).await;

    // It moves to another address.
    b.stop().await;
    let b = world.start_as(B, CLUSTER, &identity, "127.0.0.1:0").await;
    b.peers.set_address(A, a.address.clone());
    a.peers.set_address(B, b.address.clone());
    a.reach(B).await;
}

#[tokio::test]
async fn a_node_of_another_cluster_is_told_apart_on_both_sides() {
    let world = World::new();
    let (a, b) = (
        world.start(A, CLUSTER).await,
        world.start(B, ClusterId(78)).await,
    );
    a.peers.set_address(B, b.address.clone());
    b.peers.set_address(A, a.address.clone());
    let said = reason(a.echo(B, "").await);
    assert_eq!(said, "node b belongs to cluster 4e, this node to 4d");
    within(async {
        while !b.complained_of(A).contains("belongs") {
            task::yield_now().await
        }
    })
    .await;
    assert_eq!(
        b.complained_of(A),
        "node a belongs to cluster 4d, this node to 4e"
    );
    assert_eq!(b.rooms.count.load(Ordering::SeqCst), 0);
    // Said once.
    assert!(!b.peers.shared.is_new_complaint(A, &b.complained_of(A)));
}

impl Node {
    fn complained_of(&self, node: NodeId) -> String {
        self.peers
            .shared
            .complaints
            .lock()
            .get(&node)
            .cloned()
            .unwrap_or_default()
    }
}

impl outbound::Outbound {
    fn is_idle(&self) -> bool {
        self.pending_calls() == 0
    }
}

#[tokio::test]
async fn who_is_not_a_member_is_refused_and_told() {
    let world = World::new();
    let (a, b) = (world.start(A, CLUSTER).await, world.start(B, CLUSTER).await);
    a.peers.set_address(B, b.address.clone());
    let said = reason(a.echo(B, "").await);
    assert_eq!(
        said,
        "the other side closed the link: node a is not a member of this cluster"
    );
    b.peers.set_address(A, a.address.clone());
    a.reach(B).await;
    b.reach(A).await;

    let held = a.peers.call(B, HOLD, Bytes::new());
    a.reach(B).await;
    b.peers.forget(A);
    reason(within(held).await);
    assert!(a.echo(B, "").await.is_err());
    assert_eq!(b.echo(A, "").await, Err(PeerError::UnknownPeer(A)));
}

#[tokio::test]
async fn a_certificate_must_be_of_this_cluster_and_of_that_node() {
    let world = World::new();
    let (a, b) = world.pair().await;
    // Somebody with a certificate of another authority.
    let stranger = World::new().start(A, CLUSTER).await;
    stranger.peers.set_address(B, b.address.clone());
    assert!(reason(stranger.echo(B, "").await).contains("certificate"));
    // A member at the address of another.
    let c = world.start(NodeId(0xc), CLUSTER).await;
    a.peers.set_address(NodeId(0xc), b.address.clone());
    assert!(reason(a.echo(NodeId(0xc), "").await).contains("certificate"));
    // A member that claims another's id in its hello.
    let as_c = c.peers.shared.tls.read().clone();
    let mut fake = raw(&b, as_c).await;
    let error = speak(
        &mut fake,
        &[Hello {
            cluster: CLUSTER,
            node: A,
        }
        .to_frame()],
    )
    .await;
    assert_eq!(error, "the certificate names node c, the hello a");
    assert_eq!(b.rooms.count.load(Ordering::SeqCst), 0);
}

/// A connection to a node, by hand.
async fn raw(
    to: &Node,
    tls: Arc<ClientConfig>,
) -> (FrameReader, tokio::io::WriteHalf<net::Stream>) {
    let name = node_dns_name(to.peers.shared.me.node);
    let stream = net::connect_tls(&to.address, &name, tls, PATIENCE)
        .await
        .unwrap();
    let (read, write) = tokio::io::split(stream);
    (FrameReader::new(read), write)
}

/// Sends frames and reads until the other side says why it closes.
async fn speak(
    (reader, write): &mut (FrameReader, tokio::io::WriteHalf<net::Stream>),
    frames: &[Frame],
) -> String {
    for frame in frames {
        write_frame(write, frame).await.unwrap();
    }
    loop {
        match within(reader.next()).await {
            Ok(_) => {}
            Err(LinkError::Told(reason)) => return reason,
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn frames_that_are_wrong_close_the_connection_with_a_reason() {
    let (a, b) = World::new().pair().await;
    let tls = || a.peers.shared.tls.read().clone();
    let hello = Hello {
        cluster: CLUSTER,
        node: A,
    }
    .to_frame();

    let mut link = raw(&b, tls()).await;
    write_frame(&mut link.1, &hello).await.unwrap();
    within(link.0.hello()).await.unwrap();
    link.1.write_all(&[255; 4]).await.unwrap();
    link.1.flush().await.unwrap();
    let said = speak(&mut link, &[]).await;
    assert!(
        said.starts_with("a frame of 4294967299 bytes is over the limit"),
        "{said}"
    );

    let mut link = raw(&b, tls()).await;
    write_frame(&mut link.1, &hello).await.unwrap();
    within(link.0.hello()).await.unwrap();
    link.1
        .write_all(&[HEADER_BYTES as u8, 0, 0, 0, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    link.1.flush().await.unwrap();
    assert_eq!(
        speak(&mut link, &[]).await,
        "frame version 9 is not known here, only 1"
    );

    let out_of_turn = Frame {
        kind: Kind::Response,
        id: 1,
        service: ECHO,
        payload: Bytes::new(),
    };
    let mut link = raw(&b, tls()).await;
    let said = speak(&mut link, &[hello.clone(), out_of_turn]).await;
    assert_eq!(said, "it sent a frame of kind Response out of turn");

    let mut link = raw(&b, tls()).await;
    let request = Frame {
        kind: Kind::Request,
        id: 1,
        service: ECHO,
        payload: Bytes::new(),
    };
    let said = speak(&mut link, &[request]).await;
    assert_eq!(said, "it sent a frame of kind Request out of turn");
    assert_eq!(b.rooms.count.load(Ordering::SeqCst), 0);
    a.reach(B).await;
}

#[tokio::test]
async fn a_full_queue_says_so_at_once() {
    let world = World::new();
    let a = world.start(A, CLUSTER).await;
    // Connections are taken by the operating system, and nobody ever speaks on them.
    let silent = net::listen("127.0.0.1:0").await.unwrap();
    a.peers.set_address(B, silent.local_address().to_string());
    let waiting: Vec<_> = (0..QUEUE_MESSAGES_MAX)
        .map(|_| a.peers.call(B, ECHO, Bytes::new()))
        .collect();
    assert_eq!(a.echo(B, "").await, Err(PeerError::Full(B)));
    a.peers.forget(B);
    for call in waiting {
        assert_eq!(reason(within(call).await), "the link was closed");
    }
    a.peers.set_address(B, silent.local_address().to_string());
    let large = Bytes::from(vec![0; PAYLOAD_BYTES_MAX]);
    let mut calls: Vec<_> = (0..=QUEUE_BYTES_MAX / PAYLOAD_BYTES_MAX)
        .map(|_| a.peers.call(B, ECHO, large.clone()))
        .collect();
    assert_eq!(within(calls.pop().unwrap()).await, Err(PeerError::Full(B)));
}

#[tokio::test]
async fn a_room_that_does_not_keep_up_is_protected() {
    let (a, b) = World::new().pair().await;
    let large = Bytes::from(vec![0; PAYLOAD_BYTES_MAX]);
    let mut held = Vec::new();
    for count in 1..=HANDLED_BYTES_MAX / PAYLOAD_BYTES_MAX {
        held.push(a.peers.call(B, HOLD, large.clone()));
        a.reach(B).await;
        assert_eq!(b.rooms.held.lock().len(), count);
    }
    let answer = within(a.peers.call(B, HOLD, large.clone())).await;
    assert_eq!(answer, Err(PeerError::Refused(B)));
    for reply in b.rooms.held.lock().drain(..) {
        reply.send(Bytes::from_static(b"done"));
    }
    for call in held {
        assert_eq!(within(call).await.unwrap(), "done");
    }
    assert_eq!(
        within(a.peers.call(B, ECHO, large.clone())).await.unwrap(),
        large
    );
}

#[tokio::test]
async fn renewed_certificates_serve_the_next_connection() {
    let world = World::new();
    let (a, b) = world.pair().await;
    a.reach(B).await;
    let renewed = world.authority.issue_node(A, &[], LEAF_LIFE).unwrap();
    a.peers
        .replace_tls(tls::peer_client_config(&renewed, &world.authority.trust()).unwrap());
    b.peers.forget(A);
    b.peers.set_address(A, a.address.clone());
    a.reach(B).await;
}
