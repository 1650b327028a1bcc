//! `gateway.toml`: what a gateway does that no Service or Ingress asks for.
//!
//! A file is read as a whole or not at all; what nobody declared in it is refused, and every
//! error names the field and what to do (`written.rs` has the fields, docs/gateway.md describes
//! them). Files that it names, as certificates, are read by whoever calls. The names of its
//! listeners and backends get `file/` in front, so that they are never those of Services.

use std::collections::BTreeMap;

use super::{
    config::{Backend, Cluster, Config, ConfigError, Listener, Route},
    services::{self, Doors, Index, Made, Objects, Port},
};

mod backends;
mod fields;
mod listeners;
mod policies;
mod routes;
#[cfg(test)]
mod tests;
mod written;

use self::{backends::backend, listeners::listener, policies::policy, routes::routes};

/// The longest file, bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// What is in front of the names of listeners and backends.
const PREFIX: &str = "file/";

/// Has the content of a file that is named in this one.
pub type Read<'a> = dyn Fn(&str) -> Result<Vec<u8>, String> + 'a;

/// A file that was read, with everything that it names.
#[derive(Clone, Debug, Default)]
pub struct File {
    zone: Option<String>,
    listeners: Vec<Listener>,
    /// Those of them that serve Ingresses, too.
    for_ingresses: Vec<String>,
    routes: Vec<Route>,
    backends: BTreeMap<String, Served>,
}

/// A backend: what stands in the file, and the Service whose endpoints it has.
#[derive(Clone, Debug)]
struct Served {
    cluster: Cluster,
    service: Option<ServicePort>,
    /// What its endpoints speak is the Service's to say.
    is_protocol_open: bool,
}

/// A port of a Service.
#[derive(Clone, Debug)]
struct ServicePort {
    namespace: String,
    name: String,
    port: String,
}

/// Why a file can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Too long.
    #[error("gateway.toml is longer than {FILE_BYTES_MAX} bytes")]
    TooLong,
    /// No TOML, or a field that there is none, or of another type; with its place.
    #[error("gateway.toml: {0}")]
    Form(String),
    /// A field whose value can't be.
    #[error("gateway.toml: {field}: {problem}")]
    Field {
        /// Where.
        field: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Fields that contradict each other.
    #[error("gateway.toml: {0}")]
    Contradiction(#[from] ConfigError),
}

impl FileError {
    fn field(field: impl Into<String>, problem: impl ToString) -> Self {
        FileError::Field {
            field: field.into(),
            problem: problem.to_string(),
        }
    }
}

impl File {
    /// Reads a file. `read` has the content of those that it names.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str, read: &Read<'_>) -> Result<File, FileError> {
        if text.len() > FILE_BYTES_MAX {
            return Err(FileError::TooLong);
        }
        let written: written::File = toml::from_str(text)
            .map_err(|error| FileError::Form(error.to_string().trim_end().to_owned()))?;
        let mut file = File {
            zone: written.zone.clone(),
            ..File::default()
        };
        for (name, written) in &written.backends {
            fields::name("backends", name)?;
            file.backends
                .insert(inner(name), backend(name, written, read)?);
        }
        for (name, written) in &written.listeners {
            fields::name("listeners", name)?;
            file.listeners.push(listener(name, written, read)?);
            if written.serves_ingresses {
                file.for_ingresses.push(inner(name));
            }
        }
        let mut policies = BTreeMap::new();
        for (name, written) in &written.policies {
            fields::name("policies", name)?;
            policies.insert(name.as_str(), policy(name, written, read)?);
        }
        file.routes = routes(&written, &policies)?;
        // Backends that are a Service's have no endpoints so far, which is no contradiction.
        file.config(|_| None).check()?;
        Ok(file)
    }

    /// What the file asks for; `endpoints` has the cluster of a Service's port.
    fn config(&self, service: impl Fn(&ServicePort) -> Option<Cluster>) -> Config {
        let clusters = self.backends.iter().map(|(name, served)| {
            let mut cluster = served.cluster.clone();
            if let Some(found) = served.service.as_ref().and_then(&service) {
                cluster.endpoints.extend(found.endpoints);
                if served.is_protocol_open {
                    cluster.backend = found.backend;
                }
            }
            (name.clone(), cluster)
        });
        Config {
            listeners: self.listeners.clone(),
            routes: self.routes.clone(),
            clusters: clusters.collect(),
            zone: self.zone.clone(),
        }
    }
}

/// Everything that a gateway is to do: for Services and Ingresses, and for a file.
pub fn config(file: Option<&File>, objects: &Objects<'_>, doors: &Doors) -> Made {
    let mut made = services::config(objects, doors);
    let Some(file) = file else { return made };
    let index = Index::new(objects);
    let mut missing = Vec::new();
    for served in file.backends.values() {
        let Some(service) = &served.service else {
            continue;
        };
        if find(&index, &made.config, service).is_none() {
            let (namespace, name, port) = (&service.namespace, &service.name, &service.port);
            missing.push(format!(
                "gateway.toml: there is no Service {namespace}/{name} with a port {port} of TCP"
            ));
        }
    }
    let own = file.config(|service| find(&index, &made.config, service));
    let config = &mut made.config;
    if !file.for_ingresses.is_empty() {
        for route in &mut config.routes {
            let listeners = route.listeners.iter().chain(&file.for_ingresses);
            route.listeners = listeners.cloned().collect();
        }
    }
    config.listeners.extend(own.listeners);
    // Of equal routes the first counts: the file's, which is the operator's.
    let of_ingresses = std::mem::replace(&mut config.routes, own.routes);
    config.routes.extend(of_ingresses);
    config.clusters.extend(own.clusters);
    config.zone = own.zone;
    made.problems.append(&mut missing);
    made
}

fn find(index: &Index<'_>, config: &Config, service: &ServicePort) -> Option<Cluster> {
    let port = match service.port.parse() {
        Ok(number) => Port::Number(number),
        Err(_) => Port::Name(&service.port),
    };
    let name = index.cluster((&service.namespace, &service.name), port)?;
    config.clusters.get(&name).cloned()
}

/// The name by which a listener or a backend is known to the gateway.
fn inner(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// What endpoints speak.
fn protocol(text: &str) -> Option<Backend> {
    match text {
        "http1" => Some(Backend::Http1),
        "http2" => Some(Backend::Http2),
        _ => None,
    }
}
