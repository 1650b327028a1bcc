//! Nodes die and come back at any moment, services don't hear, answers of the log are lost; then
//! all is healed. Everything follows from the seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use atoll_world::{clock, random, task};
use bytes::Bytes;
use parking_lot::Mutex;

use super::town::{Node, World};
use crate::{
    core::global::{
        Kind, Outcome, TransactionId,
        coordinator::{Answer, Request, Until},
        tests::keyspace::put_if,
    },
    driver::global::GlobalError,
};

const SERVICES: [&str; 3] = ["orders", "stock", "bills"];
const SEEDS: u64 = 200;
const CLIENTS: usize = 6;
const EACH: usize = 4;
/// So many times something breaks.
const BREAKS: usize = 25;

/// What clients were told.
type Told = Arc<Mutex<BTreeMap<TransactionId, Outcome>>>;
/// Transactions that keys take part in for certain.
type Keys = Arc<Mutex<BTreeSet<TransactionId>>>;
type Nodes = Arc<Mutex<Vec<Node>>>;

fn below(bound: u64) -> u64 {
    random::u64() % bound
}

async fn rest(ms_max: u64) {
    clock::sleep(Duration::from_millis(below(ms_max))).await;
}

fn any(nodes: &Nodes) -> Node {
    let nodes = nodes.lock();
    let at = usize::try_from(below(nodes.len() as u64)).expect("few");
    nodes[at].clone()
}

/// Asks, at any node, and gives up on one that died.
async fn ask(nodes: &Nodes, id: TransactionId, what: Request) -> Result<Answer, GlobalError> {
    let node = any(nodes);
    let asked = node.global.ask(id, what);
    let asked = clock::timeout(Duration::from_secs(2), asked).await;
    asked.unwrap_or(Err(GlobalError::Stopped))
}

/// Has a key take part that others change, too; whether it does for certain.
async fn enlist_key(world: &World, nodes: &Nodes, id: TransactionId) -> bool {
    let key = format!("k{}", below(2));
    let part = put_if(&key, world.key(&key));
    for _ in 0..3 {
        let node = any(nodes);
        let enlisted = node.global.enlist_keys(id, "", &part);
        let enlisted = clock::timeout(Duration::from_secs(2), enlisted).await;
        if matches!(enlisted, Ok(Ok(_))) {
            return true;
        }
    }
    false
}

async fn client(world: World, nodes: Nodes, told: Told, keys: Keys) {
    for _ in 0..EACH {
        rest(1_000).await;
        let node = any(&nodes);
        let begun = node.global.begin(Kind::TwoPhase, 10_000);
        let begun = clock::timeout(Duration::from_secs(2), begun).await;
        let Ok(Ok(id)) = begun else { continue };
        for name in SERVICES {
            let what = Request::Enlist {
                name: name.to_owned(),
                payload: Bytes::from_static(b"work"),
                compensation: Bytes::new(),
            };
            for _ in 0..3 {
                if ask(&nodes, id, what.clone()).await.is_ok() {
                    break;
                }
            }
        }
        if below(2) == 0 && enlist_key(&world, &nodes, id).await {
            keys.lock().insert(id);
        }
        let what = match below(5) {
            0 => Request::Abort,
            _ => Request::Commit {
                until: Until::Decided,
            },
        };
        for _ in 0..4 {
            if let Ok(Answer::Decided { outcome, .. }) = ask(&nodes, id, what.clone()).await {
                let before = told.lock().insert(id, outcome);
                assert!(
                    before.is_none_or(|it| it == outcome),
                    "{id}: told differently"
                );
                // Whoever asks again hears the same.
                if below(2) == 0 {
                    break;
                }
            }
        }
    }
}

async fn break_things(world: &World, nodes: &Nodes) {
    for _ in 0..BREAKS {
        rest(400).await;
        let service = SERVICES[usize::try_from(below(3)).expect("few")];
        match below(4) {
            0 => world.deafen(service, &["prepare"]),
            1 => world.deafen(service, &["commit", "abort"]),
            2 => world.deafen(service, &[]),
            _ => {
                let number = below(3);
                let at = usize::try_from(number).expect("few");
                let node = nodes.lock()[at].clone();
                world.kill(&node);
                rest(2_500).await;
                let again = world.start(number + 1);
                nodes.lock()[at] = again;
            }
        }
    }
}

async fn storm(seed: u64) -> (usize, u64, usize) {
    let world = World::seeded(&SERVICES, seed);
    world.lose_answers(5);
    let nodes = (1..=3).map(|node| world.start(node)).collect();
    let nodes: Nodes = Arc::new(Mutex::new(nodes));
    let (told, keys) = (Told::default(), Keys::default());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (world, nodes) = (world.clone(), nodes.clone());
            task::spawn(client(world, nodes, told.clone(), keys.clone()))
        })
        .collect();
    break_things(&world, &nodes).await;
    for name in SERVICES {
        world.deafen(name, &[]);
    }
    world.lose_answers(0);
    for client in clients {
        client.await.expect("no client panics");
    }
    world.until("all has ended", World::is_quiet).await;

    let mut ends: BTreeMap<TransactionId, Vec<Outcome>> = BTreeMap::new();
    for (id, outcome) in world.histories() {
        ends.entry(id).or_default().push(outcome);
    }
    let told = std::mem::take(&mut *told.lock());
    for (id, outcomes) in &ends {
        let first = outcomes[0];
        assert!(
            outcomes.iter().all(|it| *it == first),
            "seed {seed}: {id} ended in two ways: {outcomes:?}"
        );
    }
    for (id, outcome) in &told {
        let committed = ends.get(id).map_or(0, |it| {
            it.iter().filter(|it| **it == Outcome::Committed).count()
        });
        let is_as_told = (*outcome == Outcome::Committed) == (committed > 0);
        // What was committed without anybody in it has nobody to ask.
        let is_empty = *outcome == Outcome::Committed && !ends.contains_key(id);
        assert!(
            is_as_told || is_empty,
            "seed {seed}: {id} is not what was told"
        );
    }
    let written = world.keys_written();
    for id in &written {
        let is_once = written.iter().filter(|it| *it == id).count() == 1;
        let is_so = |it: &Vec<Outcome>| it.iter().all(|it| *it == Outcome::Committed);
        assert!(
            is_once
                && ends.get(id).is_none_or(is_so)
                && told.get(id).is_none_or(|it| *it == Outcome::Committed),
            "seed {seed}: keys of {id} are written"
        );
    }
    for id in keys.lock().iter() {
        let committed = told.get(id) == Some(&Outcome::Committed);
        let ended = ends.get(id).and_then(|it| it.first());
        let should_be = committed || ended == Some(&Outcome::Committed);
        assert!(
            written.contains(id) || !should_be,
            "seed {seed}: keys of {id} are not written"
        );
    }
    let adopted = nodes.lock().iter().map(|it| it.global.load().adopted).sum();
    for node in nodes.lock().iter() {
        world.kill(node);
    }
    (told.len(), adopted, written.len())
}

#[tokio::test(start_paused = true)]
async fn whatever_breaks_all_end_alike_and_as_clients_were_told() {
    let (mut told, mut adopted, mut written) = (0, 0, 0);
    for seed in 0..SEEDS {
        let (more, taken, keys) = storm(seed).await;
        told += more;
        adopted += taken;
        written += keys;
    }
    assert!(
        told > 1_500 && adopted > 100 && written > 300,
        "{told} told, {adopted} taken over, {written} keys: too calm"
    );
}
