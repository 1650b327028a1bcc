//! Ingresses: routes from the HTTP listeners of all, and certificates by host.
//!
//! What can't be understood closes and never opens: a route whose conditions are broken refuses
//! requests. A certificate that is missing or broken is replaced by one that nobody trusts, so
//! that other hosts of the listener go on, and clients see at once whose fault it is.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;

use super::{Doors, Index, Made, Port, annotations::Asked, key, list, text};
use crate::core::config::{
    Certificate, Fallback, HostMatch, Listener, PathMatch, Protocol, Route, Tls,
};

/// So many routes a gateway has; more are left out.
pub const ROUTES_MAX: usize = 10_000;
/// The listeners of all Ingresses.
const HTTP: &str = "http";
const HTTPS: &str = "https";
/// New traces that are recorded, of a hundred.
const TRACES_PERCENT: u32 = 100;

/// Adds what Ingresses ask for.
pub(super) fn add(made: &mut Made, ingresses: &[Arc<Value>], index: &Index<'_>, doors: &Doors) {
    let listeners: Arc<[String]> = [HTTP.to_owned(), HTTPS.to_owned()].into();
    let mut certificates = Vec::new();
    let mut wants_tls = false;
    // Who was there first keeps what it has; names decide among those of one second.
    let mut in_turn: Vec<&Arc<Value>> = ingresses.iter().collect();
    in_turn.sort_by(|a, b| {
        let since = |of: &Value| text(&of["metadata"]["creationTimestamp"]).to_owned();
        since(a).cmp(&since(b))
    });
    for ingress in in_turn {
        add_routes(made, ingress, index, &listeners, doors);
        for tls in list(&ingress["spec"]["tls"]) {
            wants_tls = true;
            certificates.extend(certificate(made, ingress, tls, index));
        }
    }
    if made.config.routes.is_empty() {
        return;
    }
    let protocol = Protocol::Http {
        trusts_forwarded: false,
        traces_percent: TRACES_PERCENT,
    };
    let plain = Listener::new(HTTP, &doors.http, protocol.clone());
    made.config.listeners.push(plain);
    if let Some(https) = doors.https.as_ref().filter(|_| wants_tls) {
        let mut listener = Listener::new(HTTPS, https, protocol);
        listener.tls = Some(Tls {
            certificates,
            fallback: Fallback::SelfSigned,
            clients: None,
        });
        made.config.listeners.push(listener);
    }
}

/// The certificate for the hosts of one entry of `spec.tls`.
fn certificate(
    made: &mut Made,
    ingress: &Value,
    tls: &Value,
    index: &Index<'_>,
) -> Option<Certificate> {
    let (namespace, name) = key(ingress);
    let secret = text(&tls["secretName"]);
    if secret.is_empty() {
        return None;
    }
    let hosts = list(&tls["hosts"]).map(|host| text(host).to_owned());
    let found = index.certificate((namespace, secret), hosts.collect());
    let told = |problem| made.tell(format!("Ingress {namespace}/{name}: spec.tls: {problem}"));
    found.map_err(told).ok()
}

/// The routes of an Ingress; what leads to a Service that is not there is answered 503: without
/// its route, a broader one would answer in its place, under other conditions.
fn add_routes(
    made: &mut Made,
    ingress: &Value,
    index: &Index<'_>,
    listeners: &Arc<[String]>,
    doors: &Doors,
) {
    let (namespace, name) = key(ingress);
    let mut asked = Asked::of(ingress, index, doors);
    for problem in asked.problems.drain(..) {
        made.tell(format!("Ingress {namespace}/{name}: {problem}"));
    }
    let policy = Arc::new(std::mem::take(&mut asked.policy));
    let methods = asked.matches.each_method();
    let mut own = BTreeSet::new();
    for (host, path, backend) in paths(ingress) {
        if made.config.routes.len() + methods.len() > ROUTES_MAX {
            let why = format!("there are more than {ROUTES_MAX} routes, and the rest is left out");
            return made.tell(format!("Ingress {namespace}/{name}: {why}"));
        }
        let cluster = cluster(made, index, namespace, &backend["service"]).unwrap_or_else(|| {
            let nobody = format!("{namespace}/{name} without a Service");
            made.config.clusters.entry(nobody.clone()).or_default();
            nobody
        });
        let cluster = match asked.changes_clusters() {
            true => {
                // The Service's other users have it as before.
                let changed = format!("{cluster} of Ingress {name}");
                if own.insert(changed.clone()) {
                    let mut copy = made.config.clusters[&cluster].clone();
                    let service = text(&backend["service"]["name"]);
                    asked.change(&mut copy, (namespace, service));
                    made.config.clusters.insert(changed.clone(), copy);
                }
                changed
            }
            false => cluster,
        };
        let route = Route {
            headers: asked.matches.headers.clone(),
            listeners: listeners.clone(),
            policy: policy.clone(),
            ..Route::new(host, path, &cluster)
        };
        let each = methods.iter().map(|method| Route {
            method: method.clone(),
            ..route.clone()
        });
        made.config.routes.extend(each);
    }
}

/// Where requests may go, and the backends that they go to.
fn paths(ingress: &Value) -> Vec<(HostMatch, PathMatch, &Value)> {
    let spec = &ingress["spec"];
    let mut paths = Vec::new();
    for rule in list(&spec["rules"]) {
        let host = match text(&rule["host"]) {
            "" => HostMatch::Any,
            host => match host.strip_prefix("*.") {
                Some(rest) => HostMatch::Wildcard(rest.to_owned()),
                None => HostMatch::Exact(host.to_owned()),
            },
        };
        for path in list(&rule["http"]["paths"]) {
            let at = match text(&path["path"]) {
                "" => "/",
                at => at,
            };
            let matched = match text(&path["pathType"]) {
                "Exact" => PathMatch::Exact(at.to_owned()),
                _ => PathMatch::Prefix(at.to_owned()),
            };
            paths.push((host.clone(), matched, &path["backend"]));
        }
    }
    if spec["defaultBackend"].is_object() {
        let all = PathMatch::Prefix("/".to_owned());
        paths.push((HostMatch::Any, all, &spec["defaultBackend"]));
    }
    paths
}

/// The cluster of a backend, if it is there.
fn cluster(made: &Made, index: &Index<'_>, namespace: &str, backend: &Value) -> Option<String> {
    let port = &backend["port"];
    let port = match port["name"].as_str() {
        Some(name) => Port::Name(name),
        None => Port::Number(port["number"].as_u64()?),
    };
    let cluster = index.cluster((namespace, text(&backend["name"])), port);
    cluster.filter(|name| made.config.clusters.contains_key(name))
}
