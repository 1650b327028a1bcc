//! Frameworks, and the room that they are offered.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    super::{CLAIM_MS, OFFER_MS, Offer, OfferError, Scheduler},
    town::{Town, asks, node, pod},
};

fn town(nodes: usize) -> Town {
    let mut town = Town::new();
    for number in 0..nodes {
        town.set("Node", node(&format!("n{number}"), json!({})));
    }
    town
}

fn made(town: &mut Town) -> Vec<Offer> {
    town.scheduler.offer(town.now_ms).made
}

fn tasks(names: &[&str], cpu: &str) -> Vec<Arc<Value>> {
    names
        .iter()
        .map(|name| Arc::new(pod(name, asks(cpu, "1Gi"))))
        .collect()
}

fn joins(town: &mut Town, name: &str, weight: u32) {
    town.scheduler
        .framework_joins(name, weight)
        .expect("there is room for it");
}

#[test]
fn free_room_is_offered_once_to_who_has_least() {
    let mut town = town(4);
    town.placed(pod("x", asks("1", "2Gi")), "n0");
    assert!(made(&mut town).is_empty());
    joins(&mut town, "a", 1);
    joins(&mut town, "b", 1);
    let offers = made(&mut town);
    let whose: Vec<&str> = offers
        .iter()
        .map(|offer| offer.framework.as_str())
        .collect();
    let where_: Vec<&str> = offers.iter().map(|offer| offer.node.as_str()).collect();
    assert_eq!(where_, ["n0", "n1", "n2", "n3"]);
    // Each goes to who has less by then.
    assert_eq!(whose, ["a", "b", "a", "b"]);
    assert_eq!(
        (offers[0].room.milli_cpu, offers[0].room.memory_bytes),
        (3_000, 6 << 30)
    );
    assert_eq!(offers[0].room.pods, 109);
    assert!(made(&mut town).is_empty(), "all is offered");
    // They expire, and are made anew.
    town.now_ms += OFFER_MS;
    let round = town.scheduler.offer(town.now_ms);
    assert_eq!((round.withdrawn.len(), round.made.len()), (4, 4));
    assert!(round.made.iter().all(|offer| offer.id > 4));
}

#[test]
fn what_is_accepted_is_used_until_its_pod_is_there_and_gone() {
    let mut town = town(1);
    joins(&mut town, "a", 1);
    let offer = made(&mut town).remove(0);
    let used = |town: &Town| {
        town.scheduler
            .snapshot()
            .room("n0")
            .map(|(_, used)| used.milli_cpu)
    };
    let node = town
        .scheduler
        .accept("a", offer.id, &tasks(&["t1", "t2"], "1"), 0, town.now_ms);
    assert_eq!(node.as_deref(), Ok("n0"));
    assert_eq!(used(&town), Some(2_000));
    // Pods see that there is less.
    town.pod(pod("p", asks("3", "1Gi")));
    assert!(town.turn()[0].contains("Insufficient cpu"));
    // Also of who looks at everything anew.
    let mut scheduler = std::mem::take(&mut town.scheduler);
    scheduler.resync(&town);
    town.scheduler = scheduler;
    assert_eq!(used(&town), Some(2_000));
    // The rest is offered, the offer is used up.
    let rest = made(&mut town).remove(0);
    assert_eq!(rest.room.milli_cpu, 2_000);
    let again = town.scheduler.accept("a", offer.id, &[], 0, town.now_ms);
    assert_eq!(again, Err(OfferError::NoOffer(offer.id)));
    // One of the pods comes, the other does not.
    town.placed(pod("t1", asks("1", "1Gi")), "n0");
    assert_eq!(used(&town), Some(2_000));
    town.now_ms += CLAIM_MS;
    town.scheduler.offer(town.now_ms);
    assert_eq!(used(&town), Some(1_000));
    assert_eq!(town.turn(), ["p on n0"]);
    town.gone("Pod", "t1");
    assert_eq!(used(&town), Some(3_000));
}

#[test]
fn an_offer_is_worth_nothing_when_the_room_was_taken() {
    let mut town = town(1);
    joins(&mut town, "a", 1);
    let offer = made(&mut town).remove(0);
    town.pod(pod("p", asks("3", "1Gi")));
    assert_eq!(town.turn(), ["p on n0"]);
    // The first of the tasks would have had room: both are not started.
    let refused = town
        .scheduler
        .accept("a", offer.id, &tasks(&["t1", "t2"], "1"), 0, town.now_ms);
    let why = "node n0 has not enough cpu any more";
    assert_eq!(
        refused.map_err(|error| error.to_string()),
        Err(why.to_owned())
    );
    let room = town
        .scheduler
        .snapshot()
        .room("n0")
        .map(|(_, used)| used.milli_cpu);
    assert_eq!(room, Some(3_000));
    let taken = |resource: &str| {
        Err(OfferError::Taken {
            node: "n0".to_owned(),
            resource: resource.to_owned(),
        })
    };
    // A port is taken.
    let process = |name: &str| {
        pod(
            name,
            json!({"containers": [{"name": "c", "image": "", "ports": [{"containerPort": 80}]}]}),
        )
    };
    let offer = made(&mut town).remove(0);
    town.pod(process("q"));
    assert_eq!(town.turn(), ["q on n0"]);
    let task = [Arc::new(process("t"))];
    assert_eq!(
        town.scheduler.accept("a", offer.id, &task, 0, town.now_ms),
        taken("ports")
    );
    // The node takes no pods any more: accepted or not, the offer is over.
    let offer = made(&mut town).remove(0);
    town.edit("Node", "n0", |node| {
        node["spec"]["unschedulable"] = json!(true)
    });
    let refused = town
        .scheduler
        .accept("a", offer.id, &tasks(&["t"], "1m"), 0, town.now_ms);
    assert_eq!(refused, taken("room"));
    assert!(made(&mut town).is_empty());
}

#[test]
fn no_more_than_offered_and_no_name_twice() {
    let mut town = town(2);
    joins(&mut town, "a", 1);
    joins(&mut town, "b", 1);
    let offers = made(&mut town);
    let now_ms = town.now_ms;
    let mut accept = |framework: &str, offer: u64, tasks: &[Arc<Value>]| {
        town.scheduler.accept(framework, offer, tasks, 0, now_ms)
    };
    assert_eq!(
        accept("b", offers[0].id, &[]),
        Err(OfferError::NoOffer(offers[0].id))
    );
    assert_eq!(
        accept("c", offers[0].id, &[]),
        Err(OfferError::NoFramework("c".to_owned()))
    );
    assert_eq!(
        accept("a", offers[0].id, &tasks(&["t1", "t2"], "3")),
        Err(OfferError::TooLarge {
            offer: offers[0].id,
            resource: "cpu".to_owned()
        })
    );
    assert_eq!(
        accept("b", offers[1].id, &tasks(&["t1"], "1")).as_deref(),
        Ok("n1")
    );
    let offers = made(&mut town);
    let exists = OfferError::Exists {
        namespace: "default".to_owned(),
        name: "t1".to_owned(),
    };
    let refused = town
        .scheduler
        .accept("a", offers[0].id, &tasks(&["t0", "t1"], "1"), 0, now_ms);
    assert_eq!(refused, Err(exists));
    // What was claimed before is claimed still.
    let used = |node: &str| {
        town.scheduler
            .snapshot()
            .room(node)
            .map(|(_, used)| used.milli_cpu)
    };
    assert_eq!((used("n0"), used("n1")), (Some(0), Some(1_000)));
}

#[test]
fn what_was_declined_comes_back_later_or_when_it_is_more() {
    let mut town = town(1);
    joins(&mut town, "a", 1);
    joins(&mut town, "b", 1);
    town.placed(pod("x", asks("1", "1Gi")), "n0");
    let whose = |town: &mut Town| {
        made(town)
            .first()
            .map(|offer| (offer.framework.clone(), offer.id))
    };
    let decline = |town: &mut Town, name: &str, id: u64| {
        town.scheduler
            .decline(name, id, 60_000, town.now_ms)
            .expect("it is open");
    };
    let (first, id) = whose(&mut town).expect("an offer");
    assert_eq!(first, "a");
    decline(&mut town, "a", id);
    let (second, id) = whose(&mut town).expect("an offer");
    assert_eq!(second, "b");
    decline(&mut town, "b", id);
    assert_eq!(whose(&mut town), None);
    // There is less: not wanted either. There is more: it may be wanted.
    town.placed(pod("y", asks("1", "1Gi")), "n0");
    assert_eq!(whose(&mut town), None);
    town.gone("Pod", "x");
    town.gone("Pod", "y");
    let (_, id) = whose(&mut town).expect("an offer");
    decline(&mut town, "a", id);
    let (_, id) = whose(&mut town).expect("an offer");
    decline(&mut town, "b", id);
    // It is asked for, or the time is over.
    town.scheduler.revive("b").expect("it is there");
    let (revived, id) = whose(&mut town).expect("an offer");
    assert_eq!(revived, "b");
    decline(&mut town, "b", id);
    town.now_ms += 60_000;
    assert_eq!(whose(&mut town).map(|(name, _)| name).as_deref(), Some("a"));
}

#[test]
fn an_offer_makes_way_for_a_much_larger_one() {
    let mut town = town(1);
    joins(&mut town, "a", 1);
    town.placed(pod("x", asks("3", "2Gi")), "n0");
    town.placed(pod("y", asks("500m", "1Gi")), "n0");
    let small = made(&mut town).remove(0);
    assert_eq!(small.room.milli_cpu, 500);
    joins(&mut town, "b", 1);
    let round = |town: &mut Town| {
        let round = town.scheduler.offer(town.now_ms);
        let ids = |offers: &[Offer]| offers.iter().map(|offer| offer.id).collect::<Vec<_>>();
        (ids(&round.withdrawn), ids(&round.made))
    };
    // There is less, or a little more: it stays as it is.
    town.placed(pod("z", asks("100m", "1Gi")), "n0");
    assert_eq!(round(&mut town), (vec![], vec![]));
    town.gone("Pod", "z");
    // There is twice as much.
    town.gone("Pod", "y");
    assert_eq!(round(&mut town), (vec![small.id], vec![small.id + 1]));
    assert_eq!(round(&mut town), (vec![], vec![]));
    // Room that a pod waits for is not free.
    let mut high = pod("h", asks("3", "2Gi"));
    high["spec"]["priority"] = json!(9);
    town.pod(high);
    assert!(town.turn()[0].starts_with("h preempts "));
    town.gone("Pod", "x");
    assert_eq!(round(&mut town), (vec![], vec![]));
}

#[test]
fn shares_are_counted_by_the_label_of_pods() {
    let mut town = town(3);
    let mut task = pod("t", asks("2", "1Gi"));
    task["metadata"]["labels"] = json!({"atoll.dev/framework": "a"});
    town.placed(task, "n0");
    // As after a new leader.
    let mut scheduler = Scheduler::default();
    scheduler.resync(&town);
    town.scheduler = scheduler;
    joins(&mut town, "a", 1);
    joins(&mut town, "b", 1);
    let whose: Vec<String> = made(&mut town)
        .into_iter()
        .map(|offer| offer.framework)
        .collect();
    assert_eq!(whose, ["b", "a", "b"]);
}

#[test]
fn nodes_that_take_no_pods_and_room_that_others_wait_for_are_not_offered() {
    let mut town = town(3);
    town.edit("Node", "n1", |node| {
        node["spec"]["taints"] = json!([{"key": "k", "effect": "NoSchedule"}])
    });
    town.placed(pod("x", asks("4", "8Gi")), "n2");
    joins(&mut town, "a", 1);
    let nodes: Vec<String> = made(&mut town)
        .into_iter()
        .map(|offer| offer.node)
        .collect();
    assert_eq!(nodes, ["n0"]);
    // A pod preempts another, whose room is its own.
    let mut high = pod("h", asks("4", "8Gi"));
    high["spec"]["priority"] = json!(9);
    town.placed(pod("y", asks("1", "1Gi")), "n0");
    town.pod(high);
    assert!(town.turn()[0].starts_with("h preempts "));
    for name in ["x", "y"] {
        town.gone("Pod", name);
    }
    town.now_ms += OFFER_MS;
    assert_eq!(made(&mut town).len(), 1);
}

#[test]
fn frameworks_are_bounded_and_leave() {
    let mut town = town(1);
    let scheduler = &mut town.scheduler;
    assert_eq!(
        scheduler.framework_joins("a", 0),
        Err(OfferError::Weight(0))
    );
    for number in 0..super::super::FRAMEWORKS_MAX {
        assert_eq!(scheduler.framework_joins(&number.to_string(), 1), Ok(()));
    }
    assert_eq!(
        scheduler.framework_joins("one more", 1),
        Err(OfferError::TooManyFrameworks)
    );
    assert_eq!(scheduler.framework_joins("7", 2), Ok(()));
    let offer = made(&mut town).remove(0);
    town.scheduler.framework_leaves(&offer.framework);
    let gone = town
        .scheduler
        .decline(&offer.framework, offer.id, 0, town.now_ms);
    assert_eq!(gone, Err(OfferError::NoFramework(offer.framework)));
    assert_eq!(made(&mut town).len(), 1);
}
