//! How requests are shared among endpoints, over real connections. What exactly each policy does is
//! tested where it is decided; this is about whether it is asked, and told what it goes by.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use atoll_gateway::core::config::{Cluster, Endpoint, Policy};
use atoll_world::{clock, task};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use tokio::sync::Semaphore;

use crate::{
    clients::Client1,
    endpoints::{Served, http},
    rig::{Rig, cluster, in_time, until, web},
};

/// Says its name; `/slow` only when there is a permit.
async fn named(name: &'static str, permits: Arc<Semaphore>) -> Served {
    http(move |request: Request<Incoming>| {
        let permits = permits.clone();
        async move {
            if request.uri().path() == "/slow" {
                permits.acquire().await.unwrap().forget();
            }
            Response::new(Full::new(Bytes::from(name)))
        }
    })
    .await
}

async fn three(permits: &Arc<Semaphore>) -> ([Served; 3], Cluster) {
    let served = [
        named("a", permits.clone()).await,
        named("b", permits.clone()).await,
        named("c", permits.clone()).await,
    ];
    let cluster = cluster(&served.each_ref().map(|it| it.address));
    (served, cluster)
}

fn nobody_waits() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(0))
}

/// Who answered, one after the other.
async fn asked(rig: &Rig, times: usize) -> Vec<String> {
    let mut client = Client1::connect(rig.address("web").await).await;
    let mut heard = Vec::new();
    for _ in 0..times {
        heard.push(client.get("/").await.text);
    }
    heard
}

fn counts(heard: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for name in heard {
        *counts.entry(name.as_str()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn turns_are_taken() {
    let (_served, mut cluster) = three(&nobody_waits()).await;
    cluster.policy = Policy::RoundRobin;
    let rig = Rig::start(web(cluster));
    let heard = asked(&rig, 12).await;
    for turn in heard.chunks(3) {
        assert_eq!(counts(turn).len(), 3, "{heard:?}");
    }
}

#[tokio::test]
async fn weights_are_kept() {
    let (_served, mut cluster) = three(&nobody_waits()).await;
    cluster.policy = Policy::Weighted;
    for (endpoint, weight) in cluster.endpoints.iter_mut().zip([3, 1, 0]) {
        endpoint.weight = weight;
    }
    let rig = Rig::start(web(cluster));
    let heard = asked(&rig, 40).await;
    assert_eq!(counts(&heard), BTreeMap::from([("a", 30), ("b", 10)]));
}

#[tokio::test]
async fn chance_reaches_everybody() {
    let (_served, mut cluster) = three(&nobody_waits()).await;
    cluster.policy = Policy::Random;
    let rig = Rig::start(web(cluster));
    let heard = asked(&rig, 120).await;
    // Far less than this happens once in thousands of years of tests.
    assert!(counts(&heard).values().all(|it| *it >= 10), "{heard:?}");
}

#[tokio::test]
async fn who_is_busy_gets_nothing() {
    let permits = nobody_waits();
    let (_served, mut cluster) = three(&permits).await;
    cluster.policy = Policy::LeastRequests;
    let rig = Rig::start(web(cluster));
    let address = rig.address("web").await;
    let waiting = task::spawn(async move { Client1::connect(address).await.get("/slow").await });
    let open = || {
        let endpoints = &rig.gateway.endpoints()["a"];
        endpoints.iter().position(|it| it.open > 0)
    };
    until("who is busy", || open().is_some()).await;
    let busy = ["a", "b", "c"][open().unwrap()];
    let heard = asked(&rig, 30).await;
    let counts = counts(&heard);
    assert_eq!((counts.len(), counts.get(busy)), (2, None), "{heard:?}");
    permits.add_permits(1);
    assert_eq!(waiting.await.unwrap().text, busy);
}

#[tokio::test]
async fn who_is_slow_gets_less() {
    let (_served, mut cluster) = three(&nobody_waits()).await;
    let slow = http(|_: Request<Incoming>| async {
        clock::sleep(Duration::from_millis(30)).await;
        Response::new(Full::new(Bytes::from("slow")))
    })
    .await;
    cluster.endpoints.push(Endpoint::new(slow.address));
    cluster.policy = Policy::TwoChoices;
    let rig = Rig::start(web(cluster));
    rig.address("web").await;
    let known = || {
        let endpoints = &rig.gateway.endpoints()["a"];
        endpoints.iter().all(|it| it.latency_us > 0)
    };
    in_time("everybody's latency", async {
        while !known() {
            asked(&rig, 1).await;
        }
    })
    .await;
    let heard = asked(&rig, 80).await;
    let slow = counts(&heard).get("slow").copied().unwrap_or_default();
    // A fourth would be its share.
    assert!(slow < 8, "{heard:?}");
}
