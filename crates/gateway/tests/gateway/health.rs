//! Active health checks.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use atoll_gateway::core::config::{Backend, HealthCheck, Probe};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming};

use crate::{
    clients::Client1,
    endpoints::{Served, http, nobody},
    rig::{Rig, cluster, until, web},
};

fn often(probe: Probe) -> Option<HealthCheck> {
    Some(HealthCheck {
        interval_ms: 10,
        ..HealthCheck::new(probe)
    })
}

/// Says whether it is well, to HTTP and to gRPC.
async fn patient(is_well: Arc<AtomicBool>) -> Served {
    http(move |request: Request<Incoming>| {
        let is_well = is_well.load(Ordering::SeqCst);
        async move {
            let path = request.uri().path().to_owned();
            let (status, text) = match path.as_str() {
                "/healthz" if is_well => (StatusCode::NO_CONTENT, &b""[..]),
                "/healthz" => (StatusCode::INTERNAL_SERVER_ERROR, &b""[..]),
                "/grpc.health.v1.Health/Check" if is_well => {
                    (StatusCode::OK, &b"\0\0\0\0\x02\x08\x01"[..])
                }
                "/grpc.health.v1.Health/Check" => (StatusCode::OK, &b"\0\0\0\0\x02\x08\x02"[..]),
                _ => (StatusCode::OK, &b"served"[..]),
            };
            let mut response = Response::new(Full::new(Bytes::from_static(text)));
            *response.status_mut() = status;
            response
        }
    })
    .await
}

#[tokio::test]
async fn who_is_not_well_gets_no_requests_until_he_is() {
    let probes = [
        Probe::Http {
            path: "/healthz".to_owned(),
            host: None,
        },
        Probe::Grpc {
            service: "a.Service".to_owned(),
        },
    ];
    for probe in probes {
        let is_well = Arc::new(AtomicBool::new(true));
        let endpoint = patient(is_well.clone()).await;
        let mut cluster = cluster(&[endpoint.address, nobody().await]);
        cluster.health = often(probe.clone());
        cluster.backend = match probe {
            Probe::Grpc { .. } => Backend::Http2,
            _ => Backend::Http1,
        };
        let rig = Rig::start(web(cluster));
        rig.address("web").await;
        let is_up = || {
            rig.gateway.endpoints()["a"]
                .iter()
                .map(|it| it.is_up)
                .collect::<Vec<_>>()
        };
        until("the dead one's end", || is_up() == [true, false]).await;
        let mut client = Client1::connect(rig.address("web").await).await;
        let before = rig.stats().retries.get();
        for _ in 0..4 {
            assert_eq!(client.get("/").await.text, "served");
        }
        assert_eq!(rig.stats().retries.get(), before);

        is_well.store(false, Ordering::SeqCst);
        until("the sick one's end", || is_up() == [false, false]).await;
        assert_eq!(
            client.get("/").await.status,
            StatusCode::SERVICE_UNAVAILABLE
        );
        is_well.store(true, Ordering::SeqCst);
        until("its return", || is_up() == [true, false]).await;
        assert_eq!(client.get("/").await.text, "served");
        assert!(rig.stats().health_failures.get() >= 2);
    }
}

#[tokio::test]
async fn checks_come_and_go_with_the_snapshots() {
    let mut rig = Rig::start(web(cluster(&[nobody().await])));
    rig.change(|config| config.clusters.get_mut("a").unwrap().health = often(Probe::Tcp))
        .await;
    until("the check", || !rig.gateway.endpoints()["a"][0].is_up).await;
    // Without checks nobody could find out that it is back.
    rig.change(|config| config.clusters.get_mut("a").unwrap().health = None)
        .await;
    until("the presumption", || rig.gateway.endpoints()["a"][0].is_up).await;
}
