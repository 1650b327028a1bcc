//! A replica that was away for too long gets a snapshot, and goes on with it.

use atoll_world::clock;

use super::*;

fn settings() -> SnapshotSettings {
    SnapshotSettings {
        log_entries_max: 150,
        log_bytes_max: 1 << 20,
        segments_kept: 2,
        carry_bytes_max: 2 << 10,
    }
}

#[test]
fn a_replica_that_was_away_gets_a_snapshot_and_serves_from_it() {
    for seed in 0..2 {
        simulate(seed, async move {
            let net = SimNet::new(seed);
            // Whoever is asked first owns the partition: the third, when it is there.
            let layout = layout(&[3, 1, 2], 1);
            let mut machines: Vec<Machine> = (1..=3)
                .map(|node| Machine::new(node, seed * 10 + node, settings()))
                .collect();
            for machine in &mut machines {
                machine.start(&net, &layout).await.expect("it starts");
            }
            let kv = machines[0].kv();
            assert_eq!(
                ask(&kv, request("SET key 1")).await,
                Answer::Reply(Reply::OK)
            );
            machines[2].crash(&net, true).await;
            // More than fits one window of pieces.
            let value = vec![b'z'; 12_000];
            for number in 0..250 {
                let key = format!("big:{number}").into_bytes();
                let set = [b"SET".to_vec(), key, value.clone()];
                let answer = ask(&kv, words(set.into_iter())).await;
                assert_eq!(answer, Answer::Reply(Reply::OK), "{number}");
            }
            clock::sleep(Duration::from_millis(200)).await;
            // Whatever it is at, it can end.
            for life in 0..6 {
                machines[2].start(&net, &layout).await.expect("it starts");
                ask(&kv, request("INCR ticks")).await;
                let pause_ms = random::range(1..40);
                clock::sleep(Duration::from_millis(pause_ms)).await;
                machines[2].crash(&net, life % 2 == 0).await;
            }
            machines[2].start(&net, &layout).await.expect("it starts");
            let mut waited_ms = 0;
            while machines[2].files("snapshots").is_empty() {
                assert!(waited_ms < 20_000, "no snapshot came");
                clock::sleep(Duration::from_millis(20)).await;
                waited_ms += 20;
                // An owner that is at rest has nothing to say to it.
                ask(&kv, request("INCR ticks")).await;
            }
            assert_eq!(
                ask(&kv, request("SET key 2")).await,
                Answer::Reply(Reply::OK)
            );
            clock::sleep(Duration::from_millis(100)).await;
            // It comes back with what it installed.
            machines[2].crash(&net, seed % 2 == 0).await;
            machines[2].start(&net, &layout).await.expect("it starts");
            assert_eq!(machines[2].progress.lock().snapshots, 1);
            // Without the first, it has to serve itself.
            drop(kv);
            machines[0].crash(&net, true).await;
            let kv = machines[2].kv();
            let mut found = None;
            for _ in 0..20 {
                found = number(&kv, "key").await;
                if found.is_some() {
                    break;
                }
                clock::sleep(Duration::from_millis(500)).await;
            }
            assert_eq!(found, Some(2));
            let length = ask(&kv, request("STRLEN big:249")).await;
            assert_eq!(length, Answer::Reply(Reply::Integer(12_000)));
        });
    }
}

/// Writes under ever new keys for as long as it is let; those that were acknowledged.
async fn write_on(kv: Kv, name: String, acknowledged: Arc<Mutex<Vec<String>>>) {
    let padding = "p".repeat(400);
    for number in 0_u64.. {
        let key = format!("{name}:{number}");
        let answer = ask(&kv, request(&format!("SET {key} {padding}"))).await;
        if answer == Answer::Reply(Reply::OK) {
            acknowledged.lock().push(key);
        }
    }
}

#[test]
fn whatever_was_acknowledged_survives_replicas_that_come_and_go() {
    for seed in 0..2 {
        simulate(seed, async move {
            let net = SimNet::new(seed);
            let layout = layout(&[1, 2, 3], 3);
            let settings = SnapshotSettings {
                log_entries_max: 40,
                log_bytes_max: 8 << 10,
                ..settings()
            };
            let mut machines: Vec<Machine> = (1..=3)
                .map(|node| Machine::new(node, seed * 10 + node, settings))
                .collect();
            let acknowledged: Arc<Mutex<Vec<String>>> = Arc::default();
            let mut is_up = [false; 3];
            let mut installs = 0;
            for round in 0..16 {
                let at = random::range(0..3_usize);
                for (place, machine) in machines.iter_mut().enumerate() {
                    if place == at && is_up[place] {
                        machine.crash(&net, random::chance(0.5)).await;
                        is_up[place] = false;
                    } else if !is_up[place] {
                        machine.start(&net, &layout).await.expect("it starts");
                        is_up[place] = true;
                        installs += machine.progress.lock().snapshots;
                        let (kv, group) = machine.life.as_ref().expect("it runs");
                        let name = format!("{place}:{round}");
                        let writer = write_on(kv.clone(), name, acknowledged.clone());
                        task::scope_sync(group.clone(), || task::spawn(writer));
                    }
                }
                clock::sleep(Duration::from_millis(random::range(1..120))).await;
            }
            assert!(installs > 0, "no start met a snapshot");
            for machine in &mut machines {
                machine.crash(&net, true).await;
                machine.start(&net, &layout).await.expect("it starts");
            }
            let known = acknowledged.lock().clone();
            assert!(known.len() > 200, "only {} were written", known.len());
            for (place, key) in known.iter().enumerate() {
                let kv = machines[place % 3].kv();
                let mut length = ask(&kv, request(&format!("STRLEN {key}"))).await;
                for _ in 0..10 {
                    if let Answer::Reply(_) = length {
                        break;
                    }
                    clock::sleep(Duration::from_millis(100)).await;
                    length = ask(&kv, request(&format!("STRLEN {key}"))).await;
                }
                assert_eq!(length, Answer::Reply(Reply::Integer(400)), "{key}");
            }
        });
    }
}
