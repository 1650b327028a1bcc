use super::*;
use crate::core::route::{Asked, Router};

#[test]
fn ingresses_are_for_methods_and_fields() {
    let plain = ingress("plain", json!({}));
    let canary = ingress(
        "canary",
        json!({
            "atoll.dev/match-methods": "GET, HEAD",
            "atoll.dev/match-headers": "X-Canary=always, x-b = 2",
            "atoll.dev/retries": "0",
        }),
    );
    let made = made_of(vec![service()], Vec::new(), vec![plain, canary], Vec::new());
    assert_eq!(made.problems, [""; 0]);
    let routes = made.config.routes.iter();
    let router = Router::new(routes.map(|it| (it.clone(), it.cluster.clone())));
    let goes = |method: &str, fields: &[(&'static str, &str)]| {
        let fields = fields.iter();
        let headers = fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let asked = Asked {
            listener: "http",
            host: "a.example",
            path: "/x",
            method: &method.parse().unwrap(),
            headers: &headers.collect(),
        };
        router.find(&asked).unwrap().contains("canary")
    };
    let all = [("x-canary", "always"), ("x-b", "2")];
    assert!(goes("GET", &all) && goes("HEAD", &all));
    assert!(!goes("POST", &all) && !goes("GET", &all[..1]));
    assert!(!goes("GET", &[("x-canary", "never"), ("x-b", "2")]));
}

#[test]
fn a_match_that_is_wrong_closes_the_ingress() {
    let many = vec!["GET"; 17].join(",");
    for (name, value) in [
        ("match-methods", "get"),
        ("match-methods", ""),
        ("match-methods", &*many),
        ("match-headers", "x-canary"),
        ("match-headers", "a b=c"),
        ("match-headers", ""),
    ] {
        let name = format!("atoll.dev/{name}");
        let asked = ingress("i", json!({ &name: value }));
        let made = made_of(vec![service()], Vec::new(), vec![asked], Vec::new());
        assert!(made.config.routes[0].policy.is_broken, "{name}: {value}");
        assert_eq!(made.problems.len(), 1);
    }
}
