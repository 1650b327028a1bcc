use atoll_world::pki::tls::Trusted;

use super::*;
use crate::core::config::BackendTls;

/// How requests to the Ingress's Service are called, and what is wrong.
fn called(of_service: Value, of_ingress: Value) -> (Option<BackendTls>, Vec<String>) {
    let made = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
    let mut client = secret("client", "tls.crt", &made.cert.pem());
    let key = secret("", "tls.key", &made.signing_key.serialize_pem());
    client["data"]["tls.key"] = key["data"]["tls.key"].clone();
    let secrets = vec![
        secret("ca", "ca.crt", &made.cert.pem()),
        secret("broken", "ca.crt", "x"),
        client,
    ];
    let mut service = service();
    service["metadata"]["annotations"] = of_service;
    let ingress = ingress("i", of_ingress);
    let made = made_of(vec![service], Vec::new(), vec![ingress], secrets);
    let route = &made.config.routes[0];
    (
        made.config.clusters[&route.cluster].tls.clone(),
        made.problems,
    )
}

#[test]
fn services_and_ingresses_say_how_endpoints_are_called() {
    let asked = json!({
        "atoll.dev/backend-tls": "true",
        "atoll.dev/backend-tls-ca-secret": "ca",
        "atoll.dev/backend-tls-client-secret": "client",
    });
    let by_service = called(asked.clone(), json!({}));
    let by_ingress = called(json!({}), asked.clone());
    for (tls, problems) in [by_service, by_ingress] {
        assert_eq!(problems, [""; 0]);
        let tls = tls.unwrap();
        assert_eq!(tls.server_name.as_deref(), Some("web.default.svc"));
        assert!(matches!(&tls.trusted, Trusted::Roots(roots) if roots.len() == 1));
        // Who connects to the Service's address speaks with endpoints as they are.
        assert!(tls.shown.is_some() && !tls.wraps_tcp);
    }
    let named = json!({
        "atoll.dev/backend-tls": "true",
        "atoll.dev/backend-tls-server-name": "shop.example",
        "atoll.dev/backend-tls-accepts-any-certificate": "true",
    });
    let (tls, problems) = called(asked.clone(), named);
    let tls = tls.unwrap();
    assert_eq!((tls.trusted, problems), (Trusted::Anybody, Vec::new()));
    assert_eq!(tls.server_name.as_deref(), Some("shop.example"));
    let (tls, _) = called(asked, json!({"atoll.dev/backend-tls": "false"}));
    assert_eq!(tls, None, "the Ingress's word comes first");
}

#[test]
fn wrong_tls_of_a_service_is_never_none() {
    let with = |name: &str, value: &str| {
        let mut all = json!({"atoll.dev/backend-tls": "true"});
        all[format!("atoll.dev/{name}")] = json!(value);
        all
    };
    for wrong in [
        with("backend-tls", "yes"),
        with("backend-tls-ca-secret", "nowhere"),
        with("backend-tls-ca-secret", "broken"),
        with("backend-tls-client-secret", "ca"),
        with("backend-tls-server-name", "a b"),
        with("backend-tls-accepts-any-certificate", "1"),
        json!({"atoll.dev/backend-tls-ca-secret": "ca"}),
    ] {
        let (tls, problems) = called(wrong.clone(), json!({}));
        let nobody = Trusted::Roots(Vec::new());
        assert_eq!(tls.unwrap().trusted, nobody, "{wrong}");
        assert!(
            problems[0].starts_with("Service default/web: annotation atoll.dev/backend-tls"),
            "{problems:?}"
        );
    }
    let (tls, problems) = called(json!({"atoll.dev/retries": "2"}), json!({}));
    assert_eq!((tls, problems.len()), (None, 1), "that is for Ingresses");
}
