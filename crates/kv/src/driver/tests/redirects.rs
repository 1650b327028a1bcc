//! Where cluster clients are sent: they come to a node that serves them, whatever happens.

use std::collections::BTreeMap;

use atoll_ring::slot::Slot;
use atoll_world::clock;

use super::*;
use crate::{
    api::{ClusterMap, Route},
    driver::ClusterAddress,
};

const NODES: u64 = 5;
const PARTITIONS: u16 = 8;
/// However long a client goes on asking.
const TRIES_MAX: usize = 200;
/// A client that can't reach a node asks the next one after so long.
const PAUSE: Duration = Duration::from_millis(5);
/// A client is served by then, whatever node it asks, when one is gone.
const WAIT_MAX: Duration = Duration::from_millis(200);

/// Each partition on three nodes of five.
fn spread() -> Layout {
    let partitions = Partitions::new(PARTITIONS).expect("a number of partitions");
    let nodes = (1..=NODES).map(|node| (ReplicaId(node), NodeId(node)));
    Layout::fixed(partitions, nodes.collect(), |partition| {
        let places = 0..3;
        places
            .map(|place| ReplicaId((u64::from(partition.0) + place) % NODES + 1))
            .collect()
    })
}

fn addresses() -> BTreeMap<NodeId, ClusterAddress> {
    let address = |node| ClusterAddress {
        host: "node".to_owned(),
        port: u16::try_from(node).expect("a small number"),
    };
    let nodes = 1..=NODES;
    nodes.map(|node| (NodeId(node), address(node))).collect()
}

async fn start(machine: &mut Machine, net: &SimNet, layout: &Layout) {
    machine.start(net, layout).await.expect("it starts");
    machine.kv().set_addresses(addresses());
}

async fn start_all(net: &SimNet, layout: &Layout, seed: u64) -> Vec<Machine> {
    let mut machines: Vec<Machine> = (1..=NODES)
        .map(|node| Machine::new(node, seed * 10 + node, SnapshotSettings::default()))
        .collect();
    for machine in &mut machines {
        start(machine, net, layout).await;
    }
    machines
}

fn map(machine: &Machine) -> Option<Arc<dyn ClusterMap>> {
    machine.life.as_ref().map(|(kv, _)| kv.cluster_map())
}

fn target(route: Route) -> Option<usize> {
    match route {
        Route::Here => None,
        Route::Replica(to) | Route::Elsewhere(to) => Some(usize::from(to.port) - 1),
    }
}

fn key_in(partition: u16) -> String {
    let partitions = Partitions::new(PARTITIONS).expect("a number of partitions");
    let mut keys = (0..).map(|number: u32| format!("key{number}"));
    let key = keys.find(|key| partitions.of_key(key.as_bytes()) == PartitionId(partition));
    key.expect("some key is in it")
}

/// From one node to the next, until one serves or is not there; the nodes on the way.
fn follow(machines: &[Machine], begin: usize, slot: Slot) -> Vec<usize> {
    let mut way = vec![begin];
    while let Some(map) = map(&machines[way[way.len() - 1]])
        && let Some(next) = target(map.route(slot))
    {
        way.push(next);
        assert!(way.len() <= machines.len(), "in circles: {way:?}");
    }
    way
}

/// A client that begins at a node: it follows redirections, and goes to the next node where it
/// reaches none. Says who served it.
async fn find(machines: &[Machine], is_cut: Option<usize>, begin: usize, slot: Slot) -> usize {
    let mut at = begin;
    for _ in 0..TRIES_MAX {
        match map(&machines[at]).filter(|_| is_cut != Some(at)) {
            Some(map) => match target(map.route(slot)) {
                Some(next) => at = next,
                None => return at,
            },
            None => {
                clock::sleep(PAUSE).await;
                at = begin;
            }
        }
    }
    panic!("nobody serves slot {} for {begin}", slot.number());
}

#[test]
fn nobody_goes_in_circles_whatever_happens() {
    for seed in 0..6 {
        simulate(seed, async move {
            let net = SimNet::new(seed);
            let layout = spread();
            let mut machines = start_all(&net, &layout, seed).await;
            let mut redirected = 0;
            for _ in 0..60 {
                let at = random::range(0..machines.len());
                match random::range(0..10) {
                    0 if machines[at].life.is_some() => machines[at].crash(&net, true).await,
                    0 | 1 if machines[at].life.is_none() => {
                        start(&mut machines[at], &net, &layout).await
                    }
                    2 => {
                        let to = random::range(1..=NODES);
                        net.cut(NodeId(at as u64 + 1), NodeId(to));
                    }
                    3 => net.heal(),
                    _ => {}
                }
                for _ in 0..4 {
                    let from = random::range(0..machines.len());
                    let key = key_in(random::range(0..PARTITIONS));
                    if let Some((kv, _)) = &machines[from].life {
                        let (kv, asked) = (kv.clone(), request(&format!("SET {key} 1")));
                        let (_, group) = machines[from].life.as_ref().expect("it runs");
                        let write = async move { drop(ask(&kv, asked).await) };
                        task::scope_sync(group.clone(), || task::spawn(write));
                    }
                }
                clock::sleep(Duration::from_millis(random::range(0..60))).await;
                for partition in 0..PARTITIONS {
                    let slot = Slot::of_key(key_in(partition).as_bytes());
                    for begin in 0..machines.len() {
                        redirected += follow(&machines, begin, slot).len() - 1;
                    }
                }
            }
            assert!(redirected > 0, "nobody was sent anywhere");
        });
    }
}

/// Killed or cut off, with nobody else who would notice.
#[test]
fn clients_find_another_node_soon_when_the_owner_is_gone() {
    for is_killed in [true, false] {
        simulate(20, async move {
            let net = SimNet::new(20);
            let layout = spread();
            let mut machines = start_all(&net, &layout, 20).await;
            let key = key_in(3);
            let slot = Slot::of_key(key.as_bytes());
            for machine in &machines {
                let set = request(&format!("SET {key} 1"));
                assert_eq!(ask(&machine.kv(), set).await, Answer::Reply(Reply::OK));
            }
            let owner = follow(&machines, 0, slot)[1..].last().copied().unwrap_or(0);
            for begin in 0..machines.len() {
                assert_eq!(follow(&machines, begin, slot).last(), Some(&owner));
            }
            let gone = match is_killed {
                true => {
                    machines[owner].crash(&net, false).await;
                    None
                }
                false => {
                    net.isolate(NodeId(owner as u64 + 1));
                    Some(owner)
                }
            };
            for begin in (0..machines.len()).filter(|at| *at != owner) {
                let begun = clock::now();
                let at = find(&machines, gone, begin, slot).await;
                let set = request(&format!("SET {key} 2"));
                assert_eq!(ask(&machines[at].kv(), set).await, Answer::Reply(Reply::OK));
                let took = begun.elapsed();
                assert!(
                    took <= WAIT_MAX,
                    "{took:?} from node {begin}, killed: {is_killed}"
                );
            }
            // Nobody tells new clients of it either.
            let survivor = (owner + 1) % machines.len();
            let view = map(&machines[survivor]).expect("it runs").view();
            let lost = NodeId(owner as u64 + 1);
            let range = view
                .ranges
                .iter()
                .find(|it| (it.first..=it.last).contains(&slot.number()));
            assert_ne!(range.expect("every slot is there").owner, lost);
        });
    }
}

#[test]
fn every_slot_is_told_with_addresses_and_each_once() {
    simulate(30, async {
        let net = SimNet::new(30);
        let layout = spread();
        let machines = start_all(&net, &layout, 30).await;
        for partition in 0..PARTITIONS {
            let set = request(&format!("SET {} 1", key_in(partition)));
            let kv = machines[usize::from(partition) % machines.len()].kv();
            assert_eq!(ask(&kv, set).await, Answer::Reply(Reply::OK));
        }
        let mut owned = 0;
        for machine in &machines {
            let view = map(machine).expect("it runs").view();
            let mut next = 0;
            for range in &view.ranges {
                assert_eq!(range.first, next);
                assert!(range.is_covered);
                assert_eq!(range.replicas.len(), 2);
                assert!(!range.replicas.contains(&range.owner));
                next = range.last + 1;
            }
            assert_eq!(next, atoll_ring::slot::SLOTS);
            assert_eq!(view.nodes.len(), usize::try_from(NODES).expect("few"));
            owned += machine.kv().0.owners.shown_here().len();
        }
        assert_eq!(
            owned,
            usize::from(PARTITIONS),
            "each is one node's, and nodes agree"
        );
        // Each tells of its own, and all of them of everything.
        let (mut counted, mut listed, mut scanned) = (0, Vec::new(), Vec::new());
        for machine in &machines {
            let kv = machine.kv();
            match ask(&kv, owned_part("DBSIZE")).await {
                Answer::Reply(Reply::Integer(keys)) => counted += keys,
                other => panic!("{other:?}"),
            }
            listed.extend(names(ask(&kv, owned_part("KEYS *")).await));
            let mut cursor = "0".to_owned();
            loop {
                let scan = owned_part(&format!("SCAN {cursor} COUNT 1"));
                let Answer::Reply(Reply::Array(pair)) = ask(&kv, scan).await else {
                    panic!("no cursor");
                };
                let [Reply::Bulk(next), found] = &pair[..] else {
                    panic!("{pair:?}");
                };
                scanned.extend(names(Answer::Reply(found.clone())));
                cursor = String::from_utf8_lossy(next).into_owned();
                if cursor == "0" {
                    break;
                }
            }
            let is_empty = kv.0.owners.shown_here().is_empty();
            let random = ask(&kv, owned_part("RANDOMKEY")).await;
            assert_eq!(random == Answer::Reply(Reply::Null), is_empty);
        }
        let mut keys: Vec<Bytes> = (0..PARTITIONS).map(|it| key_in(it).into()).collect();
        assert_eq!(counted, i64::from(PARTITIONS));
        for found in [&mut keys, &mut listed, &mut scanned] {
            found.sort();
        }
        assert_eq!(listed, keys);
        assert_eq!(scanned, keys);
    });
}

/// What is asked of one node of several.
fn owned_part(line: &str) -> Request {
    let Body::Call { database, call } = request(line).body else {
        unreachable!("it is a call");
    };
    let part = crate::api::Part::Owned;
    Request {
        by: None,
        caller: None,
        consistency: Consistency::Linearizable,
        body: Body::Within {
            part,
            database,
            call,
        },
    }
}

fn names(answer: Answer) -> Vec<Bytes> {
    let Answer::Reply(Reply::Array(names)) = answer else {
        panic!("{answer:?}");
    };
    let name = |reply| match reply {
        Reply::Bulk(name) => name,
        other => panic!("{other:?}"),
    };
    names.into_iter().map(name).collect()
}

/// Where it is not known how clients reach a node, nobody is sent there.
#[test]
fn without_addresses_every_node_serves_everything() {
    simulate(31, async {
        let net = SimNet::new(31);
        let layout = spread();
        let machines = start_all(&net, &layout, 31).await;
        let key = key_in(0);
        for machine in &machines {
            let own = addresses()
                .into_iter()
                .filter(|(node, _)| *node == machine.node);
            machine.kv().set_addresses(own.collect());
            let set = request(&format!("SET {key} 1"));
            assert_eq!(ask(&machine.kv(), set).await, Answer::Reply(Reply::OK));
        }
        for machine in &machines {
            let map = map(machine).expect("it runs");
            assert_eq!(map.route(Slot::of_key(key.as_bytes())), Route::Here);
            let view = map.view();
            assert_eq!(view.ranges.len(), 1);
            assert_eq!(view.ranges[0].owner, machine.node);
            assert!(view.ranges[0].replicas.is_empty());
        }
    });
}
