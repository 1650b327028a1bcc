//! What a snapshot may not say.

use std::collections::BTreeSet;

use super::{
    Cluster, Config, ENDPOINTS_MAX, Fallback, Listener, PathMatch, Protocol, Tls, WEIGHT_MAX,
};

/// Why a snapshot contradicts itself.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Two listeners of one name.
    #[error("two listeners are named {0:?}")]
    ListenerTwice(String),
    /// A cluster that is not there.
    #[error("{user} names the cluster {cluster:?}, which is not there")]
    NoCluster {
        /// Who names it.
        user: String,
        /// The name.
        cluster: String,
    },
    /// A path without its slash.
    #[error("the path {0:?} of a route does not begin with /")]
    Path(String),
    /// Too many endpoints.
    #[error("cluster {cluster:?} has {endpoints} endpoints, more than {ENDPOINTS_MAX}")]
    Endpoints {
        /// The cluster.
        cluster: String,
        /// How many.
        endpoints: usize,
    },
    /// Too great a weight.
    #[error("cluster {cluster:?}: the weight {weight} is more than {WEIGHT_MAX}")]
    Weight {
        /// The cluster.
        cluster: String,
        /// The weight.
        weight: u32,
    },
    /// A number out of its range.
    #[error("{user}: {field} is {value}, and has to be at least {least}")]
    TooSmall {
        /// Where.
        user: String,
        /// Which.
        field: &'static str,
        /// What it is.
        value: u64,
        /// What it may be.
        least: u64,
    },
    /// TLS with nothing to show.
    #[error("listener {0:?} has TLS and no certificate")]
    NoCertificate(String),
}

impl Config {
    /// Finds what contradicts itself.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut names = BTreeSet::new();
        for listener in &self.listeners {
            if !names.insert(&listener.name) {
                return Err(ConfigError::ListenerTwice(listener.name.clone()));
            }
            self.check_listener(listener)?;
        }
        for route in &self.routes {
            let (PathMatch::Exact(path) | PathMatch::Prefix(path)) = &route.path;
            if !path.starts_with('/') {
                return Err(ConfigError::Path(path.clone()));
            }
            self.check_cluster_is_there(&route.cluster, || format!("the route {path:?}"))?;
        }
        self.clusters
            .iter()
            .try_for_each(|(name, cluster)| check_cluster(name, cluster))
    }

    fn check_listener(&self, listener: &Listener) -> Result<(), ConfigError> {
        let user = || format!("listener {:?}", listener.name);
        match &listener.protocol {
            Protocol::Tcp { cluster } => self.check_cluster_is_there(cluster, user)?,
            Protocol::Http { .. } => {}
        }
        let has_nothing =
            |tls: &Tls| tls.certificates.is_empty() && tls.fallback != Fallback::SelfSigned;
        if listener.tls.as_ref().is_some_and(has_nothing) {
            return Err(ConfigError::NoCertificate(listener.name.clone()));
        }
        let limits = &listener.limits;
        let fields = limits.fields_max as u64;
        at_least(
            user,
            "limits.head_bytes_max",
            limits.head_bytes_max as u64,
            8_192,
        )?;
        at_least(user, "limits.fields_max", fields, 1)?;
        at_least(user, "limits.streams_max", u64::from(limits.streams_max), 1)
    }

    fn check_cluster_is_there(
        &self,
        cluster: &str,
        user: impl Fn() -> String,
    ) -> Result<(), ConfigError> {
        if self.clusters.contains_key(cluster) {
            return Ok(());
        }
        Err(ConfigError::NoCluster {
            user: user(),
            cluster: cluster.to_owned(),
        })
    }
}

fn at_least(
    user: impl Fn() -> String,
    field: &'static str,
    value: u64,
    least: u64,
) -> Result<(), ConfigError> {
    if value >= least {
        return Ok(());
    }
    Err(ConfigError::TooSmall {
        user: user(),
        field,
        value,
        least,
    })
}

fn check_cluster(name: &str, cluster: &Cluster) -> Result<(), ConfigError> {
    if cluster.endpoints.len() > ENDPOINTS_MAX {
        return Err(ConfigError::Endpoints {
            cluster: name.to_owned(),
            endpoints: cluster.endpoints.len(),
        });
    }
    let weights = cluster.endpoints.iter().map(|it| it.weight);
    if let Some(weight) = weights.max().filter(|weight| *weight > WEIGHT_MAX) {
        return Err(ConfigError::Weight {
            cluster: name.to_owned(),
            weight,
        });
    }
    let user = || format!("cluster {name:?}");
    at_least(user, "timeouts.connect_ms", cluster.timeouts.connect_ms, 1)?;
    at_least(
        user,
        "timeouts.response_ms",
        cluster.timeouts.response_ms,
        1,
    )?;
    at_least(user, "timeouts.idle_ms", cluster.timeouts.idle_ms, 1)?;
    if let Some(hedge) = &cluster.hedge {
        at_least(user, "hedge.after_ms", hedge.after_ms, 1)?;
    }
    if let Some(health) = &cluster.health {
        at_least(user, "health.interval_ms", health.interval_ms, 1)?;
        at_least(user, "health.timeout_ms", health.timeout_ms, 1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::config::{Endpoint, HostMatch, ListenerLimits, Route};

    fn listener(name: &str, protocol: Protocol) -> Listener {
        Listener::new(name, "127.0.0.1:0", protocol)
    }

    #[test]
    fn contradictions_are_named() {
        let tcp = || Protocol::Tcp {
            cluster: "a".to_owned(),
        };
        let mut config = Config {
            listeners: vec![listener("x", tcp())],
            ..Config::default()
        };
        let error = config.check().unwrap_err().to_string();
        assert_eq!(
            error,
            r#"listener "x" names the cluster "a", which is not there"#
        );
        config.clusters.insert("a".to_owned(), Cluster::default());
        assert_eq!(config.check(), Ok(()));

        config.listeners.push(listener("x", tcp()));
        assert!(matches!(config.check(), Err(ConfigError::ListenerTwice(_))));
        config.listeners.pop();

        config.listeners[0].limits.head_bytes_max = 10;
        let error = config.check().unwrap_err().to_string();
        assert_eq!(
            error,
            r#"listener "x": limits.head_bytes_max is 10, and has to be at least 8192"#
        );
        config.listeners[0].limits = ListenerLimits::default();

        config.listeners[0].tls = Some(Tls::default());
        assert!(matches!(config.check(), Err(ConfigError::NoCertificate(_))));
        config.listeners.clear();

        let path = PathMatch::Prefix("a".to_owned());
        config.routes.push(Route::new(HostMatch::Any, path, "a"));
        assert_eq!(config.check(), Err(ConfigError::Path("a".to_owned())));
        config.routes.clear();

        let mut endpoint = Endpoint::new(([127, 0, 0, 1], 1).into());
        endpoint.weight = WEIGHT_MAX + 1;
        let cluster = config.clusters.get_mut("a").unwrap();
        cluster.endpoints.push(endpoint);
        assert!(matches!(config.check(), Err(ConfigError::Weight { .. })));
    }
}
