//! What a Service asks for beyond its ports, by annotations `atoll.dev/…`. They hold for whoever
//! uses it: Ingresses, whose own come first, and its own addresses.
//!
//! One that can't be understood is told. Health checks that are not as they should be are left out. TLS that is not as it should be leaves endpoints that
//! nobody believes: requests are answered 502, and never sent without it. Connections to the
//! Service's own addresses, whose clients speak with endpoints themselves, go on.

use atoll_world::pki::tls::Trusted;
use serde_json::Value;

use super::{
    Index, backend_tls, health, key,
    written::{PREFIX, UNKNOWN, Written},
};
use crate::core::config::{BackendTls, Cluster, HealthCheck};

/// What one Service asks for.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// What can't be understood.
    pub(super) problems: Vec<String>,
    tls: Option<BackendTls>,
    health: Option<HealthCheck>,
}

impl Wishes {
    pub(super) fn of(service: &Value, index: &Index<'_>) -> Self {
        let mut wishes = Wishes::default();
        let (namespace, name) = key(service);
        let all = &service["metadata"]["annotations"];
        let written = Written::new(all, namespace, index);
        let mut is_tls_wrong = false;
        for (name, value) in all.as_object().into_iter().flatten() {
            let Some(short) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let text = value.as_str().unwrap_or_default().trim();
            let is_about_tls = short == "backend-tls" || backend_tls::BESIDE.contains(&short);
            let taken = match short {
                "backend-tls" => written.tls(text).map(|tls| wishes.tls = tls),
                _ if is_about_tls => written.needs("backend-tls"),
                "health-probe" => written.health(text).map(|check| wishes.health = check),
                _ if health::BESIDE.contains(&short) => written.needs("health-probe"),
                _ => Err(UNKNOWN.to_owned()),
            };
            if let Err(problem) = taken {
                is_tls_wrong |= is_about_tls;
                wishes
                    .problems
                    .push(format!("annotation {name}: {problem}"));
            }
        }
        if is_tls_wrong {
            // Checks would take out endpoints for everybody, since nobody is believed.
            wishes.health = None;
            wishes.tls = Some(BackendTls {
                server_name: None,
                trusted: Trusted::Roots(Vec::new()),
                shown: None,
                wraps_tcp: false,
            });
        }
        wishes.tls = wishes.tls.map(|tls| tls.of_service((namespace, name)));
        wishes
    }

    /// Changes the cluster of a port.
    pub(super) fn change(&self, cluster: &mut Cluster) {
        cluster.tls.clone_from(&self.tls);
        cluster.health.clone_from(&self.health);
    }
}
