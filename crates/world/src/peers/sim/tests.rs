//! The network's promises, on virtual time.

use super::*;
use crate::{peers::Reply, task};

const ECHO: Service = Service(1);
const HOLD: Service = Service(2);
const DROP: Service = Service(3);
const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<u8>>>, Arc<Mutex<Vec<Reply>>>);

struct Room(Service, Seen);

impl Handler for Room {
    fn handle(&self, _from: NodeId, payload: Bytes, reply: Reply) {
        self.1.0.lock().extend(&payload);
        match self.0 {
            ECHO => {
                task::spawn(async move { reply.send(payload) });
            }
            HOLD => self.1.1.lock().push(reply),
            _ => {}
        }
    }
}

fn start(net: &SimNet, node: NodeId) -> (Arc<dyn Peers>, Seen) {
    let peers = net.peers(node);
    let seen = Seen::default();
    for service in [ECHO, HOLD, DROP] {
        peers.serve(service, Arc::new(Room(service, seen.clone())));
    }
    for other in [A, B, C].into_iter().filter(|other| *other != node) {
        peers.set_address(other, String::new());
    }
    (peers, seen)
}

fn byte(number: u8) -> Bytes {
    Bytes::from(vec![number])
}

fn is_unreachable(answer: &Result<Bytes, PeerError>) -> bool {
    matches!(answer, Err(PeerError::Unreachable { .. }))
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

async fn took<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let start = clock::now();
    let done = work.await;
    (done, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn calls_take_their_time_and_keep_their_order() {
    let net = SimNet::new(1);
    net.set_faults(Faults {
        delay: (ms(10), ms(90)),
        ..Faults::default()
    });
    let ((a, _), (_, seen)) = (start(&net, A), start(&net, B));
    let (answer, first) = took(a.call(B, ECHO, byte(7))).await;
    assert_eq!(answer, Ok(byte(7)));
    assert!(
        first >= ms(50) && first < ms(500),
        "handshakes and a round trip: {first:?}"
    );
    let (_, second) = took(a.call(B, ECHO, byte(7))).await;
    assert!(
        second >= ms(20) && second < ms(182),
        "a round trip: {second:?}"
    );

    seen.0.lock().clear();
    let calls: Vec<_> = (0..200)
        .map(|number| a.call(B, ECHO, byte(number)))
        .collect();
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await, Ok(byte(number as u8)));
    }
    assert!(seen.0.lock().iter().copied().eq(0..200));
    for (service, error) in [
        (DROP, PeerError::Refused(B)),
        (Service(9), PeerError::Refused(B)),
    ] {
        assert_eq!(a.call(B, service, byte(1)).await, Err(error));
    }
    assert_eq!(
        a.call(NodeId(9), ECHO, byte(1)).await,
        Err(PeerError::UnknownPeer(NodeId(9)))
    );
    let large = Bytes::from(vec![0; PAYLOAD_BYTES_MAX + 1]);
    assert!(matches!(
        a.call(B, ECHO, large).await,
        Err(PeerError::TooLarge { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_loss_breaks_the_connection_and_the_next_call_makes_another() {
    let net = SimNet::new(2);
    let ((a, _), (_, seen)) = (start(&net, A), start(&net, B));
    net.set_faults(Faults {
        loss: 0.05,
        ..Faults::default()
    });
    let (mut good, mut bad) = (0, 0);
    for round in 0..200 {
        let calls: Vec<_> = (0..5).map(|_| a.call(B, ECHO, byte(round))).collect();
        for call in calls {
            match call.await {
                Ok(_) => good += 1,
                Err(error) => {
                    assert!(is_unreachable(&Err(error)));
                    bad += 1;
                }
            }
        }
    }
    assert!(good > 500 && bad > 50, "{good} {bad}");
    assert!(seen.0.lock().is_sorted(), "in order, or not at all");
    assert!(
        seen.0.lock().len() > good,
        "some were acted upon without an answer"
    );
}

#[tokio::test(start_paused = true)]
async fn what_arrives_late_arrives_beside_its_repetition() {
    let net = SimNet::new(3);
    let ((a, _), (_, seen)) = (start(&net, A), start(&net, B));
    net.set_faults(Faults {
        loss: 0.2,
        late: 0.9,
        delay: (ms(1), ms(20)),
        ..Faults::default()
    });
    for number in 0..100 {
        while a.call(B, ECHO, byte(number)).await.is_err() {}
    }
    clock::sleep(ms(1000)).await;
    let mut seen = seen.0.lock().clone();
    let count = seen.len();
    seen.dedup();
    assert!(count > 100 && seen.len() >= 100);
}

#[tokio::test(start_paused = true)]
async fn a_short_cut_holds_back_and_a_long_one_breaks() {
    let net = SimNet::new(4);
    let ((a, _), (b, seen)) = (start(&net, A), start(&net, B));
    a.call(B, ECHO, byte(1)).await.unwrap();
    net.cut(A, B);
    let call = a.call(B, ECHO, byte(2));
    b.call(A, DROP, byte(1)).await.unwrap_err();
    let waiting = clock::timeout(ms(1500), call).await;
    assert!(waiting.is_err(), "nobody is told");
    net.heal();
    clock::sleep(ms(10)).await;
    assert_eq!(*seen.0.lock(), [1, 2], "it was only held back");

    net.partition(&[A], &[B, C]);
    let (answer, after) = took(a.call(B, ECHO, byte(3))).await;
    assert!(
        is_unreachable(&answer) && after >= ms(2000) && after < ms(4100),
        "{after:?}"
    );
    net.heal_way(A, B);
    net.heal_way(B, A);
    assert_eq!(a.call(B, ECHO, byte(4)).await, Ok(byte(4)));
    assert_eq!(*seen.0.lock(), [1, 2, 4]);
    net.isolate(B);
    assert!(
        clock::timeout(ms(1000), a.call(B, ECHO, byte(5)))
            .await
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn answers_can_be_cut_off_too() {
    let net = SimNet::new(5);
    let ((a, _), (_, seen)) = (start(&net, A), start(&net, B));
    net.cut(B, A);
    assert!(is_unreachable(&a.call(B, ECHO, byte(1)).await));
    assert_eq!(*seen.0.lock(), [1], "acted upon, and nobody knows");
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_a_reset_and_takes_the_nodes_tasks() {
    let net = SimNet::new(6);
    let (a, _) = start(&net, A);
    let group = Group::new();
    let (_b, seen) = task::scope_sync(group.clone(), || start(&net, B));
    let held = a.call(B, HOLD, byte(1));
    let never = a.call(B, DROP, byte(2));
    assert_eq!(never.await, Err(PeerError::Refused(B)));
    let spawned = group.alive();
    a.call(B, ECHO, byte(3)).await.unwrap();
    assert!(group.alive() <= spawned + 1);

    group.kill();
    group.ended().await;
    seen.1.lock().clear(); // what the node owned is dropped, and no refusal is sent
    net.crash(B);
    let (answer, after) = took(held).await;
    assert!(
        is_unreachable(&answer) && after <= ms(1),
        "{answer:?} {after:?}"
    );
    assert!(is_unreachable(&a.call(B, ECHO, byte(4)).await));
    assert_eq!(*seen.0.lock(), [1, 2, 3]);

    let (b, seen) = start(&net, B);
    assert_eq!(a.call(B, ECHO, byte(5)).await, Ok(byte(5)));
    assert_eq!(*seen.0.lock(), [5]);
    net.crash(B);
    assert!(
        is_unreachable(&b.call(A, ECHO, byte(6)).await),
        "the dead do not speak"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_a_crash_still_arrives() {
    let net = SimNet::new(7);
    let ((a, _), (_, seen)) = (start(&net, A), start(&net, B));
    drop(a.call(B, ECHO, byte(1)));
    net.crash(A);
    drop(a);
    clock::sleep(ms(10)).await;
    assert_eq!(*seen.0.lock(), [1]);
}

#[tokio::test(start_paused = true)]
async fn only_members_are_served() {
    let net = SimNet::new(8);
    let ((a, _), (b, seen)) = (start(&net, A), start(&net, B));
    let held = a.call(B, HOLD, byte(1));
    a.call(B, ECHO, byte(2)).await.unwrap();
    b.forget(A);
    assert!(is_unreachable(&held.await));
    assert!(is_unreachable(&a.call(B, ECHO, byte(3)).await));
    assert_eq!(
        b.call(A, ECHO, byte(3)).await,
        Err(PeerError::UnknownPeer(A))
    );
    b.set_address(A, String::new());
    assert_eq!(a.call(B, ECHO, byte(4)).await, Ok(byte(4)));
    assert_eq!(*seen.0.lock(), [1, 2, 4]);
    net.reset(A, B);
    assert!(is_unreachable(&a.call(B, ECHO, byte(5)).await));
    assert_eq!(a.call(B, ECHO, byte(6)).await, Ok(byte(6)));
}

#[tokio::test(start_paused = true)]
async fn queues_are_bounded() {
    let net = SimNet::new(9);
    let ((a, _), (_, seen)) = (start(&net, A), start(&net, B));
    net.cut(A, B);
    let calls: Vec<_> = (0..crate::peers::tls::QUEUE_MESSAGES_MAX)
        .map(|_| a.call(B, ECHO, byte(1)))
        .collect();
    assert_eq!(a.call(B, ECHO, byte(1)).await, Err(PeerError::Full(B)));
    drop(calls);
    net.heal();
    clock::sleep(ms(100)).await;
    assert_eq!(seen.0.lock().len(), crate::peers::tls::QUEUE_MESSAGES_MAX);
}

/// Three nodes that talk all the time, while the network does its worst.
async fn story(seed: u64) -> u64 {
    let net = SimNet::new(seed);
    net.set_faults(Faults {
        loss: 0.01,
        late: 0.3,
        delay: (ms(1), ms(30)),
        ..Faults::default()
    });
    net.set_link_faults(
        A,
        C,
        Some(Faults {
            delay: (ms(50), ms(100)),
            ..Faults::default()
        }),
    );
    let nodes: Vec<_> = [A, B, C]
        .into_iter()
        .map(|node| (node, start(&net, node).0))
        .collect();
    let talk = nodes.iter().flat_map(|(node, peers)| {
        let others = [A, B, C].into_iter().filter(move |other| other != node);
        others.map(|other| {
            let peers = peers.clone();
            task::spawn(async move {
                for number in 0..50 {
                    let _ = clock::timeout(ms(200), peers.call(other, ECHO, byte(number))).await;
                }
            })
        })
    });
    let talk: Vec<_> = talk.collect();
    clock::sleep(ms(300)).await;
    net.partition(&[A], &[B, C]);
    clock::sleep(ms(3000)).await;
    net.heal();
    for task in talk {
        task.await.unwrap();
    }
    net.fingerprint()
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_tells_the_same_story() {
    let first = story(10).await;
    assert_eq!(story(10).await, first);
    assert_ne!(story(11).await, first);
}
