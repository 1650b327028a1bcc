//! Tests: nodes keep to the memory that they may take.

use super::*;
use crate::{core::evict::Policy, memory::Tuning};

const BYTES_MAX: u64 = 200_000;
/// Commands that come at once.
const BATCH: usize = 100;
/// What is held exceeds the limit by no more than what comes in a round of agreement: a batch,
/// of keys that take less than this each.
const TOLERANCE: u64 = 2 * BATCH as u64 * 400;

fn limit(cluster: &Cluster, policy: Policy) {
    for at in 0..cluster.nodes.len() {
        let memory = cluster.kv(at).memory();
        memory.tune(Tuning::BytesMax, BYTES_MAX);
        memory.tune(Tuning::Policy, policy.place());
    }
}

/// Writes so many keys with some hundred bytes each, batch by batch; what was answered.
async fn fill(cluster: &Cluster, keys: usize, keep_in_use: &[&str]) -> Vec<Reply> {
    let mut replies = Vec::new();
    for first in (0..keys).step_by(BATCH) {
        let kv = cluster.kv(first / BATCH % cluster.nodes.len());
        let sets = (first..first + BATCH).map(|key| {
            let value = "x".repeat(100 + key % 100);
            request(&format!("SET key:{key} {value}"))
        });
        for answer in kv.ask(sets.collect()).await {
            match answer {
                Answer::Reply(reply) => replies.push(reply),
                other => panic!("{other:?}"),
            }
        }
        for key in keep_in_use {
            assert_ne!(told(kv, &format!("GET {key}")).await, Reply::Null, "{key}");
        }
        // A use is noted by the second.
        clock::sleep(Duration::from_millis(500)).await;
        for at in 0..cluster.nodes.len() {
            let used_bytes = cluster.kv(at).memory().used_bytes();
            assert!(used_bytes <= BYTES_MAX + TOLERANCE, "{used_bytes}");
        }
    }
    replies
}

#[test]
fn what_was_not_used_goes_when_there_is_too_much() {
    simulate(5, || async {
        let cluster = Cluster::new(5);
        limit(&cluster, Policy::AllKeysLru);
        told(cluster.kv(0), "SET dear x").await;
        told(cluster.kv(0), "SET sweet x").await;
        let replies = fill(&cluster, 5_000, &["dear", "sweet"]).await;
        assert!(replies.iter().all(|reply| *reply == Reply::OK));
        clock::sleep(Duration::from_secs(3)).await;
        let mut evicted = 0;
        for at in 0..cluster.nodes.len() {
            let memory = cluster.kv(at).memory();
            let used_bytes = memory.used_bytes();
            assert!(used_bytes <= BYTES_MAX, "{used_bytes}");
            // No more went than had to.
            assert!(used_bytes >= BYTES_MAX * 8 / 10, "{used_bytes}");
            evicted += memory.evicted_keys();
            assert_eq!(memory.used_bytes(), cluster.kv(0).memory().used_bytes());
        }
        // What went is counted by its owner.
        let Reply::Integer(left) = told(cluster.kv(1), "DBSIZE").await else {
            panic!("a number");
        };
        assert_eq!(evicted + u64::try_from(left).unwrap(), 5_002);
        assert_eq!(cluster.kv(1).memory().keys(), u64::try_from(left).unwrap());
        // Later keys are likelier to be there than earlier ones.
        let mut there = [0; 2];
        for key in (0..5_000).step_by(10) {
            let found = told(cluster.kv(0), &format!("EXISTS key:{key}")).await;
            there[key / 2_500] += i32::from(found == Reply::Integer(1));
        }
        assert!(there[0] * 5 < there[1], "{there:?}");
    });
}

#[test]
fn writes_are_refused_where_nothing_may_go() {
    simulate(6, || async {
        let cluster = Cluster::new(6);
        // A policy without a key that it means is as good as none.
        for policy in [Policy::NoEviction, Policy::VolatileLru] {
            limit(&cluster, policy);
            let replies = fill(&cluster, 3_000, &[]).await;
            let text = "OOM command not allowed when used memory > 'maxmemory'.";
            let refusal = Reply::Error(Bytes::from_static(text.as_bytes()));
            let written = replies.iter().filter(|reply| **reply == Reply::OK).count();
            let refused = replies.iter().filter(|reply| **reply == refusal).count();
            assert_eq!(written + refused, 3_000);
            assert!(written > 500 && refused > 500, "{written} {refused}");
            let kv = cluster.kv(1);
            assert_eq!(told(kv, "SET key:0 x").await, refusal);
            assert_ne!(told(kv, "GET key:0").await, Reply::Null);
            // Whoever begins a transaction is told by the owner, and by nobody else.
            let words = ["SET", "key:0", "x"].map(Bytes::from).to_vec();
            let set = command::find(&words).unwrap();
            let tells = |at: &usize| cluster.kv(*at).condition().is_full(set, &words);
            assert_eq!((0..3).filter(tells).count(), 1);
            assert_eq!(told(kv, "EXPIRE key:1 1000").await, Reply::Integer(1));
            if policy == Policy::VolatileLru {
                // That one may go, and is enough or not.
                clock::sleep(Duration::from_secs(2)).await;
                assert_eq!(told(kv, "EXISTS key:1").await, Reply::Integer(0));
            }
            for key in 0..600 {
                told(kv, &format!("DEL key:{key}")).await;
            }
            clock::sleep(Duration::from_secs(2)).await;
            assert_eq!(told(kv, "SET key:0 x").await, Reply::OK, "{policy:?}");
            let evicted = (0..3).map(|at| cluster.kv(at).memory().evicted_keys());
            assert_eq!(evicted.sum::<u64>(), u64::from(policy.evicts()));
            told(kv, "FLUSHALL").await;
            clock::sleep(Duration::from_secs(2)).await;
            assert_eq!(kv.memory().keys(), 0);
        }
    });
}

/// A node that starts again counts what it reads from its disk.
#[test]
fn what_is_read_from_the_disk_is_counted() {
    simulate(7, || async {
        let mut cluster = Cluster::new(7);
        limit(&cluster, Policy::NoEviction);
        fill(&cluster, 500, &[]).await;
        clock::sleep(Duration::from_secs(2)).await;
        let used_bytes = cluster.kv(0).memory().used_bytes();
        assert!(used_bytes > 50_000);
        cluster.crash(0).await;
        cluster.start(0);
        // It hears from every owner how much of its log holds.
        fill(&cluster, 100, &[]).await;
        clock::sleep(Duration::from_secs(2)).await;
        let again = cluster.kv(0).memory().used_bytes();
        assert!(again.abs_diff(used_bytes) < 1_000, "{again} {used_bytes}");
        assert_eq!(cluster.kv(0).memory().keys(), 500);
    });
}
