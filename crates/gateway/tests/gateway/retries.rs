//! What is tried again, and what never is.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use atoll_gateway::core::config::{OutlierPolicy, Rate};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    clients::{Client1, body, whole},
    endpoints::{Served, http, nobody, read_head, serve},
    rig::{Rig, cluster, in_time, until, web},
};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Reads a request and closes without an answer.
async fn dies(asked: Arc<AtomicUsize>) -> Served {
    serve(move |mut stream, _| {
        let asked = asked.clone();
        async move {
            if read_head(&mut stream).await.is_some() {
                asked.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await
}

async fn works() -> Served {
    http(|_: Request<Incoming>| async { Response::new(Full::new(Bytes::from("ok"))) }).await
}

#[tokio::test]
async fn an_idempotent_request_goes_to_another_endpoint() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (bad, good) = (dies(asked.clone()).await, works().await);
    let mut cluster = cluster(&[bad.address, good.address, nobody().await]);
    cluster.retries.budget_per_second = 1_000;
    let rig = Rig::start(web(cluster));
    let mut client = Client1::connect(rig.address("web").await).await;
    let stats = rig.stats();
    in_time("all three are picked", async {
        while asked.load(Ordering::SeqCst) == 0 || stats.connect_failures.get() == 0 {
            let answer = client.get("/").await;
            assert_eq!(
                (answer.status, answer.text.as_str()),
                (StatusCode::OK, "ok")
            );
        }
    })
    .await;
    assert!(stats.retries.get() >= 2);
}

#[tokio::test]
async fn what_may_have_been_done_is_not_done_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (bad, worse) = (dies(asked.clone()).await, dies(asked.clone()).await);
    let rig = Rig::start(web(cluster(&[bad.address, worse.address])));
    let mut client = Client1::connect(rig.address("web").await).await;
    for text in ["", "body"] {
        let before = asked.load(Ordering::SeqCst);
        let answer = client.post("/", text).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
        assert_eq!(answer.text, "the endpoint broke off\n");
        assert_eq!(asked.load(Ordering::SeqCst), before + 1, "{text:?}");
    }
    // PUT is idempotent, but its body is gone.
    let before = asked.load(Ordering::SeqCst);
    let request = Request::put("/")
        .header("host", "a")
        .body(body("body"))
        .unwrap();
    let answer = whole(client.send(request).await).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(asked.load(Ordering::SeqCst), before + 1);
    // GET is tried as often as it may be.
    assert_eq!(client.get("/").await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(asked.load(Ordering::SeqCst), before + 4);
}

#[tokio::test]
async fn nobody_saw_it_so_even_a_post_goes_elsewhere() {
    let good = works().await;
    let rig = Rig::start(web(cluster(&[nobody().await, good.address])));
    let mut client = Client1::connect(rig.address("web").await).await;
    in_time("the one that is not there is picked", async {
        while rig.stats().connect_failures.get() == 0 {
            assert_eq!(client.post("/", "body").await.text, "ok");
        }
    })
    .await;
}

/// So it costs no more retries than there are, and a cluster with a dead endpoint goes on.
#[tokio::test]
async fn who_takes_no_connection_is_asked_once_in_a_while() {
    let good = works().await;
    let mut cluster = cluster(&[nobody().await, good.address]);
    // A retry for ten requests; half of them would need one.
    cluster.retries.budget_percent = 10;
    cluster.retries.budget_per_second = 2;
    let rig = Rig::start(web(cluster));
    let mut client = Client1::connect(rig.address("web").await).await;
    for _ in 0..100 {
        assert_eq!(client.get("/").await.text, "ok");
    }
    assert!(rig.stats().connect_failures.get() > 0);
    // It is not out for good.
    let failures = rig.stats().connect_failures.get();
    in_time("it is tried again", async {
        while rig.stats().connect_failures.get() == failures {
            assert_eq!(client.get("/").await.text, "ok");
        }
    })
    .await;
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_no_fault() {
    // Every connection answers one request and is closed some time later, unannounced.
    let endpoint = serve(|mut stream, _| async move {
        if read_head(&mut stream).await.is_some() {
            let _ = stream.write_all(OK).await;
        }
    })
    .await;
    let rig = Rig::start(web(cluster(&[endpoint.address])));
    let mut client = Client1::connect(rig.address("web").await).await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.text, "ok");
    }
    assert!(!rig.gateway.endpoints()["a"][0].is_ejected);
}

#[tokio::test]
async fn retries_end_with_their_budget() {
    let asked = Arc::new(AtomicUsize::new(0));
    let bad = dies(asked.clone()).await;
    let mut cluster = cluster(&[bad.address]);
    cluster.retries.budget_per_second = 0;
    cluster.retries.budget_percent = 10;
    let rig = Rig::start(web(cluster));
    let mut client = Client1::connect(rig.address("web").await).await;
    for _ in 0..50 {
        assert_eq!(client.get("/").await.status, StatusCode::BAD_GATEWAY);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 55);
    let stats = rig.stats();
    assert_eq!(stats.retries.get(), 5);
    assert!(stats.retries_refused.get() >= 45);
}

#[tokio::test]
async fn slow_endpoints_are_given_up() {
    let endpoint = serve(|mut stream, _| async move {
        let mut sink = [0; 1_024];
        while let Ok(1..) = stream.read(&mut sink).await {}
    })
    .await;
    let mut cluster = cluster(&[endpoint.address]);
    cluster.timeouts.response_ms = 100;
    let rig = Rig::start(web(cluster));
    let mut client = Client1::connect(rig.address("web").await).await;
    let answer = client.get("/").await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(answer.text, "the endpoint did not answer in time\n");
    assert_eq!(endpoint.connections(), 1);
}

#[tokio::test]
async fn endpoints_that_answer_badly_are_left_out() {
    let bad = http(|_: Request<Incoming>| async {
        let mut response = Response::new(Full::new(Bytes::new()));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
    .await;
    let good = works().await;
    let mut cluster = cluster(&[bad.address, good.address]);
    cluster.outliers = Some(OutlierPolicy {
        consecutive_errors: 3,
        ..OutlierPolicy::default()
    });
    let mut rig = Rig::start(web(cluster));
    let mut client = Client1::connect(rig.address("web").await).await;
    let mut failed = 0;
    for _ in 0..40 {
        failed += u32::from(client.get("/").await.status != StatusCode::OK);
    }
    // Answers of an endpoint are passed on, whatever they say.
    assert_eq!((failed, rig.stats().ejections.get()), (3, 1));
    // It stays out when a snapshot changes something else, and is asked when it is alone.
    rig.change(|config| config.clusters.get_mut("a").unwrap().endpoints.truncate(1))
        .await;
    assert!(rig.gateway.endpoints()["a"][0].is_ejected);
    assert_eq!(
        client.get("/").await.status,
        StatusCode::INTERNAL_SERVER_ERROR
    );
}

#[tokio::test]
async fn more_than_the_cluster_takes_is_refused() {
    let endpoint = works().await;
    let mut limited = cluster(&[endpoint.address]);
    limited.limits.rate = Some(Rate {
        per_second: 1,
        burst: 3,
    });
    let rig = Rig::start(web(limited));
    let mut client = Client1::connect(rig.address("web").await).await;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(client.get("/").await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 429, 429]);

    // One that never answers keeps the only place.
    let silent = serve(|mut stream, _| async move {
        let mut sink = [0; 64];
        while let Ok(1..) = stream.read(&mut sink).await {}
    })
    .await;
    let mut limited = cluster(&[silent.address]);
    limited.limits.requests_max = 1;
    let rig = Rig::start(web(limited));
    let address = rig.address("web").await;
    let mut first = Client1::connect(address).await;
    let waiting = atoll_world::task::spawn(async move { first.get("/").await });
    until("the first request", || silent.connections() == 1).await;
    let mut second = Client1::connect(address).await;
    let answer = second.get("/").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    // Its place is free again when the client goes.
    waiting.abort();
    let endpoints = || rig.gateway.endpoints()["a"][0].open;
    until("the place to be free", || endpoints() == 0).await;
    assert_eq!(rig.stats().limited.get(), 1);
}
