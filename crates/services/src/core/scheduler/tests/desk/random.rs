//! Random histories: no node is used beyond what it has, and what is free in the end is offered.

use proptest::prelude::*;

use super::{
    super::super::{Amounts, POLL_MS, SILENT_MS},
    Client, Place, asks, pod,
};

#[derive(Clone, Debug)]
enum Step {
    Poll(usize),
    Accept(usize, u8, u32),
    Decline(usize, u8),
    Pod(u32),
    PodGone(u8),
    Later(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..3_usize;
    prop_oneof![
        6 => who.clone().prop_map(Step::Poll),
        4 => (who.clone(), any::<u8>(), 1..4_u32).prop_map(|(a, b, c)| Step::Accept(a, b, c)),
        2 => (who, any::<u8>()).prop_map(|(a, b)| Step::Decline(a, b)),
        3 => (1..4_u32).prop_map(Step::Pod),
        2 => any::<u8>().prop_map(Step::PodGone),
        4 => prop_oneof![Just(50), Just(150), Just(2_000), Just(12_000)].prop_map(Step::Later),
    ]
}

/// One of the offers that a framework knows.
fn pick(client: &Client, which: u8) -> Option<u64> {
    let count = client.open.len().max(1);
    client.open.keys().nth(usize::from(which) % count).copied()
}

fn play(steps: Vec<Step>) {
    let mut place = Place::new(3);
    let mut clients = ["a", "b", "c"].map(Client::new);
    let mut names = Vec::new();
    for step in steps {
        match step {
            Step::Poll(who) => drop(place.poll(&mut clients[who])),
            Step::Accept(who, which, cpu) => {
                let name = format!("t{}", names.len());
                if let Some(id) = pick(&clients[who], which)
                    && let Ok(node) =
                        place.accept(&mut clients[who], id, &[&name], &cpu.to_string())
                {
                    assert!(node.starts_with('n'));
                    names.push(name);
                }
            }
            Step::Decline(who, which) => {
                let client = &mut clients[who];
                if let Some(id) = pick(client, which) {
                    client.open.remove(&id);
                    let now_ms = place.town.now_ms;
                    let scheduler = &mut place.town.scheduler;
                    let _ = scheduler.decline(&client.name, id, 1_000, now_ms);
                }
            }
            Step::Pod(cpu) => {
                let name = format!("p{}", names.len());
                place.town.pod(pod(&name, asks(&cpu.to_string(), "1Gi")));
                names.push(name);
            }
            Step::PodGone(which) => {
                if !names.is_empty() {
                    let name = names[usize::from(which) % names.len()].clone();
                    place.town.gone("Pod", &name);
                }
            }
            Step::Later(ms) => {
                place.town.turn();
                place.later(ms);
            }
        }
        for number in 0..3 {
            let (all, used) = place
                .town
                .scheduler
                .snapshot()
                .room(&format!("n{number}"))
                .unwrap();
            assert!(
                all.has_room(&Amounts::default(), used),
                "n{number}: {used:?}"
            );
        }
    }
    // Everybody goes, and whoever asks gets everything.
    for name in names {
        place.town.gone("Pod", &name);
    }
    let mut last = Client::new("d");
    place.poll(&mut last).unwrap();
    for _ in 0..3 + SILENT_MS / POLL_MS {
        place.poll(&mut last).unwrap();
    }
    let rooms = last.open.values().map(|offer| offer.room.milli_cpu);
    assert_eq!(rooms.collect::<Vec<_>>(), [4_000; 3]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_node_is_used_twice_and_all_that_is_free_is_offered(
        steps in prop::collection::vec(step(), 0..80)
    ) {
        play(steps);
    }
}
