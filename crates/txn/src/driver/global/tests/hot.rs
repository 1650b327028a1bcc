//! Hot data takes part: nodes die at the moments that matter.

mod place;

use std::time::Duration;

use atoll_base::id::PartitionId;
use atoll_kv::core::reply::Reply;
use atoll_world::{clock, random, task};

use self::place::{Town, WAIT, glance};
use super::{super::Call, COMMIT, outcome};
use crate::{
    core::global::{
        Branch, Order,
        Outcome::{Aborted, Committed},
        Place, Report, TransactionId,
        coordinator::Request,
    },
    driver::tests::{cluster::simulate, told},
    outside::hot::{NAME, work::Work},
    proto::RedisCommand,
};

fn command(text: &str) -> RedisCommand {
    RedisCommand {
        words: text.split(' ').map(str::to_owned).collect(),
        ..RedisCommand::default()
    }
}

fn work(texts: &[&str]) -> Work {
    Work::new(texts.iter().map(|text| command(text)).collect())
}

/// Takes from one account and gives to another; what is taken has to be there.
fn transfer(amount: i64) -> Work {
    let take = RedisCommand {
        at_least: Some(0),
        ..command(&format!("DECRBY alpha {amount}"))
    };
    Work::new(vec![take, command(&format!("INCRBY beta {amount}"))])
}

async fn open(town: &Town) {
    assert_eq!(told(town.kv(0), "MSET alpha 10 beta 10").await, Reply::OK);
}

const BEFORE: [(&str, &str); 2] = [("alpha", "10"), ("beta", "10")];
const AFTER: [(&str, &str); 2] = [("alpha", "7"), ("beta", "13")];

#[test]
fn hot_data_and_a_service_do_their_parts_or_none() {
    simulate(21, || async {
        let town = Town::new(&["orders"], 21);
        open(&town).await;
        let id = town.begin(0, &["orders"], transfer(3)).await;
        assert_eq!(town.commit(0, id).await, Committed);
        town.finds(1, &AFTER).await;
        assert_eq!(town.world.happened("orders"), [Committed]);
        // Asked again, it is not done again.
        assert_eq!(town.commit(2, id).await, Committed);

        // Too little is there; what a command comes to is an error; a service can't.
        let id = town.begin(1, &["orders"], transfer(8)).await;
        assert_eq!(town.commit(1, id).await, Aborted);
        let id = town
            .begin(1, &["orders"], work(&["INCR alpha", "LPUSH beta x"]))
            .await;
        assert_eq!(town.commit(1, id).await, Aborted);
        town.world.refuse("orders");
        let id = town.begin(2, &["orders"], transfer(3)).await;
        assert_eq!(town.commit(2, id).await, Aborted);
        town.finds(0, &AFTER).await;

        // What needs values of several partitions, alone.
        let hot = work(&["SET gamma g", "RENAME alpha delta", "COPY beta epsilon"]);
        let id = town.begin(0, &[], hot).await;
        assert_eq!(town.commit(0, id).await, Committed);
        let all = [("delta", "7"), ("epsilon", "13"), ("gamma", "g")];
        town.finds(2, &all).await;
        assert_eq!(told(town.kv(2), "EXISTS alpha").await, Reply::Integer(0));
    });
}

/// A coordinator dies when hot data has voted and a service has not; which transaction it was.
async fn dies_between_votes(town: &mut Town) -> TransactionId {
    open(town).await;
    town.world.deafen("orders", &["prepare"]);
    let id = town.begin(0, &["orders"], transfer(3)).await;
    let asking = town.commit_begins(0, id);
    town.locks(1, "alpha").await;
    town.locks(1, "beta").await;
    town.kill(0).await;
    asking.abort();
    // No owner ends it, however long nobody says that he is at work.
    for _ in 0..3 {
        assert_eq!(glance(town.kv(1), "alpha").await, None);
        assert_eq!(glance(town.kv(2), "beta").await, None);
    }
    id
}

#[test]
fn the_votes_of_hot_data_outlive_who_asked_for_them() {
    simulate(22, || async {
        let mut town = Town::new(&["orders"], 22);
        let id = dies_between_votes(&mut town).await;
        // The client asks another node to go on; it holds the branch already, and says so.
        town.world.deafen("orders", &[]);
        assert_eq!(town.commit(1, id).await, Committed);
        town.finds(2, &AFTER).await;
        assert_eq!(town.world.happened("orders"), [Committed]);
    });
    simulate(23, || async {
        let mut town = Town::new(&["orders"], 23);
        dies_between_votes(&mut town).await;
        // Nobody asks for it any more: the leader gives it up, and tells everybody.
        town.finds(1, &BEFORE).await;
    });
}

#[test]
fn a_decision_is_told_to_hot_data_by_another_node() {
    simulate(24, || async {
        let mut town = Town::new(&["orders"], 24);
        open(&town).await;
        town.deafen_hot(&["commit"]);
        let id = town.begin(0, &["orders"], transfer(3)).await;
        assert_eq!(town.commit(0, id).await, Committed);
        town.locks(1, "alpha").await;
        town.kill(0).await;
        assert_eq!(glance(town.kv(1), "alpha").await, None);
        town.deafen_hot(&[]);
        town.finds(1, &AFTER).await;
        town.start(0);
        town.finds(0, &AFTER).await;
        assert_eq!(town.commit(0, id).await, Committed);
        town.finds(0, &AFTER).await;
    });
}

#[test]
fn owners_die_while_they_hold_and_what_is_held_stays() {
    for seed in 30..36 {
        simulate(seed, || async {
            let mut town = Town::new(&["orders"], seed);
            open(&town).await;
            // Another than the coordinator owns everything: keys, and what knows of the branch.
            for partition in 0..town.cluster.partitions() {
                town.cluster.own(1, PartitionId(partition)).await;
            }
            town.world.deafen("orders", &["prepare"]);
            let id = town.begin(0, &["orders"], transfer(3)).await;
            let asking = town.commit_begins(0, id);
            town.locks(2, "alpha").await;
            town.kill(1).await;
            for _ in 0..3 {
                assert_eq!(glance(town.kv(2), "alpha").await, None, "seed {seed}");
            }
            let commits = seed % 2 == 0;
            match commits {
                true => town.world.deafen("orders", &[]),
                false => {
                    // Whoever wants it gave up.
                    let given_up = town.nodes[2].0.global.ask(id, Request::Abort).await;
                    assert_eq!(outcome(given_up), Aborted);
                }
            }
            let expected = if commits { Committed } else { Aborted };
            assert_eq!(outcome(asking.await.expect("it ends")), expected);
            town.start(1);
            let values = if commits { &AFTER } else { &BEFORE };
            town.finds(1, values).await;
            town.finds(0, values).await;
        });
    }
}

/// A key that is held for long makes nobody wait who wants another, nor anybody who wants this one
/// for longer than a moment.
#[test]
fn nobody_stands_in_line_for_what_is_held_for_long() {
    simulate(27, || async {
        let mut town = Town::new(&["orders"], 27);
        assert_eq!(told(town.kv(0), "MSET {x}a 1 {x}b 1").await, Reply::OK);
        town.world.deafen("orders", &["prepare"]);
        let hot = work(&["INCR {x}a"]);
        let id = town.begin(0, &["orders"], hot).await;
        let asking = town.commit_begins(0, id);
        town.locks(1, "{x}a").await;
        // Those who came early, and would wait for five seconds: a read, a write, one behind it.
        let began = clock::now();
        let mut early = Vec::new();
        for text in ["GET {x}a", "INCR {x}a", "INCR {x}b", "GET {x}b"] {
            let kv = town.kv(1).clone();
            early.push(task::spawn(async move { told(&kv, text).await }));
        }
        let mut replies = Vec::new();
        for one in early {
            replies.push(one.await.expect("it ends"));
        }
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
        let is_refused = |reply: &Reply| matches!(reply, Reply::Error(text) if text.starts_with(b"TRYAGAIN A transaction with"));
        assert!(replies[..2].iter().all(is_refused), "{replies:?}");
        assert_eq!(replies[2], Reply::Integer(2));
        // And those who come now, at once; also after another has become the owner.
        for kills in [false, true] {
            if kills {
                town.kill(2).await;
                clock::sleep(Duration::from_secs(2)).await;
            }
            let began = clock::now();
            assert!(is_refused(&told(town.kv(1), "INCR {x}a").await));
            assert!(matches!(
                told(town.kv(1), "INCR {x}b").await,
                Reply::Integer(_)
            ));
            assert!(began.elapsed() < Duration::from_millis(500) || kills);
        }
        town.start(2);
        town.world.deafen("orders", &[]);
        let committed = outcome(asking.await.expect("it ends"));
        assert_eq!(committed, Committed);
        town.finds(0, &[("{x}a", "2")]).await;
    });
}

/// Whoever decides has forgotten it, or never knew: then the owner of the home asks.
#[test]
fn what_is_held_of_an_unknown_transaction_is_aborted() {
    simulate(25, || async {
        let town = Town::new(&[], 25);
        open(&town).await;
        let branch = Branch {
            transaction: TransactionId(77),
            place: Place(0),
        };
        let call = |order| Call {
            branch,
            name: NAME.to_owned(),
            attempt: 1,
            order,
        };
        let prepare = || {
            call(Order::Prepare {
                payload: transfer(3).encode(),
                peers: Vec::new(),
            })
        };
        let hot = |at: usize| &town.nodes[at].1;
        assert_eq!(hot(0).tell(prepare()).await, Some(Report::Yes));
        // Asked again, on another node, while a client waits for a key.
        let kv = town.kv(1).clone();
        let waits = task::spawn(async move { told(&kv, "INCRBY alpha 100").await });
        assert_eq!(hot(2).tell(prepare()).await, Some(Report::Yes));
        waits.abort();
        let began = clock::now();
        while glance(town.kv(1), "beta").await.is_none() {
            assert!(began.elapsed() < WAIT, "it is never asked about");
        }
        assert!(
            began.elapsed() > Duration::from_secs(5),
            "it was ended early"
        );
        town.finds(0, &[("beta", "10")]).await;
        // It is known to have ended: what comes late does nothing.
        assert_eq!(hot(1).tell(prepare()).await, Some(Report::No));
        assert_eq!(hot(1).tell(call(Order::Abort)).await, Some(Report::Aborted));
        assert_eq!(
            hot(1).tell(call(Order::Commit)).await,
            Some(Report::Aborted)
        );
        town.finds(0, &[("beta", "10")]).await;
    });
}

#[test]
fn an_abort_that_comes_before_the_prepare_keeps_it_from_locking() {
    simulate(26, || async {
        let town = Town::new(&[], 26);
        open(&town).await;
        let call = |order| Call {
            branch: Branch {
                transaction: TransactionId(78),
                place: Place(3),
            },
            name: NAME.to_owned(),
            attempt: 1,
            order,
        };
        let hot = |at: usize| &town.nodes[at].1;
        assert_eq!(hot(0).tell(call(Order::Abort)).await, Some(Report::Aborted));
        for minutes in [0, 5, 13] {
            clock::sleep(Duration::from_mins(minutes)).await;
            let prepare = call(Order::Prepare {
                payload: transfer(3).encode(),
                peers: Vec::new(),
            });
            assert_eq!(hot(1).tell(prepare).await, Some(Report::No), "{minutes}");
            town.finds(2, &BEFORE).await;
        }
    });
}

/// Transfers between hot data and a service, while nodes die: the count here is the count there.
#[test]
fn what_hot_data_counts_is_what_the_service_counts() {
    let mut done = 0;
    for seed in 40..52 {
        simulate(seed, || async {
            let mut town = Town::new(&["orders"], seed);
            assert_eq!(told(town.kv(0), "MSET here 0 there 0").await, Reply::OK);
            for round in 0..12_usize {
                let at = round % 3;
                if random::u64().is_multiple_of(3) {
                    town.world.deafen("orders", &["prepare"]);
                }
                if random::u64().is_multiple_of(4) {
                    town.deafen_hot(&["commit"]);
                }
                let hot = work(&["INCR here", "DECR there"]);
                let id = town.begin(at, &["orders"], hot).await;
                let asking = town.commit_begins(at, id);
                clock::sleep(Duration::from_millis(random::u64() % 120)).await;
                let kills = random::u64().is_multiple_of(2);
                if kills {
                    town.kill(at).await;
                    asking.abort();
                }
                clock::sleep(Duration::from_millis(random::u64() % 300)).await;
                town.world.deafen("orders", &[]);
                town.deafen_hot(&[]);
                if kills {
                    if random::u64().is_multiple_of(2) {
                        let other = &town.nodes[(at + 1) % 3].0.global;
                        // It may have been given up; that it ends is what counts.
                        drop(other.ask(id, COMMIT).await);
                    }
                    town.start(at);
                } else {
                    drop(asking.await);
                }
            }
            let began = clock::now();
            while !town.world.is_quiet() {
                assert!(began.elapsed() < WAIT, "seed {seed}: something never ends");
                clock::sleep(Duration::from_millis(20)).await;
            }
            let ends = town.world.histories();
            let committed = ends.iter().filter(|(_, it)| *it == Committed).count();
            let (here, there) = (committed.to_string(), format!("-{committed}"));
            let there = if committed == 0 {
                "0".to_owned()
            } else {
                there
            };
            town.finds(0, &[("here", &here), ("there", &there)]).await;
            done += committed;
        });
    }
    assert!(done > 40, "{done} were committed: too little happened");
}
