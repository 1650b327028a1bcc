//! Keys of the control plane take part.

use super::*;
use crate::core::global::tests::keyspace::put_if;

/// Two services, and a key that is put if it is as it was read.
async fn begin_with_key(world: &World, node: &Node, key: &str) -> TransactionId {
    let id = begin(node).await;
    let part = put_if(key, world.key(key));
    let enlisted = node.global.enlist_keys(id, "", &part).await;
    assert_eq!(enlisted, Ok(Answer::Enlisted(Place(2))));
    id
}

#[tokio::test(start_paused = true)]
async fn keys_are_written_with_the_decision_or_all_is_given_up() {
    let world = World::new(&BOTH);
    let node = world.start(1);
    let first = begin_with_key(&world, &node, "k").await;
    let second = begin_with_key(&world, &node, "k").await;
    assert_eq!(outcome(node.global.ask(first, COMMIT).await), Committed);
    assert_eq!(world.keys_written(), [first]);
    ended(&world, Committed).await;

    assert_eq!(outcome(node.global.ask(second, COMMIT).await), Aborted);
    ended(&world, Aborted).await;
    assert_eq!(world.keys_written(), []);
    let record = node.global.show(second).await.expect("there");
    let record = record.expect("kept");
    assert_eq!(record.participants[2].name, "atoll:keys");
    assert_eq!(record.participants[2].standing, Standing::Released);
    world
        .until("both are counted", |_| {
            let load = node.global.load();
            (load.committed, load.aborted) == (1, 1)
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_of_the_decision_does_nothing_twice() {
    for seed in 0..20 {
        let world = World::seeded(&BOTH, seed);
        let node = world.start(1);
        let id = begin_with_key(&world, &node, "k").await;
        world.lose_answers(100);
        assert_eq!(outcome(node.global.ask(id, COMMIT).await), Committed);
        assert_eq!(world.keys_written(), [id]);
        world.lose_answers(0);
        ended(&world, Committed).await;
        assert_eq!(world.keys_written(), []);
        world.kill(&node);
    }
}

#[tokio::test(start_paused = true)]
async fn another_node_writes_keys_when_the_coordinator_dies_between_votes_and_decision() {
    let world = World::new(&BOTH);
    let (first, second) = (world.start(1), world.start(2));
    let id = begin_with_key(&world, &first, "k").await;
    world.deafen("stock", &["prepare"]);
    let asking = first.global.clone();
    let lost = task::spawn(async move { asking.ask(id, COMMIT).await });
    world
        .until("one has voted", |it| it.holds("orders") == 1)
        .await;
    world.kill(&first);
    lost.abort();
    assert_eq!(world.keys_written(), []);
    world.deafen("stock", &[]);
    assert_eq!(outcome(second.global.ask(id, COMMIT).await), Committed);
    assert_eq!(world.keys_written(), [id]);
    ended(&world, Committed).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_makes_up_keys_under_another_name() {
    let world = World::new(&BOTH);
    let node = world.start(1);
    let id = begin(&node).await;
    for name in ["atoll:keys", "atoll:keys:more"] {
        let payload = Bytes::from_static(b"\x0a\x04root");
        let made_up = node
            .global
            .enlist(id, name.to_owned(), payload, Bytes::new());
        assert!(matches!(made_up.await, Err(GlobalError::Unfit(_))));
    }
}
