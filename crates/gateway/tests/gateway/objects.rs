//! From objects of Kubernetes to bytes on sockets: what annotations ask for is done.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use atoll_gateway::core::{
    config::Config,
    services::{self, Doors, Objects},
};
use atoll_world::{
    net::TlsAcceptor,
    pki::tls::{self, ByName, ShownCertificate},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming};
use serde_json::{Value, json};

use crate::{
    clients::Client1,
    endpoints::{Served, https},
    rig::{Rig, until},
};

fn doors() -> Doors {
    Doors {
        host: "127.0.0.1".to_owned(),
        balancer: None,
        http: "127.0.0.1:0".to_owned(),
        https: None,
    }
}

fn shared(objects: Vec<Value>) -> Vec<Arc<Value>> {
    objects.into_iter().map(Arc::new).collect()
}

/// A Service with these annotations whose endpoint this is, and an Ingress for it.
fn served(endpoint: &Served, annotations: Value, secrets: Vec<Value>) -> Config {
    let service = json!({
        "metadata": {"namespace": "n", "name": "shop", "annotations": annotations},
        "spec": {"clusterIP": "None", "ports": [{"name": "web", "port": 443}]},
    });
    let slice = json!({
        "metadata": {"namespace": "n", "labels": {"kubernetes.io/service-name": "shop"}},
        "ports": [{"name": "web", "port": endpoint.address.port()}],
        "endpoints": [{"addresses": [endpoint.address.ip().to_string()]}],
    });
    let ingress = json!({
        "metadata": {"namespace": "n", "name": "i"},
        "spec": {"defaultBackend": {"service": {"name": "shop", "port": {"name": "web"}}}},
    });
    let (services, slices) = (shared(vec![service]), shared(vec![slice]));
    let (ingresses, secrets) = (shared(vec![ingress]), shared(secrets));
    let objects = Objects {
        services: &services,
        slices: &slices,
        ingresses: &ingresses,
        secrets: &secrets,
    };
    services::config(&objects, &doors()).config
}

/// Answers under TLS, and says at `/ready` whether it is well.
async fn endpoint(shown: &ShownCertificate, is_well: Arc<AtomicBool>) -> Served {
    let certificates = ByName {
        fallback: Some(shown.clone()),
        ..ByName::default()
    };
    let config = tls::named_listener_config(certificates, None, &[b"http/1.1"]).unwrap();
    let acceptor = TlsAcceptor::new(Some(config), None);
    https(acceptor, move |request: Request<Incoming>| {
        let is_sick = request.uri().path() == "/ready" && !is_well.load(Ordering::SeqCst);
        async move {
            let mut response = Response::new(Full::new(Bytes::from("served")));
            if is_sick {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            response
        }
    })
    .await
}

#[tokio::test]
async fn a_service_is_called_and_checked_under_tls() {
    let made = rcgen::generate_simple_self_signed(["shop.n.svc".to_owned()]).unwrap();
    let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let shown = ShownCertificate::from_pem(&pem, &key).unwrap();
    let is_well = Arc::new(AtomicBool::new(true));
    let endpoint = endpoint(&shown, is_well.clone()).await;
    let secret = json!({
        "metadata": {"namespace": "n", "name": "ca"},
        "data": {"ca.crt": STANDARD.encode(&pem)},
    });
    let annotations = json!({
        "atoll.dev/backend-tls": "true",
        "atoll.dev/backend-tls-ca-secret": "ca",
        "atoll.dev/health-probe": "http",
        "atoll.dev/health-path": "/ready",
        "atoll.dev/health-interval-ms": "10",
    });
    let rig = Rig::start(served(&endpoint, annotations.clone(), vec![secret]));
    let address = rig.address("http").await;
    let get = async || Client1::connect(address).await.get("/").await;
    assert_eq!(get().await.text, "served");
    let is_up = || rig.gateway.endpoints()["n/shop/443"][0].is_up;
    is_well.store(false, Ordering::SeqCst);
    until("the sick one's end", || !is_up()).await;
    assert_eq!(get().await.status, StatusCode::SERVICE_UNAVAILABLE);
    is_well.store(true, Ordering::SeqCst);
    until("its return", is_up).await;
    assert_eq!(get().await.text, "served");
    // Without the Secret nobody is believed, and nothing goes out without TLS.
    let rig = Rig::start(served(&endpoint, annotations, Vec::new()));
    let address = rig.address("http").await;
    let answer = Client1::connect(address).await.get("/").await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
}
