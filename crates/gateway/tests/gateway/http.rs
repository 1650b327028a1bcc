//! Requests and answers of HTTP.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, StatusCode, Version,
    body::Incoming,
    header::{HOST, HeaderName},
};

use crate::{
    clients::{Client1, ask_raw, body, connect, connect_http2, read_all, whole},
    endpoints::{Served, http, nobody},
    rig::{Rig, cluster, in_time, route, until, web},
};
use atoll_gateway::core::{
    config::{Backend, Endpoint, HashKey, HostMatch, PathMatch, Policy, Protocol, RoutePolicy},
    sources::Sources,
};
use tokio::io::AsyncWriteExt;

/// Answers with a name, and with what it was asked.
async fn tells(name: &'static str) -> Served {
    http(move |request: Request<Incoming>| async move {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let mut fields: Vec<_> = head
            .headers
            .iter()
            // What is drawn by chance.
            .filter(|(field, _)| *field != "traceparent")
            .map(|(field, value)| format!("{field}: {}", value.to_str().unwrap()))
            .collect();
        fields.sort();
        let (method, uri, version) = (head.method, head.uri, head.version);
        let first = format!("{name} {method} {uri} {version:?}");
        let text = format!(
            "{first}\n{}\n\n{}",
            fields.join("\n"),
            String::from_utf8_lossy(&body)
        );
        Response::builder()
            .header("connection", "x-mine")
            .header("x-mine", "1")
            .header("x-name", name)
            .body(Full::new(Bytes::from(text)))
            .unwrap()
    })
    .await
}

#[tokio::test]
async fn requests_take_their_routes() {
    let (a, b) = (tells("a").await, tells("b").await);
    let mut config = web(cluster(&[a.address]));
    config
        .clusters
        .insert("b".to_owned(), cluster(&[b.address]));
    config.routes = vec![route("/a", "a"), route("/b", "b")];
    let mut by_host = route("/", "b");
    by_host.host = HostMatch::Wildcard("example".to_owned());
    config.routes.push(by_host);
    let rig = Rig::start(config);
    let address = rig.address("web").await;
    let mut client = Client1::connect(address).await;
    for (host, path, expected) in [
        ("x", "/a", Some("a")),
        ("x", "/a/b?c", Some("a")),
        ("x", "/b", Some("b")),
        ("x", "/ab", None),
        ("x", "/", None),
        ("x.example:80", "/a", Some("b")),
    ] {
        let request = Request::get(path)
            .header(HOST, host)
            .body(body(""))
            .unwrap();
        let answer = whole(client.send(request).await).await;
        match expected {
            Some(name) => assert_eq!(answer.headers["x-name"], name, "{host} {path}"),
            None => assert_eq!(answer.status, StatusCode::NOT_FOUND, "{host} {path}"),
        }
    }
    let stats = rig.stats();
    assert_eq!((stats.answers[1].get(), stats.answers[3].get()), (4, 2));
    assert_eq!(
        (a.connections(), b.connections()),
        (1, 1),
        "connections are kept"
    );
}

#[tokio::test]
async fn a_path_that_may_be_read_another_way_takes_no_other_route_for_it() {
    let endpoint = tells("a").await;
    let mut config = web(cluster(&[endpoint.address]));
    let open = config.routes[0].clone();
    let mut closed = open.clone();
    closed.path = PathMatch::Prefix("/admin".to_owned());
    closed.policy = Arc::new(RoutePolicy {
        is_broken: true,
        ..RoutePolicy::default()
    });
    config.routes.push(closed);
    let rig = Rig::start(config);
    for (path, status) in [
        ("/a%20b/c;d", 200),
        ("/@scope%2Fpackage", 200),
        ("/x/../y", 200),
        ("/admin", 503),
        ("/admin/./x", 503),
        ("/%61dmin", 400),
        ("//admin", 400),
        ("/x/../admin", 400),
        ("/x%2F..%2Fadmin", 400),
        ("/admin/../x", 400),
        ("/admin;v=1/x", 400),
    ] {
        let mut client = Client1::connect(rig.address("web").await).await;
        let request = Request::get(path).header("host", "a.example");
        let answer = whole(client.send(request.body(body("")).unwrap()).await).await;
        assert_eq!(answer.status, status, "{path}");
    }
}

#[tokio::test]
async fn fields_are_changed_as_they_must_be() {
    let endpoint = tells("a").await;
    let rig = Rig::start(web(cluster(&[endpoint.address])));
    let request = "POST /p?q=1 HTTP/1.1\r\nHost: a.example\r\nConnection: close, X-Hop\r\n\
        X-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Authorization: x\r\nX-Forwarded-For: 1.1.1.1\r\n\
        Forwarded: for=1.1.1.1\r\nExpect: 100-continue\r\n\
        X_Forwarded_User: root\r\nContent_Length: 9\r\n\
        TE: trailers\r\nContent-Length: 2\r\n\r\nhi";
    let answer = ask_raw(rig.address("web").await, request).await;
    let answer = answer
        .strip_prefix("HTTP/1.1 100 Continue\r\n\r\n")
        .unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && !head.contains("x-mine"),
        "{head}"
    );
    let expected = "a POST /p?q=1 HTTP/1.1\ncontent-length: 2\nhost: a.example\n\
        x-forwarded-for: 127.0.0.1\nx-forwarded-host: a.example\n\
        x-forwarded-proto: http\n\nhi";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn what_a_trusted_proxy_says_is_kept() {
    let endpoint = tells("a").await;
    let mut config = web(cluster(&[endpoint.address]));
    config.listeners[0].protocol = Protocol::Http {
        trusts_forwarded: true,
        traces_percent: 100,
    };
    config.listeners[0].proxies = Some(Sources::default());
    let rig = Rig::start(config);
    let request = "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\nGET http://b.example/x HTTP/1.1\r\n\
        Host: a\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n";
    let answer = ask_raw(rig.address("web").await, request).await;
    let expected = "a GET /x HTTP/1.1\nhost: b.example\nx-forwarded-for: 1.1.1.1, 2001:db8::1\n\
        x-forwarded-host: b.example\nx-forwarded-proto: https\n\n";
    assert_eq!(answer.split_once("\r\n\r\n").unwrap().1, expected);
}

#[tokio::test]
async fn hosts_have_to_be_certain() {
    let endpoint = tells("a").await;
    let rig = Rig::start(web(cluster(&[endpoint.address])));
    let address = rig.address("web").await;
    for (fields, expected) in [
        ("Host: a\r\n", "200"),
        ("", "400"),
        ("Host: a\r\nHost: a\r\n", "400"),
        ("Host: a/b\r\n", "400"),
    ] {
        let request = format!("GET / HTTP/1.1\r\nConnection: close\r\n{fields}\r\n");
        let answer = ask_raw(address, request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected}")),
            "{fields:?}: {answer}"
        );
    }
    let connect = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
    assert!(ask_raw(address, connect).await.starts_with("HTTP/1.1 405"));
}

#[tokio::test]
async fn connections_are_used_again_and_again() {
    let endpoint = tells("a").await;
    let rig = Rig::start(web(cluster(&[endpoint.address])));
    let mut client = Client1::connect(rig.address("web").await).await;
    for turn in 0..50 {
        assert_eq!(client.get("/").await.status, StatusCode::OK);
        assert_eq!(client.post("/", "x").await.status, StatusCode::OK);
        // The connection's task has to see the end of the answer, too.
        until("the connection to be kept", || {
            rig.gateway.endpoints()["a"][0].kept == 1
        })
        .await;
        assert!(endpoint.connections() <= 3, "turn {turn}");
    }
    assert_eq!(rig.gateway.endpoints()["a"][0].open, 0);
    assert_eq!(rig.stats().requests_open.open(), 0);
}

#[tokio::test]
async fn no_endpoint_says_so() {
    let rig = Rig::start(web(cluster(&[])));
    let mut client = Client1::connect(rig.address("web").await).await;
    let answer = client.get("/").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.text, "no endpoint is available\n");
    let rig = Rig::start(web(cluster(&[nobody().await])));
    let mut client = Client1::connect(rig.address("web").await).await;
    let answer = client.get("/").await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(answer.text, "no endpoint could be reached\n");
}

#[tokio::test]
async fn http2_clients_and_http1_endpoints() {
    let endpoint = tells("a").await;
    let rig = Rig::start(web(cluster(&[endpoint.address])));
    let mut client = connect_http2(rig.address("web").await).await;
    let request = Request::post("http://a.example/x")
        .body(body("hello"))
        .unwrap();
    let response = in_time("an answer", client.send_request(request))
        .await
        .unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    let answer = whole(response).await;
    let expected = "a POST /x HTTP/1.1\ncontent-length: 5\nhost: a.example\n\
        x-forwarded-for: 127.0.0.1\nx-forwarded-host: a.example\nx-forwarded-proto: http\n\nhello";
    assert_eq!(answer.text, expected);
    // Two hosts in one request.
    let request = Request::get("http://a.example/x")
        .header(HOST, "b")
        .body(body(""))
        .unwrap();
    let response = in_time("an answer", client.send_request(request))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn http2_endpoints_share_one_connection() {
    let endpoint = tells("a").await;
    let mut cluster = cluster(&[endpoint.address]);
    cluster.backend = Backend::Http2;
    let rig = Rig::start(web(cluster));
    let address = rig.address("web").await;
    let asked = (0..10).map(|_| async {
        let answer = Client1::connect(address).await.get("/x").await;
        assert!(
            answer.text.starts_with("a GET http://a/x HTTP/2.0\n"),
            "{}",
            answer.text
        );
    });
    futures_util::future::join_all(asked).await;
    assert_eq!(endpoint.connections(), 1);
}

#[tokio::test]
async fn a_cookie_or_a_field_keeps_its_endpoint() {
    let (a, b, c) = (tells("a").await, tells("b").await, tells("c").await);
    let field = HeaderName::from_static("x-user");
    for key in [HashKey::Header(field), HashKey::Cookie("user".to_owned())] {
        let mut cluster = cluster(&[a.address, b.address, c.address]);
        cluster.policy = Policy::Maglev(key);
        let rig = Rig::start(web(cluster));
        let mut client = Client1::connect(rig.address("web").await).await;
        let mut names = std::collections::BTreeSet::new();
        for user in 0..20 {
            let mut seen = std::collections::BTreeSet::new();
            for _ in 0..3 {
                let request = Request::get("/")
                    .header(HOST, "a")
                    .header("x-user", user)
                    .header("cookie", format!("x=1; user={user}"));
                let answer = whole(client.send(request.body(body("")).unwrap()).await).await;
                seen.insert(answer.headers["x-name"].to_str().unwrap().to_owned());
            }
            assert_eq!(seen.len(), 1);
            names.append(&mut seen);
        }
        assert_eq!(names.len(), 3);
    }
}

#[tokio::test]
async fn draining_endpoints_get_nothing_new_while_others_are_there() {
    let (a, b) = (tells("a").await, tells("b").await);
    let mut rig = Rig::start(web(cluster(&[a.address, b.address])));
    rig.config.clusters.get_mut("a").unwrap().endpoints[0].is_draining = true;
    let draining = rig.config.clone();
    let rig = Rig::start(draining);
    let mut client = Client1::connect(rig.address("web").await).await;
    for _ in 0..6 {
        assert_eq!(client.get("/").await.headers["x-name"], "b");
    }
    let mut config = rig.config.clone();
    config.clusters.get_mut("a").unwrap().endpoints.truncate(1);
    let rig = Rig::start(config);
    let mut client = Client1::connect(rig.address("web").await).await;
    assert_eq!(client.get("/").await.headers["x-name"], "a");
}

#[tokio::test]
async fn the_zone_of_the_gateway_comes_first() {
    let (a, b) = (tells("a").await, tells("b").await);
    let mut config = web(cluster(&[a.address, b.address]));
    config.zone = Some("z1".to_owned());
    let cluster = config.clusters.get_mut("a").unwrap();
    cluster.prefers_zone = true;
    cluster.endpoints[1].zone = Some("z1".to_owned());
    let mut rig = Rig::start(config);
    let mut client = Client1::connect(rig.address("web").await).await;
    for _ in 0..4 {
        assert_eq!(client.get("/").await.headers["x-name"], "b");
    }
    rig.change(|config| {
        let endpoints = &mut config.clusters.get_mut("a").unwrap().endpoints;
        *endpoints = vec![Endpoint::new(a.address)];
    })
    .await;
    assert_eq!(client.get("/").await.headers["x-name"], "a");
}

#[tokio::test]
async fn heads_without_bodies_and_old_clients() {
    let endpoint = tells("a").await;
    let rig = Rig::start(web(cluster(&[endpoint.address])));
    let address = rig.address("web").await;
    let head = ask_raw(
        address,
        "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(
        head.contains("content-length: ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    let old = ask_raw(address, "GET /old HTTP/1.0\r\n\r\n").await;
    assert!(
        old.starts_with("HTTP/1.0 200 OK\r\n") && old.contains("a GET /old HTTP/1.1\nhost: \n"),
        "{old}"
    );
    // Requests in a row, answered in their order.
    let mut stream = connect(address).await;
    let two =
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(two.as_bytes()).await.unwrap();
    let answers = read_all(&mut stream).await;
    let places = [answers.find("a GET /1 "), answers.find("a GET /2 ")];
    assert!(places[0].unwrap() < places[1].unwrap());
}
