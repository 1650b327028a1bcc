use super::*;
use crate::core::config::{HealthCheck, Probe};

/// What is asked of the endpoints of the Ingress's Service, of the Service's own, and what is
/// wrong.
fn asked(
    of_service: Value,
    of_ingress: Value,
) -> (Option<HealthCheck>, Option<HealthCheck>, Vec<String>) {
    let mut service = service();
    service["metadata"]["annotations"] = of_service;
    let made = made_of(
        vec![service],
        Vec::new(),
        vec![ingress("i", of_ingress)],
        Vec::new(),
    );
    let clusters = &made.config.clusters;
    let by_ingress = clusters[&made.config.routes[0].cluster].health.clone();
    let own = clusters["default/web/80"].health.clone();
    (by_ingress, own, made.problems)
}

#[test]
fn services_and_ingresses_say_what_endpoints_are_asked() {
    let all = json!({
        "atoll.dev/health-probe": "http",
        "atoll.dev/health-path": "/ready",
        "atoll.dev/health-host": "a.example",
        "atoll.dev/health-interval-ms": "100",
        "atoll.dev/health-timeout-ms": "50",
        "atoll.dev/health-healthy-after": "1",
        "atoll.dev/health-unhealthy-after": "4",
    });
    let expected = HealthCheck {
        probe: Probe::Http {
            path: "/ready".to_owned(),
            host: Some("a.example".to_owned()),
        },
        interval_ms: 100,
        timeout_ms: 50,
        healthy_after: 1,
        unhealthy_after: 4,
    };
    let wanted = Some(expected);
    let told = asked(all.clone(), json!({}));
    assert_eq!(told, (wanted.clone(), wanted.clone(), Vec::new()));
    let told = asked(json!({}), all.clone());
    assert_eq!(told, (wanted.clone(), None, Vec::new()));
    // The Ingress's word comes first, and is for itself alone.
    let other = json!({"atoll.dev/health-probe": "grpc", "atoll.dev/health-service": "a.B"});
    let grpc = HealthCheck::new(Probe::Grpc {
        service: "a.B".to_owned(),
    });
    let told = asked(all.clone(), other);
    assert_eq!(told, (Some(grpc), wanted.clone(), Vec::new()));
    let told = asked(all, json!({"atoll.dev/health-probe": "none"}));
    assert_eq!(told, (None, wanted, Vec::new()));
    let tcp = Some(HealthCheck::new(Probe::Tcp));
    let told = asked(json!({"atoll.dev/health-probe": "tcp"}), json!({}));
    assert_eq!(told, (tcp.clone(), tcp, Vec::new()));
}

#[test]
fn a_check_that_is_wrong_is_told_and_left_out() {
    for (probe, name, value, problem) in [
        ("ping", "", "", "probe: it is one of: tcp, http, grpc, none"),
        ("http", "path", "ready", "it is a path"),
        ("tcp", "path", "/", "it is for \"http\""),
        ("http", "service", "a", "it is for \"grpc\""),
        ("grpc", "host", "a", "it is for \"http\""),
        ("http", "host", "a\nb", "it is no host"),
        ("tcp", "interval-ms", "5", "it is 5, and has to be 10 to"),
        ("tcp", "timeout-ms", "soon", "it is a number"),
        ("tcp", "healthy-after", "0", "it is 0, and has to be 1 to"),
        ("tcp", "unhealthy-after", "1001", "it is 1001, and has"),
        ("", "path", "/", "it needs atoll.dev/health-probe beside it"),
    ] {
        let mut all = json!({});
        if !probe.is_empty() {
            all["atoll.dev/health-probe"] = json!(probe);
        }
        if !name.is_empty() {
            all[format!("atoll.dev/health-{name}")] = json!(value);
        }
        let (by_ingress, own, problems) = asked(all.clone(), json!({}));
        assert_eq!((by_ingress, own), (None, None), "{all}");
        let [told] = &problems[..] else {
            panic!("{all}: {problems:?}")
        };
        let begins = "Service default/web: annotation atoll.dev/health-";
        assert!(told.starts_with(begins) && told.contains(problem), "{told}");
        let (_, _, problems) = asked(json!({}), all);
        assert!(
            problems[0].starts_with("Ingress default/i: "),
            "{problems:?}"
        );
    }
    // Who is not believed is not asked, or nobody would reach the Service's own address.
    let broken = json!({"atoll.dev/backend-tls": "yes", "atoll.dev/health-probe": "tcp"});
    assert_eq!(asked(broken, json!({})).1, None);
}
