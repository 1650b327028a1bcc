//! Reads that need not be new.

use atoll_world::clock;

use super::*;
use crate::api::Refusal;

fn stale(line: &str) -> Request {
    Request {
        by: None,
        caller: None,
        consistency: Consistency::Stale,
        ..request(line)
    }
}

async fn start_all(net: &SimNet, layout: &Layout, seed: u64) -> Vec<Machine> {
    let mut machines: Vec<Machine> = (1..=3)
        .map(|node| Machine::new(node, seed * 10 + node, SnapshotSettings::default()))
        .collect();
    for machine in &mut machines {
        machine.start(net, layout).await.expect("it starts");
    }
    machines
}

fn told(text: &str) -> Answer {
    Answer::Reply(Reply::bulk(text))
}

/// Asks until this is the answer.
async fn until(kv: &Kv, asked: Request, wanted: &Answer) {
    let mut waited_ms = 0;
    loop {
        let answer = ask(kv, asked.clone()).await;
        if answer == *wanted {
            return;
        }
        assert!(waited_ms < 10_000, "{answer:?} instead of {wanted:?}");
        clock::sleep(Duration::from_millis(10)).await;
        waited_ms += 10;
    }
}

#[test]
fn a_replica_that_is_cut_off_answers_what_it_knew_and_nothing_else() {
    for seed in 0..4 {
        simulate(seed, async move {
            let net = SimNet::new(seed);
            let layout = layout(&[1, 2, 3], 1);
            let machines = start_all(&net, &layout, seed).await;
            let (first, cut) = (machines[0].kv(), machines[2].kv());
            let ok = Answer::Reply(Reply::OK);
            assert_eq!(ask(&first, request("SET key old")).await, ok);
            let ends = clock::wall_ms() + 500;
            let set = request(&format!("SET ends soon PXAT {ends}"));
            assert_eq!(ask(&first, set).await, ok);
            until(&cut, stale("GET key"), &told("old")).await;
            until(&cut, stale("GET ends"), &told("soon")).await;

            net.isolate(NodeId(3));
            assert_eq!(ask(&first, request("SET key new")).await, ok);
            let begin = clock::now();
            assert_eq!(ask(&cut, stale("GET key")).await, told("old"));
            assert!(
                begin.elapsed() < Duration::from_millis(1),
                "it asked somebody"
            );
            let refused = Answer::Refused(Refusal::Unavailable);
            assert_eq!(ask(&cut, request("GET key")).await, refused);
            // Nor does a connection that reads old values write there.
            assert_eq!(
                ask(&cut, stale("SET other mine")).await,
                Answer::Refused(Refusal::Unknown)
            );
            // Having tried to become the owner, it knows what it knew.
            assert_eq!(ask(&cut, stale("GET key")).await, told("old"));
            assert_eq!(
                ask(&cut, stale("DBSIZE")).await,
                Answer::Reply(Reply::Integer(2))
            );
            // What has ended is not there, though no log says so here.
            assert_eq!(
                ask(&cut, stale("GET ends")).await,
                Answer::Reply(Reply::Null)
            );
            // WATCH compares with what others wrote: no old answers.
            let versions = Request {
                by: None,
                caller: None,
                consistency: Consistency::Stale,
                body: Body::Versions(vec![crate::api::DatabaseKey {
                    database: 0,
                    key: "key".into(),
                }]),
            };
            assert_eq!(ask(&cut, versions).await, refused);

            net.heal();
            until(&cut, request("GET key"), &told("new")).await;
            assert_eq!(ask(&first, request("SET key newer")).await, ok);
            until(&cut, stale("GET key"), &told("newer")).await;
        });
    }
}

/// What a restarted replica holds may be as old as its last snapshot, or nothing at all.
#[test]
fn a_replica_that_has_heard_nothing_yet_does_not_answer_by_itself() {
    simulate(7, async {
        let net = SimNet::new(7);
        let layout = layout(&[1, 2, 3], 1);
        let mut machines = start_all(&net, &layout, 7).await;
        let ok = Answer::Reply(Reply::OK);
        assert_eq!(ask(&machines[0].kv(), request("SET key 1")).await, ok);
        machines[2].crash(&net, true).await;
        machines[2].start(&net, &layout).await.expect("it starts");
        let kv = machines[2].kv();
        assert_eq!(ask(&kv, stale("GET key")).await, told("1"));
        machines[2].crash(&net, true).await;
        net.isolate(NodeId(3));
        machines[2].start(&net, &layout).await.expect("it starts");
        let kv = machines[2].kv();
        assert_eq!(
            ask(&kv, stale("GET key")).await,
            Answer::Refused(Refusal::Unavailable)
        );
    });
}

/// What is written and read in one go is read as it was written.
#[test]
fn a_pipeline_that_writes_reads_what_it_wrote() {
    simulate(8, async {
        let net = SimNet::new(8);
        let layout = layout(&[1, 2, 3], 1);
        let machines = start_all(&net, &layout, 8).await;
        for round in 0..20 {
            let kv = machines[round % 3].kv();
            let answers = kv
                .ask(vec![stale(&format!("SET key {round}")), stale("GET key")])
                .await;
            assert_eq!(answers[1], told(&round.to_string()));
        }
    });
}
