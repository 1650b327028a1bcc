//! What routes ask of requests.

use std::sync::Arc;

use atoll_gateway::core::{
    basic::Users,
    config::{Auth, Rate, RateKey, RoutePolicy, RouteRate},
    jwt::{self, Jwt},
    sources::{Sources, networks},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming};

use crate::{
    clients::{Answer, Client1, ask_raw, body, connect_http2, whole},
    endpoints::{Served, http},
    rig::{Rig, cluster, in_time, web},
};

/// Says who asks.
async fn tells_user() -> Served {
    http(|request: Request<Incoming>| async move {
        let user = request.headers().get("x-forwarded-user").cloned();
        let user = user.map_or(Bytes::from("nobody"), |it| {
            Bytes::copy_from_slice(it.as_bytes())
        });
        let _ = request.into_body().collect().await;
        Response::new(Full::new(user))
    })
    .await
}

async fn rig_with(policy: RoutePolicy) -> (Rig, Served) {
    let endpoint = tells_user().await;
    let mut config = web(cluster(&[endpoint.address]));
    config.routes[0].policy = Arc::new(policy);
    (Rig::start(config), endpoint)
}

async fn ask(rig: &Rig, fields: &[(&str, &str)]) -> Answer {
    let mut client = Client1::connect(rig.address("web").await).await;
    let mut request = Request::get("/x?y=1").header("host", "a.example:8080");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    whole(client.send(request.body(body("")).unwrap()).await).await
}

#[tokio::test]
async fn addresses_that_may_and_may_not() {
    for (allow, deny, expected) in [
        ("127.0.0.0/8", "", 200),
        ("10.0.0.0/8", "", 403),
        ("", "127.0.0.1", 403),
        ("127.0.0.0/8", "127.0.0.1", 403),
    ] {
        let (rig, endpoint) = rig_with(RoutePolicy {
            sources: Sources {
                allow: networks(allow).unwrap(),
                deny: networks(deny).unwrap(),
            },
            ..RoutePolicy::default()
        })
        .await;
        // What a client says about itself is not heard.
        let answer = ask(&rig, &[("x-forwarded-for", "10.0.0.1")]).await;
        assert_eq!(answer.status, expected, "{allow} {deny}");
        let is_refused = expected == 403;
        assert_eq!(rig.stats().forbidden.get(), u64::from(is_refused));
        assert_eq!(endpoint.connections() == 0, is_refused);
    }
}

#[tokio::test]
async fn listeners_have_lists_of_their_own() {
    let endpoint = tells_user().await;
    let mut config = web(cluster(&[endpoint.address]));
    config.listeners[0].sources.deny = networks("127.0.0.0/8").unwrap();
    let rig = Rig::start(config.clone());
    let address = rig.address("web").await;
    assert_eq!(ask_raw(address, "GET / HTTP/1.0\r\n\r\n").await, "");
    // Behind a proxy, it is about who the proxy says it is.
    config.listeners[0].proxies = Some(Sources::default());
    let rig = Rig::start(config);
    let address = rig.address("web").await;
    let from = |client: &str| format!("PROXY TCP4 {client} 10.0.0.9 1 2\r\nGET / HTTP/1.0\r\n\r\n");
    assert!(ask_raw(address, from("10.0.0.1")).await.contains("200 OK"));
    assert_eq!(ask_raw(address, from("127.0.0.3")).await, "");
}

#[tokio::test]
async fn names_and_passwords() {
    let hash = bcrypt::hash("open sesame", 4).unwrap();
    let users = Users::parse(&format!("ann:{hash}")).unwrap();
    let (rig, _endpoint) = rig_with(RoutePolicy {
        auth: Some(Auth::Basic {
            realm: "staff".to_owned(),
            users: Arc::new(users),
        }),
        ..RoutePolicy::default()
    })
    .await;
    use base64::engine::general_purpose::STANDARD;
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    // The second time it is remembered, and a wrong one still is wrong.
    for (given, expected) in [
        ("ann:open sesame", 200),
        ("ann:open sesame", 200),
        ("ann:open Sesame", 401),
        ("bob:open sesame", 401),
        ("ann", 401),
    ] {
        let fields = [
            ("authorization", &*basic(given)),
            ("x-forwarded-user", "root"),
        ];
        let answer = ask(&rig, &fields).await;
        assert_eq!(answer.status, expected, "{given}");
        if expected == 200 {
            assert_eq!(answer.text, "ann");
        } else {
            let challenge = "Basic realm=\"staff\", charset=\"UTF-8\"";
            assert_eq!(answer.headers["www-authenticate"], challenge);
        }
    }
    let twice = basic("ann:open sesame");
    let twice = ask(
        &rig,
        &[("authorization", &twice), ("authorization", &twice)],
    )
    .await;
    assert_eq!(twice.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(&rig, &[]).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(rig.stats().unauthorized.get(), 5);
}

#[tokio::test]
async fn tokens() {
    let secret = b"0123456789abcdef0123456789abcdef";
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let set = format!(
        r#"{{"keys": [{{"kty": "oct", "k": "{}"}}]}}"#,
        encode(secret)
    );
    let (rig, _endpoint) = rig_with(RoutePolicy {
        auth: Some(Auth::Jwt(Arc::new(Jwt {
            keys: jwt::keys(&set).unwrap(),
            issuer: None,
            audiences: Vec::new(),
            leeway_s: 0,
        }))),
        ..RoutePolicy::default()
    })
    .await;
    let now_s = atoll_world::clock::wall_ms() / 1_000;
    let token = |ends_s: u64| {
        let claims = format!(r#"{{"sub": "ann", "exp": {ends_s}}}"#);
        let head = encode(br#"{"alg": "HS256"}"#);
        let signed = format!("{head}.{}", encode(claims.as_bytes()));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        let signature = ring::hmac::sign(&key, signed.as_bytes());
        format!("Bearer {signed}.{}", encode(signature.as_ref()))
    };
    let good = ask(&rig, &[("authorization", &token(now_s + 1_000))]).await;
    assert_eq!((good.status.as_u16(), good.text.as_str()), (200, "ann"));
    let over = ask(&rig, &[("authorization", &token(now_s - 1))]).await;
    assert_eq!(over.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        over.headers["www-authenticate"],
        "Bearer error=\"invalid_token\""
    );
    let none = ask(&rig, &[]).await;
    assert_eq!(none.headers["www-authenticate"], "Bearer");
}

#[tokio::test]
async fn nobody_says_who_they_are_where_nobody_asks() {
    let (rig, _endpoint) = rig_with(RoutePolicy::default()).await;
    let answer = ask(&rig, &[("x-forwarded-user", "root")]).await;
    assert_eq!(answer.text, "nobody");
}

#[tokio::test]
async fn bodies_are_bounded() {
    let (rig, endpoint) = rig_with(RoutePolicy {
        body_bytes_max: Some(10),
        ..RoutePolicy::default()
    })
    .await;
    let address = rig.address("web").await;
    let mut client = Client1::connect(address).await;
    assert_eq!(client.post("/", "0123456789").await.status, StatusCode::OK);
    let long = client.post("/", "0123456789a").await;
    assert_eq!(long.status, StatusCode::PAYLOAD_TOO_LARGE);
    // One whose length is not told in advance, in both versions.
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        6\r\nabcdef\r\n6\r\nghijkl\r\n0\r\n\r\n";
    let answer = ask_raw(address, chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let mut client = connect_http2(address).await;
    let parts = ["abcdef", "ghijkl"].map(|it| Ok(hyper::body::Frame::data(Bytes::from(it))));
    let stream = http_body_util::StreamBody::new(futures_util::stream::iter(parts));
    let request = Request::post("http://a/").body(stream.boxed()).unwrap();
    let response = in_time("an answer", client.send_request(request)).await;
    assert_eq!(response.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    // It was the clients' fault.
    assert!(!rig.gateway.endpoints()["a"][0].is_ejected && endpoint.connections() > 0);
}

#[tokio::test]
async fn requests_without_tls_are_sent_elsewhere() {
    for (port, expected) in [
        (443, "https://a.example/x?y=1"),
        (8_443, "https://a.example:8443/x?y=1"),
    ] {
        let (rig, endpoint) = rig_with(RoutePolicy {
            https_port: Some(port),
            ..RoutePolicy::default()
        })
        .await;
        let answer = ask(&rig, &[("x-forwarded-proto", "https")]).await;
        assert_eq!(answer.status, StatusCode::PERMANENT_REDIRECT);
        assert_eq!(answer.headers["location"], expected);
        // What can't be said in an answer, and what is nowhere.
        for request in [
            "GET /\x7f HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: :80\r\nConnection: close\r\n\r\n",
        ] {
            let answer = ask_raw(rig.address("web").await, request).await;
            assert!(answer.contains(" 400 Bad Request"), "{request:?} {answer}");
        }
        assert_eq!(endpoint.connections(), 0);
    }
}

#[tokio::test]
async fn a_route_that_is_broken_is_closed() {
    let (rig, endpoint) = rig_with(RoutePolicy {
        is_broken: true,
        ..RoutePolicy::default()
    })
    .await;
    assert_eq!(ask(&rig, &[]).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(endpoint.connections(), 0);
}

#[tokio::test]
async fn clients_have_rates_of_their_own() {
    let (mut rig, _endpoint) = rig_with(RoutePolicy {
        rate: Some(RouteRate {
            name: "r".to_owned(),
            rate: Rate {
                per_second: 1,
                burst: 2,
            },
            by: RateKey::Header("x-key".parse().unwrap()),
            is_shared: false,
        }),
        ..RoutePolicy::default()
    })
    .await;
    let mut statuses = Vec::new();
    for key in ["a", "a", "a", "b", "b"] {
        statuses.push(ask(&rig, &[("x-key", key)]).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 429, 200, 200]);
    // What was counted stays counted when a snapshot changes something else.
    rig.change(|config| {
        let cluster = config.clusters["a"].clone();
        config.clusters.insert("b".to_owned(), cluster);
    })
    .await;
    let again = ask(&rig, &[("x-key", "b")]).await;
    assert_eq!(again.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(again.headers["retry-after"], "1");
}
