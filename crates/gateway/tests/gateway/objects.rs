//! From objects of Kubernetes to bytes on sockets: what annotations and pods ask for is done.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use atoll_gateway::core::{
    config::Config,
    services::{self, Doors, Objects},
};
use atoll_world::{
    net::{self, TlsAcceptor},
    pki::tls::{self, ByName, ShownCertificate},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::{
    clients::{Client1, connect, read_exactly},
    endpoints::{Served, greet, https},
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
        pods: &[],
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

/// What is done for a pod of this address, whose container's port is that of an endpoint.
fn with_pod(ip: &str, inside: u16, outside: u16) -> Config {
    let ports = json!([{"containerPort": inside, "hostPort": outside}]);
    let pods = shared(vec![json!({
        "metadata": {"namespace": "n", "name": "p"},
        "spec": {"containers": [{"name": "c", "ports": ports}]},
        "status": {"phase": "Running", "hostIP": "192.0.2.1", "podIP": ip},
    })]);
    let objects = Objects {
        pods: &pods,
        ..Objects::default()
    };
    services::config(&objects, &doors()).config
}

#[tokio::test]
async fn a_host_port_leads_to_its_pod_as_long_as_it_runs() {
    let (first, second) = (greet("first").await, greet("later").await);
    let port = net::free_ports(1).await.unwrap()[0];
    let ip = first.address.ip().to_string();
    let mut rig = Rig::start(with_pod(&ip, first.address.port(), port));
    let name = format!("pod n/p host port 127.0.0.1:{port}");
    let address = rig.address(&name).await;
    assert_eq!(address.to_string(), format!("127.0.0.1:{port}"));
    let mut open = connect(address).await;
    assert_eq!(read_exactly(&mut open, 5).await, "first");
    // The pod that takes its place is reached at the same port, and nobody is cut off.
    rig.change(|config| *config = with_pod(&ip, second.address.port(), port))
        .await;
    assert_eq!(read_exactly(&mut connect(address).await, 5).await, "later");
    open.write_all(b"still").await.unwrap();
    assert_eq!(read_exactly(&mut open, 5).await, "still");
    rig.change(|config| *config = Config::default()).await;
    let gone = rig.gateway.addresses();
    until("the listener's end", || gone.borrow().is_empty()).await;
    open.write_all(b"there").await.unwrap();
    assert_eq!(read_exactly(&mut open, 5).await, "there");
}
