//! Requests that are asked twice, statuses that are tried again, and sessions.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use atoll_gateway::core::config::{HashKey, Hedge, Policy};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming};

use crate::{
    clients::{Client1, body, whole},
    endpoints::{Served, http},
    rig::{Rig, cluster, until, web},
};

/// Answers with a name after a while.
async fn slow(name: &'static str, after_ms: u64, asked: Arc<AtomicUsize>) -> Served {
    http(move |_: Request<Incoming>| {
        let asked = asked.clone();
        async move {
            asked.fetch_add(1, Ordering::SeqCst);
            atoll_world::clock::sleep(Duration::from_millis(after_ms)).await;
            Response::new(Full::new(Bytes::from(name)))
        }
    })
    .await
}

#[tokio::test]
async fn who_answers_first_is_heard() {
    let asked = Arc::new(AtomicUsize::new(0));
    // Far longer than a test waits.
    let stuck = slow("stuck", 600_000, asked.clone()).await;
    let quick = slow("quick", 0, Arc::default()).await;
    let mut cluster = cluster(&[stuck.address, quick.address]);
    cluster.policy = Policy::RoundRobin;
    cluster.hedge = Some(Hedge { after_ms: 20 });
    let rig = Rig::start(web(cluster));
    let mut client = Client1::connect(rig.address("web").await).await;
    for _ in 0..6 {
        let answer = client.get("/").await;
        assert_eq!(
            (answer.status.as_u16(), answer.text.as_str()),
            (200, "quick")
        );
    }
    let stats = rig.stats();
    let hedges = stats.hedges.get() as usize;
    assert!(hedges >= 2, "{hedges}");
    // On a busy machine the quick one may be taken for slow.
    let asked = asked.load(Ordering::SeqCst);
    assert!((2..=hedges).contains(&asked), "{asked} of {hedges}");
    // The others were broken off.
    until("nobody to be waited for", || {
        rig.gateway.endpoints()["a"].iter().all(|it| it.open == 0)
    })
    .await;
    assert_eq!(stats.ejections.get(), 0);
}

#[tokio::test]
async fn what_may_not_be_done_twice_is_not_asked_twice() {
    let asked = Arc::new(AtomicUsize::new(0));
    let one = slow("late", 200, asked.clone()).await;
    let other = slow("late", 200, asked.clone()).await;
    let mut cluster = cluster(&[one.address, other.address]);
    cluster.hedge = Some(Hedge { after_ms: 5 });
    cluster.retries.budget_per_second = 0;
    cluster.retries.budget_percent = 0;
    let mut rig = Rig::start(web(cluster));
    let mut client = Client1::connect(rig.address("web").await).await;
    assert_eq!(client.post("/", "x").await.text, "late");
    assert_eq!(client.post("/", "").await.text, "late");
    // Nor what there is no budget for.
    assert_eq!(client.get("/").await.text, "late");
    assert_eq!(
        (asked.load(Ordering::SeqCst), rig.stats().hedges.get()),
        (3, 0)
    );
    // Nor where there is nobody else.
    rig.change(|config| {
        let cluster = config.clusters.get_mut("a").unwrap();
        cluster.endpoints.truncate(1);
        cluster.retries.budget_percent = 1_000;
    })
    .await;
    assert_eq!(client.get("/").await.text, "late");
    assert_eq!(
        (asked.load(Ordering::SeqCst), rig.stats().hedges.get()),
        (4, 0)
    );
}

#[tokio::test]
async fn answers_that_are_none_are_tried_again() {
    let bad = http(|_: Request<Incoming>| async {
        let mut response = Response::new(Full::new(Bytes::from("bad")));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    })
    .await;
    let good = slow("good", 0, Arc::default()).await;
    let mut both = cluster(&[bad.address, good.address]);
    both.retries.statuses = vec![502];
    let rig = Rig::start(web(both));
    let mut client = Client1::connect(rig.address("web").await).await;
    for _ in 0..4 {
        assert_eq!(client.get("/").await.text, "good");
    }
    assert!(rig.stats().retries.get() >= 1);
    // The last one is passed on as it is.
    let mut alone = cluster(&[bad.address]);
    alone.retries.statuses = vec![502];
    let rig = Rig::start(web(alone));
    let mut client = Client1::connect(rig.address("web").await).await;
    let answer = client.get("/").await;
    assert_eq!(
        (answer.status, answer.text.as_str()),
        (StatusCode::BAD_GATEWAY, "bad")
    );
    assert_eq!(rig.stats().retries.get(), 2);
}

#[tokio::test]
async fn sessions_keep_their_endpoint() {
    let mut served = Vec::new();
    for name in ["a", "b", "c"] {
        served.push(slow(name, 0, Arc::default()).await);
    }
    let addresses: Vec<_> = served.iter().map(|it| it.address).collect();
    let mut cluster = cluster(&addresses);
    cluster.policy = Policy::Maglev(HashKey::Session("at".to_owned()));
    let rig = Rig::start(web(cluster));
    let mut client = Client1::connect(rig.address("web").await).await;
    let mut names = BTreeSet::new();
    for _ in 0..40 {
        let first = client.get("/").await;
        let cookie = first.headers["set-cookie"].to_str().unwrap();
        let (cookie, rest) = cookie.split_once(';').unwrap();
        assert!(cookie.starts_with("at="));
        assert_eq!(rest, " Path=/; HttpOnly; SameSite=Lax");
        let request = Request::get("/")
            .header("host", "a")
            .header("cookie", cookie);
        let again = whole(client.send(request.body(body("")).unwrap()).await).await;
        assert_eq!(again.text, first.text);
        assert!(!again.headers.contains_key("set-cookie"));
        names.insert(first.text);
    }
    assert_eq!(names.len(), 3);
}
