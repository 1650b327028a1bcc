use super::*;

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let pairs = fields.iter().map(|(name, value)| {
        let name: HeaderName = name.parse().unwrap();
        (name, HeaderValue::from_str(value).unwrap())
    });
    pairs.fold(HeaderMap::new(), |mut map, (name, value)| {
        map.append(name, value);
        map
    })
}

fn names(map: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<_> = map.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn what_belongs_to_one_connection_stays_there() {
    let mut headers = map(&[
        ("connection", "close, X-Own"),
        ("connection", "host,x-other , content-length"),
        ("x-own", "1"),
        ("x-other", "1"),
        ("x-kept", "1"),
        ("host", "a"),
        ("content-length", "3"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("te", "trailers"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("trailer", "x-sum"),
        ("traceparent", "00-1-2-01"),
    ]);
    strip_hop_by_hop(&mut headers);
    let kept = ["content-length", "host", "traceparent", "trailer", "x-kept"];
    assert_eq!(names(&headers), kept);
}

#[test]
fn nothing_that_looks_like_our_own_goes_on() {
    let mut headers = map(&[
        ("content_length", "3"),
        ("transfer_encoding", "chunked"),
        ("x_forwarded_user", "root"),
        ("x-forwarded_for", "10.0.0.1"),
        ("x_real-ip", "10.0.0.1"),
        ("x-real-ip", "10.0.0.1"),
        ("content-length", "3"),
        ("my_own", "1"),
        ("content_lengths", "1"),
    ]);
    strip_lookalikes(&mut headers);
    let kept = ["content-length", "content_lengths", "my_own", "x-real-ip"];
    assert_eq!(names(&headers), kept);
}

#[test]
fn websockets_are_told_from_other_upgrades() {
    let cases = [
        (
            vec![
                ("connection", "keep-alive, Upgrade"),
                ("upgrade", "WebSocket"),
            ],
            true,
        ),
        (vec![("connection", "upgrade"), ("upgrade", "h2c")], false),
        (
            vec![("connection", "upgrade"), ("upgrade", "websocket, h2c")],
            false,
        ),
        (
            vec![("connection", "close"), ("upgrade", "websocket")],
            false,
        ),
        (
            vec![
                ("connection", "upgrade"),
                ("upgrade", "websocket"),
                ("content-length", "1"),
            ],
            false,
        ),
    ];
    for (fields, expected) in cases {
        let wants = wants_websocket(&Method::GET, Version::HTTP_11, &map(&fields));
        assert_eq!(wants, expected, "{fields:?}");
    }
    let fields = map(&[("connection", "upgrade"), ("upgrade", "websocket")]);
    assert!(!wants_websocket(&Method::POST, Version::HTTP_11, &fields));
    assert!(!wants_websocket(&Method::GET, Version::HTTP_10, &fields));
}

#[test]
fn one_host_or_none() {
    use HostError::{Malformed, Missing, Several, Target};
    let (one, two) = (Version::HTTP_11, Version::HTTP_2);
    type Case<'a> = (Version, &'a str, &'a [&'a str], Result<&'a str, HostError>);
    let cases: [Case<'_>; 14] = [
        (one, "/", &["a:1"], Ok("a:1")),
        (one, "/", &[""], Ok("")),
        (one, "/", &[], Err(Missing)),
        (Version::HTTP_10, "/", &[], Ok("")),
        (one, "/", &["a", "a"], Err(Several)),
        (one, "/", &["a/b"], Err(Malformed)),
        (one, "/", &["u@a"], Err(Malformed)),
        (one, "/", &["a b"], Err(Malformed)),
        (one, "http://b/", &["a"], Ok("b")),
        (one, "http://b/", &["a", "b"], Err(Several)),
        (one, "a:1", &["a:1"], Err(Target)),
        (Version::HTTP_10, "a", &[], Err(Target)),
        (two, "http://b/", &["a"], Err(Several)),
        (two, "http://b/", &["B"], Ok("b")),
    ];
    for (version, uri, hosts, expected) in cases {
        let fields: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        let mut headers = map(&fields);
        let uri: Uri = uri.parse().unwrap();
        let host = settle_host(version, &uri, &mut headers);
        let host = host.as_ref().map(|it| it.to_str().unwrap());
        assert_eq!(
            host,
            expected.as_ref().copied(),
            "{version:?} {uri} {hosts:?}"
        );
        if let Ok(expected) = expected {
            assert_eq!(headers[HOST], expected);
        }
    }
}

#[test]
fn clients_can_t_say_who_they_are_but_proxies_can() {
    let came = [
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-for", "10.0.0.2"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=10.0.0.1"),
    ];
    let mut client = Client {
        address: HeaderValue::from_static("192.0.2.1"),
        is_tls: false,
        is_trusted: false,
    };
    let host = HeaderValue::from_static("a");
    let mut headers = map(&came);
    client.tell(&mut headers, &host);
    assert_eq!(headers[X_FORWARDED_FOR], "192.0.2.1");
    assert_eq!(headers[X_FORWARDED_PROTO], "http");
    assert_eq!(headers[X_FORWARDED_HOST], "a");
    assert!(!headers.contains_key(FORWARDED));

    client.is_trusted = true;
    let mut headers = map(&came);
    client.tell(&mut headers, &host);
    let chain: Vec<_> = headers.get_all(X_FORWARDED_FOR).iter().collect();
    assert_eq!(chain, ["10.0.0.1, 10.0.0.2, 192.0.2.1"]);
    assert_eq!(headers[X_FORWARDED_PROTO], "https");
    assert_eq!(headers[X_FORWARDED_HOST], "a");
    assert!(headers.contains_key(FORWARDED));
}

#[test]
fn cookies_are_found() {
    let headers = map(&[("cookie", "a=1; bb=2"), ("cookie", "b=3; c==")]);
    let found = |name| cookie(&headers, name).map(|it| std::str::from_utf8(it).unwrap());
    assert_eq!(
        (found("a"), found("b"), found("c")),
        (Some("1"), Some("3"), Some("="))
    );
    assert_eq!(found("d"), None);
}

#[test]
fn only_one_value_is_one() {
    let headers = map(&[("a", "1"), ("b", "1"), ("b", "1")]);
    let found = |name: &'static str| only(&headers, HeaderName::from_static(name));
    assert_eq!(found("a").map(HeaderValue::as_bytes), Some(&b"1"[..]));
    assert_eq!((found("b"), found("c")), (None, None));
}

#[test]
fn tokens_are_found() {
    for (field, expected) in [
        ("Bearer a.b.c", Some("a.b.c")),
        ("bearer  a ", Some("a")),
        ("Bearer ", None),
        ("Bearer", None),
        ("Basic a", None),
    ] {
        let field = HeaderValue::from_static(field);
        assert_eq!(bearer(&field), expected, "{field:?}");
    }
}

#[test]
fn a_trusted_proxy_tells_how_a_request_came() {
    let https = map(&[("x-forwarded-proto", "https")]);
    let client = |is_tls, is_trusted| Client {
        address: HeaderValue::from_static("192.0.2.1"),
        is_tls,
        is_trusted,
    };
    assert!(client(true, false).came_by_tls(&HeaderMap::new()));
    assert!(client(false, true).came_by_tls(&https));
    assert!(!client(false, false).came_by_tls(&https));
    assert!(!client(false, true).came_by_tls(&HeaderMap::new()));
}
