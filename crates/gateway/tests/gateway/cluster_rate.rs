//! Rates that all nodes count together.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use atoll_gateway::{
    Counted, Gateway, SharedCounter,
    core::config::{Config, Rate, RateKey, RoutePolicy, RouteRate},
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    clients::Client1,
    endpoints::http,
    rig::{cluster, in_time, web},
};

/// Counts for all gateways of a test, or does not answer.
#[derive(Debug, Default)]
struct Counter {
    sums: Mutex<BTreeMap<String, u64>>,
    asked: AtomicUsize,
    is_silent: bool,
}

impl SharedCounter for Counter {
    fn add<'a>(&'a self, counter: &'a str, amount: u32, life_ms: u64) -> Counted<'a> {
        assert!(life_ms >= 1_000);
        self.asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            if self.is_silent {
                std::future::pending::<()>().await;
            }
            let mut sums = self.sums.lock();
            let sum = sums.entry(counter.to_owned()).or_default();
            *sum += u64::from(amount);
            Some(*sum)
        })
    }
}

/// A day at once: a window that no test sees the end of, but by bad luck.
fn limited(config: &mut Config, burst: u32) {
    config.routes[0].policy = Arc::new(RoutePolicy {
        rate: Some(RouteRate {
            name: "r".to_owned(),
            rate: Rate {
                per_second: 1,
                burst,
            },
            by: RateKey::All,
            is_shared: true,
        }),
        ..RoutePolicy::default()
    });
}

async fn start(config: &Config, counter: Option<Arc<dyn SharedCounter>>) -> (Gateway, Client1) {
    let (_, receiver) = watch::channel(Arc::new(config.clone()));
    let gateway = Gateway::start(receiver, counter);
    let mut addresses = gateway.addresses();
    let listens = addresses.wait_for(|it| it.contains_key("web"));
    let address = in_time("a listener", listens).await.unwrap()["web"];
    (gateway, Client1::connect(address).await)
}

#[tokio::test]
async fn two_gateways_share_a_rate() {
    let endpoint =
        http(|_: Request<Incoming>| async { Response::new(Full::new(Bytes::from("ok"))) }).await;
    let mut config = web(cluster(&[endpoint.address]));
    limited(&mut config, 40);
    let counter = Arc::new(Counter::default());
    let (_one, mut first) = start(&config, Some(counter.clone())).await;
    let (_two, mut second) = start(&config, Some(counter.clone())).await;
    let mut passed = 0;
    for _ in 0..60 {
        for client in [&mut first, &mut second] {
            passed += u32::from(client.get("/").await.status == 200);
        }
    }
    // The windows of forty seconds may have turned once meanwhile.
    let windows = counter.sums.lock().len();
    assert!(
        passed == 40 || (windows == 2 && passed <= 80),
        "{passed} in {windows}"
    );
    let asked = counter.asked.load(Ordering::SeqCst);
    assert!(
        asked <= 22 * windows,
        "a share holds for two requests: {asked}"
    );
    assert!(counter.sums.lock().keys().all(|it| it.starts_with("r/")));
}

#[tokio::test]
async fn each_counts_for_itself_when_the_cluster_is_silent() {
    let endpoint =
        http(|_: Request<Incoming>| async { Response::new(Full::new(Bytes::from("ok"))) }).await;
    let mut config = web(cluster(&[endpoint.address]));
    limited(&mut config, 3);
    let silent = Arc::new(Counter {
        is_silent: true,
        ..Counter::default()
    });
    let none: Option<Arc<dyn SharedCounter>> = None;
    for counter in [none, Some(silent.clone())] {
        let (_gateway, mut client) = start(&config, counter).await;
        let mut statuses = Vec::new();
        for _ in 0..5 {
            statuses.push(client.get("/").await.status.as_u16());
        }
        assert_eq!(statuses[..3], [200, 200, 200]);
        assert!(statuses[3..].contains(&429), "{statuses:?}");
    }
    // It is not asked again for each request.
    assert!(silent.asked.load(Ordering::SeqCst) <= 2);
}
