//! A snapshot in force: what it says, with what is remembered about it.

use std::{collections::BTreeMap, sync::Arc};

use atoll_world::{net::TlsAcceptor, pki::PkiError};

use super::{
    limit::Limiter,
    state::ClusterState,
    tls::{self, Callings},
};
use crate::core::{
    config::{Config, Protocol, Route, RoutePolicy, Tls},
    route::Router,
};

/// One snapshot in force.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) config: Arc<Config>,
    pub(crate) router: Router<Arc<Target>>,
    pub(crate) clusters: BTreeMap<String, Arc<ClusterState>>,
    /// Certificates by listener.
    acceptors: BTreeMap<String, Served>,
    /// Rates by their names.
    limiters: BTreeMap<String, Arc<Limiter>>,
}

/// The set-up of a listener with TLS, and what it was made of.
#[derive(Debug)]
struct Served {
    tls: Tls,
    is_http: bool,
    acceptor: TlsAcceptor,
}

/// What a route leads to.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) cluster: Arc<ClusterState>,
    pub(crate) policy: Arc<RoutePolicy>,
    /// There is one if the policy has a rate.
    pub(crate) limiter: Option<Arc<Limiter>>,
}

impl Table {
    /// Nothing at all.
    pub(crate) fn empty() -> Self {
        Table {
            config: Arc::default(),
            router: Router::new([]),
            clusters: BTreeMap::new(),
            acceptors: BTreeMap::new(),
            limiters: BTreeMap::new(),
        }
    }

    /// This snapshot, which was checked, after `before`.
    ///
    /// # Errors
    /// Its certificates can't be used.
    pub(crate) fn next(config: Arc<Config>, before: &Table, now_ms: u64) -> Result<Self, PkiError> {
        let zone = config.zone.as_deref();
        let mut callings = Callings::default();
        for known in before.clusters.values() {
            if let (Some(tls), Some(calling)) = (&known.config.tls, &known.calling) {
                callings.keep(tls, calling);
            }
        }
        let clusters = config.clusters.iter().map(|(name, cluster)| {
            let old = before.clusters.get(name);
            let state = ClusterState::next(name, cluster, zone, old, now_ms, &mut callings)?;
            Ok((name.clone(), Arc::new(state)))
        });
        let clusters: BTreeMap<_, _> = clusters.collect::<Result<_, PkiError>>()?;
        let limiters = limiters(&config, before);
        let routes = config.routes.iter().filter_map(|route| {
            let target = target(route, &clusters, &limiters)?;
            Some((route.clone(), Arc::new(target)))
        });
        Ok(Table {
            router: Router::new(routes),
            acceptors: acceptors(&config, before)?,
            config: config.clone(),
            clusters,
            limiters,
        })
    }

    /// The certificates of a listener, if it has TLS.
    pub(crate) fn acceptor(&self, listener: &str) -> Option<&TlsAcceptor> {
        self.acceptors.get(listener).map(|it| &it.acceptor)
    }
}

fn target(
    route: &Route,
    clusters: &BTreeMap<String, Arc<ClusterState>>,
    limiters: &BTreeMap<String, Arc<Limiter>>,
) -> Option<Target> {
    let rate = route.policy.rate.as_ref();
    Some(Target {
        cluster: clusters.get(&route.cluster)?.clone(),
        policy: route.policy.clone(),
        limiter: rate.and_then(|rate| limiters.get(&rate.name).cloned()),
    })
}

/// What was counted goes on being counted.
fn limiters(config: &Config, before: &Table) -> BTreeMap<String, Arc<Limiter>> {
    let rates = config
        .routes
        .iter()
        .filter_map(|it| it.policy.rate.as_ref());
    let named = rates.map(|rate| {
        let known = before.limiters.get(&rate.name).cloned();
        (rate.name.clone(), known)
    });
    let unique: BTreeMap<_, _> = named.collect();
    let made = unique.into_iter();
    made.map(|(name, known)| (name, known.unwrap_or_default()))
        .collect()
}

/// Set-ups that are not changed stay, with the sessions that they know.
fn acceptors(config: &Config, before: &Table) -> Result<BTreeMap<String, Served>, PkiError> {
    let mut acceptors = BTreeMap::new();
    for listener in &config.listeners {
        let Some(tls) = &listener.tls else { continue };
        let is_http = matches!(listener.protocol, Protocol::Http { .. });
        let known = before.acceptors.get(&listener.name);
        let acceptor = match known.filter(|it| it.tls == *tls && it.is_http == is_http) {
            Some(known) => known.acceptor.clone(),
            None => tls::acceptor(tls, is_http)?,
        };
        let served = Served {
            tls: tls.clone(),
            is_http,
            acceptor,
        };
        acceptors.insert(listener.name.clone(), served);
    }
    Ok(acceptors)
}
