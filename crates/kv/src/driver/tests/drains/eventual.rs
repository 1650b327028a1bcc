//! The same with an eventual keyspace: any replica takes what is written, and none of it is lost
//! with the replica that it was written to when that one leaves.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::{
    api::{EventualCall, KeyspaceError},
    core::{
        eventual::quorum::Level,
        keyspaces::{KeyspaceNumber, Wanted},
    },
};

const KEYS: u64 = 24;

fn eventual(keyspace: KeyspaceNumber, line: &str, level: Level) -> Request {
    let plain = request(line);
    let Body::Call { call, .. } = plain.body else {
        unreachable!("it is a call");
    };
    Request {
        body: Body::Eventual(EventualCall {
            keyspace,
            write: level,
            read: level,
            call,
        }),
        ..plain
    }
}

/// Counts up for as long as it is let; how often it asked, and how often it was told that it was
/// done, by key.
async fn count_up(kv: Kv, keyspace: KeyspaceNumber, counts: Counts, stops: Arc<AtomicBool>) {
    while !stops.load(Ordering::Relaxed) {
        let key = format!("n{}", random::range(0..KEYS));
        counts.lock().entry(key.clone()).or_default().1 += 1;
        let count = eventual(keyspace, &format!("INCR {key}"), Level::One);
        if let Answer::Reply(Reply::Integer(_)) = ask(&kv, count).await {
            counts.lock().entry(key).or_default().0 += 1;
        }
        clock::sleep(Duration::from_millis(random::range(1..8))).await;
    }
}

impl Story {
    fn write_at(
        &self,
        at: usize,
        keyspace: KeyspaceNumber,
        counts: &Counts,
        stops: &Arc<AtomicBool>,
    ) {
        let machine = &self.machines[at];
        let (kv, group) = machine.life.as_ref().expect("it runs");
        let (kv, counts, stops) = (kv.clone(), counts.clone(), stops.clone());
        let writer = count_up(kv, keyspace, counts, stops);
        task::scope_sync(group.clone(), || task::spawn(writer));
    }

    /// Waits until every replica counts all that was told, and no more than was asked for.
    async fn counted(&self, keyspace: KeyspaceNumber, counts: &Counts) {
        let known = counts.lock().clone();
        assert!(known.len() > 10, "only {} keys", known.len());
        for (key, (told, asked)) in known {
            let line = format!("GET {key}");
            let mut waited_ms = 0;
            loop {
                let mut found = BTreeSet::new();
                for machine in &self.machines {
                    let read = eventual(keyspace, &line, Level::One);
                    found.insert(format!("{:?}", ask(&machine.kv(), read).await));
                }
                let first = found.first().cloned().unwrap_or_default();
                let digits: String = first.chars().filter(char::is_ascii_digit).collect();
                let count = digits.parse().unwrap_or(0);
                if found.len() == 1 && told <= count && count <= asked {
                    break;
                }
                assert!(
                    waited_ms < 30_000,
                    "{key} is {found:?}; told {told}, asked {asked}"
                );
                clock::sleep(Duration::from_millis(100)).await;
                waited_ms += 100;
            }
        }
    }
}

#[test]
fn what_a_leaving_replica_took_stays() {
    for seed in 0..2 {
        simulate(seed, async move {
            let mut story = Story::new(seed, 4);
            story.begin().await;
            let settled = |it: &Topology| it.changing() == 0 && it.held_by(NodeId(4)) > 0;
            story.until("it settles", settled).await;
            let wanted = Wanted {
                name: "carts".to_owned(),
                eventual: Some((3, Level::One, Level::Quorum)),
            };
            let created = story.machines[1].kv().create_keyspace(wanted.clone()).await;
            let keyspace = created.expect("it is created").number;
            assert_eq!(keyspace, KeyspaceNumber(32));
            // Who has not heard the answer asks again, at another node.
            let again = story.machines[2].kv().create_keyspace(wanted.clone()).await;
            assert_eq!(again.expect("it is there").number, keyspace);
            let other = Wanted {
                eventual: None,
                ..wanted
            };
            assert!(story.machines[0].kv().create_keyspace(other).await.is_err());
            let counts = Counts::default();
            let mut stops = Arc::new(AtomicBool::new(false));
            for at in 0..4 {
                story.write_at(at, keyspace, &counts, &stops);
            }
            clock::sleep(Duration::from_millis(700)).await;
            story.decided.lock().draining.insert(NodeId(4));
            for _ in 0..4 {
                clock::sleep(Duration::from_millis(random::range(1..200))).await;
                let at = random::range(0..4_usize);
                story.kill(at, random::chance(0.5)).await;
                clock::sleep(Duration::from_millis(random::range(1..300))).await;
                story.start(at).await;
                story.write_at(at, keyspace, &counts, &stops);
            }
            let drained = |it: &Topology| it.changing() == 0 && it.held_by(NodeId(4)) == 0;
            story.until("it is drained", drained).await;
            stops.store(true, Ordering::Relaxed);
            story.counted(keyspace, &counts).await;
            let mut waited_ms = 0;
            let held = |story: &Story| {
                let status = story.machines[3].kv().eventual_status();
                status.get(&keyspace).map_or(0, |it| it.partitions)
            };
            while held(&story) > 0 {
                assert!(waited_ms < 10_000, "it lets go");
                clock::sleep(Duration::from_millis(100)).await;
                waited_ms += 100;
            }
            // It comes back, and is filled.
            stops = Arc::default();
            story.decided.lock().draining.clear();
            story.until("it is back", settled).await;
            story.kill(3, true).await;
            story.start(3).await;
            story.write_at(3, keyspace, &counts, &stops);
            clock::sleep(Duration::from_secs(3)).await;
            stops.store(true, Ordering::Relaxed);
            story.counted(keyspace, &counts).await;
            let status = story.machines[3].kv().eventual_status()[&keyspace];
            assert!(status.partitions > 0 && status.filling == 0, "{status:?}");
        });
    }
}

#[test]
fn an_eventual_keyspace_waits_for_the_last_old_node() {
    simulate(9, async {
        let mut story = Story::new(9, 3);
        story.begin().await;
        story.until("it settles", |it| it.changing() == 0).await;
        let wanted = |name: &str, eventual| Wanted {
            name: name.to_owned(),
            eventual,
        };
        let carts = wanted("carts", Some((3, Level::One, Level::One)));
        story.decided.lock().has_old_nodes = true;
        let refused = story.machines[1].kv().create_keyspace(carts.clone()).await;
        assert_eq!(refused, Err(KeyspaceError::OldNodes));
        let plain = wanted("orders", None);
        let created = story.machines[1].kv().create_keyspace(plain).await;
        assert!(created.is_ok(), "that one needs no newer version");
        story.decided.lock().has_old_nodes = false;
        let created = story.machines[1].kv().create_keyspace(carts).await;
        assert!(created.is_ok(), "{created:?}");
    });
}
