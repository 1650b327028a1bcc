use std::sync::Arc;

use atoll_world::pki::tls::{ClientCertificate, Trusted};
use serde_json::{Value, json};

use super::*;
use crate::core::config::{
    Auth, Fallback, HashKey, HostMatch, PathMatch, Policy, Probe, Protocol, RateKey,
};

mod backend_tls;

/// Documentation, with an example of everything.
const DOCS: &str = include_str!("../../../../../docs/gateway.md");

fn example() -> &'static str {
    let (_, rest) = DOCS.split_once("```toml\n").unwrap();
    rest.split_once("```").unwrap().0
}

const HASH: &str = "$2y$05$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234";

/// A certificate and its key.
fn pair() -> &'static (String, String) {
    static PAIR: std::sync::OnceLock<(String, String)> = std::sync::OnceLock::new();
    PAIR.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["in.example".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    })
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    let secret = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA";
    Ok(match path.rsplit_once('.') {
        Some((_, "crt")) => pair().0.clone().into_bytes(),
        Some((_, "key")) => pair().1.clone().into_bytes(),
        Some((_, "htpasswd")) => format!("ann:{HASH}\n").into_bytes(),
        Some((_, "json")) => format!(r#"{{"keys": [{{"kty": "oct", "k": "{secret}"}}]}}"#).into(),
        _ => return Err("no such file".to_owned()),
    })
}

fn parse(text: &str) -> Result<File, FileError> {
    File::parse(text, &read)
}

fn doors() -> Doors {
    Doors {
        host: "127.0.0.1".to_owned(),
        balancer: None,
        http: "127.0.0.1:8080".to_owned(),
        https: None,
    }
}

#[test]
fn the_example_of_the_documentation_is_read() {
    let file = parse(example()).unwrap();
    let config = config(Some(&file), &Objects::default(), &doors()).config;
    config.check().unwrap();
    let names: Vec<_> = config.listeners.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["file/database", "file/inner", "file/web"]);
    let [database, inner, web] = &config.listeners[..] else {
        panic!("three listeners")
    };
    assert!(matches!(&database.protocol, Protocol::Tcp { cluster } if cluster == "file/database"));
    assert!(!database.sources.permit([11, 0, 0, 1].into()));
    let tls = inner.tls.as_ref().unwrap();
    let demand = tls.clients.as_ref().unwrap().demand;
    assert_eq!(
        (tls.fallback, demand),
        (Fallback::First, ClientCertificate::Required)
    );
    assert_eq!(
        (inner.limits.connections_max, inner.limits.head_ms),
        (1_000, 5_000)
    );
    let proxies = inner.proxies.as_ref().unwrap();
    let from = [[10, 0, 0, 2], [10, 0, 0, 4]].map(|it| proxies.permit(it.into()));
    assert_eq!(from, [true, false]);
    let tls = web.tls.as_ref().unwrap();
    assert_eq!(
        (tls.fallback, tls.clients.is_none()),
        (Fallback::Refuse, true)
    );
    assert_eq!(
        tls.certificates[0].names,
        ["shop.example", "*.shop.example"]
    );

    let shop = &config.clusters["file/shop"];
    assert_eq!(
        shop.policy,
        Policy::Maglev(HashKey::Session("shop".to_owned()))
    );
    assert_eq!(
        (shop.timeouts.response_ms, shop.timeouts.connect_ms),
        (10_000, 2_000)
    );
    assert_eq!(shop.retries.statuses, [502, 503]);
    let orders = &config.clusters["file/orders"];
    assert_eq!(
        (orders.backend, orders.endpoints.len()),
        (Backend::Http2, 2)
    );
    let tls = orders.tls.as_ref().unwrap();
    assert_eq!(tls.server_name.as_deref(), Some("orders.example"));
    assert!(matches!(&tls.trusted, Trusted::Roots(roots) if roots.len() == 1));
    assert!(tls.shown.is_some() && tls.wraps_tcp && shop.tls.is_none());
    let probe = &orders.health.as_ref().unwrap().probe;
    assert!(matches!(probe, Probe::Grpc { service } if service == "shop.Orders"));

    let routes = &config.routes;
    assert_eq!(routes.len(), 4, "one for each host");
    assert_eq!(
        routes[1].host,
        HostMatch::Wildcard("shop.example".to_owned())
    );
    assert_eq!(*routes[1].listeners, ["file/web"]);
    let rate = routes[2].policy.rate.as_ref().unwrap();
    assert_eq!(rate.by, RateKey::Header("x-partner".parse().unwrap()));
    assert!(rate.is_shared && matches!(routes[2].policy.auth, Some(Auth::Jwt(_))));
    assert_eq!(routes[3].path, PathMatch::Exact("/status".to_owned()));
    assert_eq!(*routes[3].listeners, ["file/inner", "file/web"]);
}

#[test]
fn every_field_is_documented() {
    let written = include_str!("written.rs");
    let fields = written.lines().filter_map(|line| {
        let field = line.trim().strip_prefix("pub(super) ")?;
        let (name, _) = field.split_once(':')?;
        (!name.contains(' ')).then_some(name)
    });
    let fields: Vec<_> = fields.collect();
    assert!(fields.len() > 60, "{fields:?}");
    for name in fields {
        let name = match name {
            "matches" => "`match`".to_owned(),
            "listeners" | "backends" | "policies" | "routes" => format!("[{name}"),
            name => format!("`{name}`"),
        };
        assert!(DOCS.contains(&name), "{name}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let backend = "[backends.a]\n[listeners.v]\naddress = \"127.0.0.1:80\"\nprotocol = \"http\"\n";
    let listener = "[listeners.w]\naddress = \"127.0.0.1:80\"\nprotocol = \"http\"\n";
    let cases = [
        (
            "[listener.w]",
            "unknown field `listener`, expected one of `zone`, `listeners`",
        ),
        (
            "[backends.a.timeouts]\nresponse_s = 3",
            "unknown field `response_s`",
        ),
        (
            "[backends.a.timeouts]\nresponse_ms = -3",
            "line 2, column 15",
        ),
        (
            "[backends.a.timeouts]\nresponse_ms = 0",
            "backends.a.timeouts.response_ms: it is 0, and has to be 1 to 86400000",
        ),
        (
            "[backends.\"a/b\"]",
            "backends.\"a/b\": a name is 1 to 63 letters",
        ),
        (
            "[backends.a]\nservice = \"web:80\"",
            "backends.a.service: give it as NAMESPACE/NAME:PORT",
        ),
        (
            "[backends.a]\nendpoints = [{ address = \"host:80\" }]",
            "backends.a.endpoints[0].address: give it as ADDRESS:PORT",
        ),
        (
            "[backends.a]\nbalancer = \"best\"",
            "backends.a.balancer: it is one of: round-robin",
        ),
        (
            "[backends.a]\nbalancer = \"random\"\naffinity = \"source\"",
            "backends.a.affinity: it takes the place of balancer",
        ),
        (
            "[backends.a]\nproxy_protocol = 3",
            "backends.a.proxy_protocol: it is 1 or 2",
        ),
        (
            "[backends.a]\nhealth = { probe = \"ping\" }",
            "backends.a.health.probe: it is one of: tcp, http, grpc",
        ),
        (
            "[backends.a]\nhealth = { probe = \"tcp\", path = \"/\" }",
            "backends.a.health.path: it is for \"http\"",
        ),
        (
            "[backends.a]\ntls = { verify = false }",
            "unknown field `verify`",
        ),
        (
            "[backends.a]\ntls = { ca = \"a.crt\", accepts_any_certificate = true }",
            "backends.a.tls.ca: it holds against nothing",
        ),
        (
            "[backends.a]\ntls = { ca = \"a.key\" }",
            "backends.a.tls.ca: a certificate of an issuer can't be read",
        ),
        (
            "[backends.a]\ntls = { cert = \"a.crt\" }",
            "backends.a.tls: cert and key go together",
        ),
        (
            "[backends.a]\ntls = { cert = \"a.crt\", key = \"a.json\" }",
            "backends.a.tls: a private key can't be read",
        ),
        (
            "[backends.a]\ntls = { server_name = \"a b\" }",
            "backends.a.tls.server_name: it is neither",
        ),
        (
            "[backends.a]\nretries = { statuses = [200] }",
            "backends.a.retries.statuses: it is 200",
        ),
        (
            "[listeners.w]\naddress = \"80\"\nprotocol = \"http\"",
            "listeners.w.address: give it as HOST:PORT",
        ),
        (
            "[listeners.w]\naddress = \"a:80\"\nprotocol = \"tcp\"",
            "listeners.w.backend: a listener with",
        ),
        (
            "[listeners.w]\naddress = \"a:80\"\nprotocol = \"tcp\"\nbackend = \"b\"",
            "listener \"file/w\" names the cluster \"file/b\", which is not there",
        ),
        (
            "[listeners.w]\naddress = \"a:80\"\nprotocol = \"quic\"",
            "listeners.w.protocol: it is \"quic\"",
        ),
        (
            &format!("{listener}backend = \"a\""),
            "listeners.w.backend: it is for listeners",
        ),
        (
            &format!("{listener}allow = [\"10.0.0.0/40\"]"),
            "listeners.w.allow: \"10.0.0.0/40\" is not a",
        ),
        (
            &format!("{listener}limits = {{ head_bytes_max = 10 }}"),
            "listeners.w.limits.head_bytes_max: it is 10, and has to be 8192 to 1048576",
        ),
        (
            &format!("{listener}tls = {{ certificates = [] }}"),
            "listeners.w.tls.certificates: it has 0",
        ),
        (
            &format!("{listener}tls = {{ certificates = [{{ cert = \"x\", key = \"a.key\" }}] }}"),
            "listeners.w.tls.certificates[0].cert: x: no such file",
        ),
        (
            &format!(
                "{listener}tls = {{ certificates = [{{ cert = \"a.crt\", key = \"a.json\" }}] }}"
            ),
            "listeners.w.tls.certificates[0]: a private key can't be read",
        ),
        (
            &format!("{listener}proxies = [\"10.0.0.0/8\"]"),
            "listeners.w.proxies: it needs proxy_protocol = true",
        ),
        (
            &format!("{listener}proxy_protocol = true\nproxies = [\"10.0.0.0/33\"]"),
            "listeners.w.proxies: \"10.0.0.0/33\" is not a",
        ),
        (
            "[policies.p]\nbasic = { users = \"a.json\" }",
            "policies.p.basic.users: a.json: line 1 has no bcrypt",
        ),
        (
            "[policies.p]\njwt = { jwks = \"a.key\" }",
            "policies.p.jwt.jwks: a.key: it is not a JSON Web Key Set",
        ),
        (
            "[policies.p]\njwt = { jwks = \"a.json\" }\nbasic = { users = \"a.htpasswd\" }",
            "policies.p: basic and jwt can't both",
        ),
        (
            "[policies.p]\nrate = { per_second = 0 }",
            "policies.p.rate.per_second: it is 0",
        ),
        (
            "[policies.p]\nrate = { per_second = 1, by = \"name\" }",
            "policies.p.rate.by: it is one of: all",
        ),
        (
            "[backends.a]\n[[routes]]\nbackend = \"a\"",
            "routes: there is no listener with the protocol \"http\"",
        ),
        (
            &format!("{listener}[[routes]]\nbackend = \"a\""),
            "routes[0].backend: there is no backend \"a\"",
        ),
        (
            &format!("{backend}[[routes]]\nbackend = \"a\"\npolicy = \"p\""),
            "routes[0].policy: there is no",
        ),
        (
            &format!("{backend}[[routes]]\nbackend = \"a\"\npath = \"x\""),
            "routes[0].path: it begins with /",
        ),
        (
            &format!("{backend}[[routes]]\nbackend = \"a\"\nmethods = [\"get\"]"),
            "routes[0].methods: \"get\" is",
        ),
        (
            &format!("{backend}[[routes]]\nbackend = \"a\"\nhosts = [\"a:80\"]"),
            "routes[0].hosts: \"a:80\" is no",
        ),
        (
            &format!("{backend}[[routes]]\nbackend = \"a\"\nlisteners = [\"w\"]"),
            "routes[0].listeners: there is no",
        ),
        (
            &format!("{backend}[[routes]]\nbackend = \"a\"\nheaders = {{ \"a b\" = \"\" }}"),
            "routes[0].headers.\"a b\"",
        ),
    ];
    for (text, expected) in cases {
        let error = parse(text).unwrap_err().to_string();
        assert!(
            error.starts_with("gateway.toml: ") && error.contains(expected),
            "{text}\n{error}"
        );
    }
    assert_eq!(
        parse(&" ".repeat(FILE_BYTES_MAX + 1)).unwrap_err(),
        FileError::TooLong
    );
    assert!(parse("").is_ok());
}

fn objects() -> [Vec<Arc<Value>>; 3] {
    let service = json!({
        "metadata": {"namespace": "default", "name": "shop"},
        "spec": {"clusterIP": "127.64.0.9", "ports": [
            {"name": "http", "port": 80, "appProtocol": "kubernetes.io/h2c"}]},
    });
    let slice = json!({
        "metadata": {"namespace": "default", "labels": {"kubernetes.io/service-name": "shop"}},
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": ["10.0.0.1"]}],
    });
    let ingress = json!({
        "metadata": {"namespace": "default", "name": "i"},
        "spec": {"defaultBackend": {"service": {"name": "shop", "port": {"number": 80}}}},
    });
    [service, slice, ingress].map(|it| vec![Arc::new(it)])
}

#[test]
fn a_file_stands_beside_services() {
    let text = r#"
        [listeners.web]
        address = "127.0.0.1:80"
        protocol = "http"
        serves_ingresses = true
        [listeners.other]
        address = "127.0.0.1:81"
        protocol = "http"
        [backends.shop]
        service = "default/shop:http"
        endpoints = [{ address = "10.0.0.2:80" }]
        [backends.gone]
        service = "default/gone:80"
        protocol = "http1"
        [[routes]]
        path = "/file"
        backend = "shop"
    "#;
    let file = parse(text).unwrap();
    let [services, slices, ingresses] = objects();
    let objects = Objects {
        services: &services,
        slices: &slices,
        ingresses: &ingresses,
        secrets: &[],
        ..Objects::default()
    };
    let made = config(Some(&file), &objects, &doors());
    made.config.check().unwrap();
    let shop = &made.config.clusters["file/shop"];
    let told: Vec<_> = shop
        .endpoints
        .iter()
        .map(|it| it.address.to_string())
        .collect();
    assert_eq!(told, ["10.0.0.2:80", "10.0.0.1:8080"]);
    assert_eq!(shop.backend, Backend::Http2, "as the Service says");
    let problem = "gateway.toml: there is no Service default/gone with a port 80 of TCP";
    assert_eq!(made.problems, [problem]);
    let [own, ingress] = &made.config.routes[..] else {
        panic!("two routes")
    };
    assert_eq!(*ingress.listeners, ["http", "https", "file/web"]);
    assert_eq!(
        *own.listeners,
        ["file/other", "file/web"],
        "not the Ingresses' own"
    );
    assert_eq!(made.config.listeners.len(), 4);
}
