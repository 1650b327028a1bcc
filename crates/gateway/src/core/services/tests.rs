use serde_json::json;

use super::*;
use crate::core::config::{Fallback, HostMatch, PathMatch, Rate, RateKey};

mod backend_tls;
mod health;
mod host_ports;
mod matches;

fn service() -> Value {
    json!({
        "metadata": {"namespace": "default", "name": "web"},
        "spec": {"clusterIP": "127.64.0.9", "ports": [
            {"name": "http", "port": 80, "nodePort": 30080, "protocol": "TCP"},
            {"name": "dns", "port": 53, "protocol": "UDP"},
        ]},
    })
}

fn slice(endpoints: Value) -> Value {
    json!({
        "metadata": {"namespace": "default",
            "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": endpoints,
    })
}

fn made(service: Value, slices: Vec<Value>) -> Config {
    let made = made_of(vec![service], slices, Vec::new(), Vec::new());
    assert_eq!(made.problems, [""; 0]);
    made.config
}

fn made_of(
    services: Vec<Value>,
    slices: Vec<Value>,
    ingresses: Vec<Value>,
    secrets: Vec<Value>,
) -> Made {
    let shared = |list: Vec<Value>| list.into_iter().map(Arc::new).collect::<Vec<_>>();
    let (services, slices) = (shared(services), shared(slices));
    let (ingresses, secrets) = (shared(ingresses), shared(secrets));
    let objects = Objects {
        services: &services,
        slices: &slices,
        ingresses: &ingresses,
        secrets: &secrets,
        ..Objects::default()
    };
    let made = config(&objects, &doors());
    made.config.check().unwrap();
    made
}

fn doors() -> Doors {
    Doors {
        host: "127.0.0.1".to_owned(),
        balancer: None,
        http: "127.0.0.1:8080".to_owned(),
        https: Some("127.0.0.1:8443".to_owned()),
    }
}

#[test]
fn paths_of_ingresses_lead_to_services() {
    let backend = |port: Value| json!({"service": {"name": "web", "port": port}});
    let ingress = json!({
        "metadata": {"namespace": "default", "name": "i"},
        "spec": {
            "defaultBackend": backend(json!({"number": 80})),
            "rules": [
                {"host": "a.example", "http": {"paths": [
                    {"path": "/x", "pathType": "Exact", "backend": backend(json!({"name": "http"}))},
                    {"path": "/y", "pathType": "Prefix", "backend": backend(json!({"number": 9}))},
                ]}},
                {"host": "*.b.example", "http": {"paths": [
                    {"pathType": "Prefix", "backend": backend(json!({"number": 80}))}]}},
            ],
        },
    });
    let made = made_of(vec![service()], Vec::new(), vec![ingress], Vec::new()).config;
    let told: Vec<_> = made
        .routes
        .iter()
        .map(|it| (it.host.clone(), it.path.clone()))
        .collect();
    let all = PathMatch::Prefix("/".to_owned());
    assert_eq!(
        told,
        [
            (
                HostMatch::Exact("a.example".to_owned()),
                PathMatch::Exact("/x".to_owned())
            ),
            (
                HostMatch::Exact("a.example".to_owned()),
                PathMatch::Prefix("/y".to_owned())
            ),
            (HostMatch::Wildcard("b.example".to_owned()), all.clone()),
            (HostMatch::Any, all),
        ]
    );
    // Its Service has no such port: nobody else answers there.
    let nobody = &made.clusters[&made.routes[1].cluster];
    assert!(nobody.endpoints.is_empty());
    assert_eq!(made.listeners.last().unwrap().address, "127.0.0.1:8080");
}

fn told(config: &Config) -> Vec<String> {
    let cluster = &config.clusters["default/web/80"];
    cluster
        .endpoints
        .iter()
        .map(|it| it.address.to_string())
        .collect()
}

#[test]
fn a_service_has_a_listener_for_each_way_in() {
    let config = made(service(), vec![slice(json!([{"addresses": ["10.0.0.1"]}]))]);
    let addresses: Vec<_> = config.listeners.iter().map(|it| &*it.address).collect();
    assert_eq!(addresses, ["127.64.0.9:80", "127.0.0.1:30080"]);
    assert_eq!(told(&config), ["10.0.0.1:8080"]);
    let mut headless = service();
    headless["spec"]["clusterIP"] = json!("None");
    headless["spec"]["ports"][0]["nodePort"] = Value::Null;
    assert!(made(headless, Vec::new()).listeners.is_empty());
}

#[test]
fn who_is_not_ready_gets_nothing_unless_nobody_is() {
    let ready = json!({"addresses": ["10.0.0.1"], "conditions": {"ready": true}});
    let ending = json!({"addresses": ["10.0.0.2"],
        "conditions": {"ready": false, "serving": true, "terminating": true}});
    let down = json!({"addresses": ["10.0.0.3"], "conditions": {"ready": false}});
    let all = slice(json!([ready, ending, down]));
    assert_eq!(told(&made(service(), vec![all])), ["10.0.0.1:8080"]);
    let few = slice(json!([ending, down]));
    assert_eq!(told(&made(service(), vec![few])), ["10.0.0.2:8080"]);
}

#[test]
fn endpoints_of_several_slices_have_ports_of_their_own() {
    let one = slice(json!([{"addresses": ["127.0.0.1"]}]));
    let mut other = one.clone();
    other["ports"][0]["port"] = json!(8081);
    let config = made(service(), vec![one.clone(), other, one]);
    assert_eq!(told(&config), ["127.0.0.1:8080", "127.0.0.1:8081"]);
}

#[test]
fn affinity_is_by_address() {
    let mut sticky = service();
    sticky["spec"]["sessionAffinity"] = json!("ClientIP");
    let config = made(sticky, Vec::new());
    let policy = &config.clusters["default/web/80"].policy;
    assert_eq!(*policy, Policy::Maglev(HashKey::Source));
}

#[test]
fn balancers_listen_where_they_are_told_to() {
    let mut balanced = service();
    balanced["spec"]["type"] = json!("LoadBalancer");
    balanced["spec"]["loadBalancerSourceRanges"] = json!(["10.0.0.0/8"]);
    let objects = [Arc::new(balanced.clone())];
    let objects = Objects {
        services: &objects,
        ..Objects::default()
    };
    let mut doors = doors();
    doors.balancer = Some("192.0.2.1".to_owned());
    let made = config(&objects, &doors).config;
    let told: Vec<_> = made
        .listeners
        .iter()
        .map(|it| (&*it.address, it.sources.allow.len()))
        .collect();
    // The Service's own address is not from outside.
    let expected = [
        ("127.64.0.9:80", 0),
        ("127.0.0.1:30080", 1),
        ("192.0.2.1:80", 1),
    ];
    assert_eq!(told, expected);
    balanced["spec"]["loadBalancerSourceRanges"] = json!(["10.0.0.0/99"]);
    let made = made_of(vec![balanced], Vec::new(), Vec::new(), Vec::new());
    assert_eq!(made.problems.len(), 1);
    let sources = &made.config.listeners[1].sources;
    assert!(
        !sources.permit([10, 0, 0, 1].into()),
        "it does not allow everybody"
    );
}

fn ingress(name: &str, annotations: Value) -> Value {
    json!({
        "metadata": {"namespace": "default", "name": name, "annotations": annotations},
        "spec": {"rules": [{"host": "a.example", "http": {"paths": [
            {"path": "/", "pathType": "Prefix",
                "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}}]},
    })
}

fn secret(name: &str, key: &str, content: &str) -> Value {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    json!({"metadata": {"namespace": "default", "name": name},
        "data": {key: STANDARD.encode(content)}})
}

#[test]
fn annotations_change_the_ingress_that_has_them() {
    let asked = ingress(
        "i",
        json!({
            "atoll.dev/balancer": "two-choices",
            "atoll.dev/response-timeout-ms": "1500",
            "atoll.dev/retries": "0",
            "atoll.dev/hedge-after-ms": "50",
            "atoll.dev/rate-limit": "10/20",
            "atoll.dev/rate-limit-by": "header X-Key",
            "atoll.dev/rate-limit-scope": "cluster",
            "atoll.dev/deny": "10.0.0.0/8,::1",
            "atoll.dev/body-bytes-max": "1000",
            "atoll.dev/redirect-to-https": "true",
            "other.example/x": "not looked at",
        }),
    );
    let plain = ingress("j", json!({}));
    let made = made_of(vec![service()], Vec::new(), vec![asked, plain], Vec::new());
    assert_eq!(made.problems, [""; 0]);
    let [first, second] = &made.config.routes[..] else {
        panic!("two routes")
    };
    assert_eq!(second.cluster, "default/web/80");
    let cluster = &made.config.clusters[&first.cluster];
    assert_eq!(cluster.policy, Policy::TwoChoices);
    assert_eq!(cluster.timeouts.response_ms, 1_500);
    assert_eq!(cluster.retries.attempts_max, 0);
    assert_eq!(cluster.hedge.map(|it| it.after_ms), Some(50));
    let policy = &first.policy;
    let rate = policy.rate.as_ref().unwrap();
    assert_eq!((rate.name.as_str(), rate.is_shared), ("default/i", true));
    assert_eq!(rate.by, RateKey::Header("x-key".parse().unwrap()));
    let expected = Rate {
        per_second: 10,
        burst: 20,
    };
    assert_eq!(rate.rate, expected);
    assert_eq!(policy.sources.deny.len(), 2);
    assert_eq!(
        (policy.body_bytes_max, policy.https_port),
        (Some(1_000), Some(8_443))
    );
    assert!(!policy.is_broken && *second.policy == Default::default());
}

#[test]
fn an_annotation_that_is_wrong_closes_the_ingress() {
    let cases = [
        ("balancer", "fastest"),
        ("affinity", "cookie a b"),
        ("affinity", "header"),
        ("retries", "many"),
        ("rate-limit", "0"),
        ("rate-limit", "5/"),
        ("rate-limit-by", "source"),
        ("allow", ""),
        ("allow", "10.0.0.0/33"),
        ("basic-auth-secret", "nowhere"),
        ("basic-auth-secret", "empty"),
        ("basic-auth-realm", "x"),
        ("jwt-secret", "keys"),
        ("redirect-to-https", "yes"),
        ("alow", "10.0.0.0/8"),
        ("backend-tls", "yes"),
        ("health-probe", "ping"),
        ("health-path", "/"),
        ("backend-tls-server-name", "a.example"),
    ];
    for (name, value) in cases {
        let name = format!("atoll.dev/{name}");
        let asked = ingress("i", json!({ &name: value }));
        let secrets = vec![
            secret("empty", "auth", "# nobody"),
            secret("keys", "jwks", "{}"),
        ];
        let made = made_of(vec![service()], Vec::new(), vec![asked], secrets);
        assert!(made.config.routes[0].policy.is_broken, "{name}: {value}");
        let told = format!("Ingress default/i: annotation {name}: ");
        assert!(made.problems[0].starts_with(&told), "{:?}", made.problems);
    }
}

#[test]
fn certificates_come_from_secrets() {
    let certificate = |name: &str| {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let mut secret = secret(name, "tls.crt", &made.cert.pem());
        let key = self::secret("", "tls.key", &made.signing_key.serialize_pem());
        secret["data"]["tls.key"] = key["data"]["tls.key"].clone();
        secret
    };
    let (good, mut mixed) = (certificate("good"), certificate("mixed"));
    mixed["data"]["tls.key"] = good["data"]["tls.key"].clone();
    let mut asked = ingress("i", json!({}));
    asked["spec"]["tls"] = json!([
        {"hosts": ["a.example", "*.b.example"], "secretName": "good"},
        {"hosts": ["c.example"], "secretName": "mixed"},
        {"hosts": ["d.example"], "secretName": "nowhere"},
        {"hosts": ["e.example"]},
    ]);
    let made = made_of(
        vec![service()],
        Vec::new(),
        vec![asked.clone()],
        vec![good, mixed],
    );
    let listener = made.config.listeners.last().unwrap();
    assert_eq!(
        (&*listener.name, &*listener.address),
        ("https", "127.0.0.1:8443")
    );
    let tls = listener.tls.as_ref().unwrap();
    assert_eq!(tls.fallback, Fallback::SelfSigned);
    assert_eq!(tls.certificates.len(), 1);
    assert_eq!(tls.certificates[0].names, ["a.example", "*.b.example"]);
    let [mixed, missing] = &made.problems[..] else {
        panic!("{:?}", made.problems)
    };
    assert!(
        mixed.starts_with("Ingress default/i: spec.tls: Secret default/mixed: "),
        "{mixed}"
    );
    assert!(
        missing.ends_with("there is no Secret default/nowhere"),
        "{missing}"
    );
    // Without a door there is no TLS, and without a wish for it no door.
    asked["spec"]["tls"] = json!([]);
    let made = made_of(vec![service()], Vec::new(), vec![asked], Vec::new());
    assert_eq!(made.config.listeners.last().unwrap().name, "http");
}

/// What `openssl ecparam -genkey` writes (SEC 1) stands inside what others write (PKCS #8).
#[test]
fn keys_come_in_several_forms() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    let whole = made.signing_key.serialize_der();
    // An octet string of 109 bytes that holds a sequence of 107.
    let begin = [0x04, 0x6d, 0x30, 0x6b];
    let at = whole.windows(4).position(|it| it == begin).unwrap() + 2;
    let inner = STANDARD.encode(&whole[at..at + 0x6d]);
    let key = format!("-----BEGIN EC PRIVATE KEY-----\n{inner}\n-----END EC PRIVATE KEY-----\n");
    let mut own = secret("own", "tls.crt", &made.cert.pem());
    own["data"]["tls.key"] = secret("", "tls.key", &key)["data"]["tls.key"].clone();
    let mut asked = ingress("i", json!({}));
    asked["spec"]["tls"] = json!([{"secretName": "own"}]);
    let made = made_of(vec![service()], Vec::new(), vec![asked], vec![own]);
    assert_eq!(made.problems, [""; 0]);
    let tls = made.config.listeners.last().unwrap().tls.as_ref().unwrap();
    assert_eq!(tls.certificates[0].shown.facts().names, ["a.example"]);
}
