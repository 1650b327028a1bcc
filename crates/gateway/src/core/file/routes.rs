//! Routes of a file.

use std::{collections::BTreeMap, sync::Arc};

use hyper::{Method, header::HeaderName};

use super::{FileError, fields::one_of, inner, written};
use crate::core::{
    config::{HostMatch, PathMatch, Route, RoutePolicy},
    services::{ROUTES_MAX, method},
};

/// The routes as they are written: one for each host and each method.
pub(super) fn routes(
    file: &written::File,
    policies: &BTreeMap<&str, Arc<RoutePolicy>>,
) -> Result<Vec<Route>, FileError> {
    let http = file
        .listeners
        .iter()
        .filter(|(_, it)| it.protocol == "http");
    let all: Arc<[String]> = http.map(|(name, _)| inner(name)).collect();
    if all.is_empty() && !file.routes.is_empty() {
        // A route without listeners would be one of every listener.
        let problem = "there is no listener with the protocol \"http\" for them; add one";
        return Err(FileError::field("routes", problem));
    }
    let mut routes = Vec::new();
    for (place, written) in file.routes.iter().enumerate() {
        let table = format!("routes[{place}]");
        let base = base(&table, written, file, policies, &all)?;
        let hosts = hosts(&table, written)?;
        let methods = methods(&table, written)?;
        if routes.len() + hosts.len() * methods.len() > ROUTES_MAX {
            let problem = format!("with this one there are more than {ROUTES_MAX} routes");
            return Err(FileError::field(table, problem));
        }
        for host in hosts {
            for method in &methods {
                routes.push(Route {
                    host: host.clone(),
                    method: method.clone(),
                    ..base.clone()
                });
            }
        }
    }
    Ok(routes)
}

/// A route for any host and method.
fn base(
    table: &str,
    written: &written::Route,
    file: &written::File,
    policies: &BTreeMap<&str, Arc<RoutePolicy>>,
    all: &Arc<[String]>,
) -> Result<Route, FileError> {
    if !file.backends.contains_key(&written.backend) {
        let problem = format!("there is no backend {:?}", written.backend);
        return Err(FileError::field(format!("{table}.backend"), problem));
    }
    let policy = match &written.policy {
        None => Arc::default(),
        Some(name) => policies.get(name.as_str()).cloned().ok_or_else(|| {
            let problem = format!("there is no policy {name:?}");
            FileError::field(format!("{table}.policy"), problem)
        })?,
    };
    let path = path(table, written)?;
    Ok(Route {
        headers: headers(table, written)?,
        listeners: match written.listeners.is_empty() {
            true => all.clone(),
            false => listeners(table, written, all)?,
        },
        policy,
        ..Route::new(HostMatch::Any, path, &inner(&written.backend))
    })
}

fn path(table: &str, written: &written::Route) -> Result<PathMatch, FileError> {
    let path = written.path.clone().unwrap_or_else(|| "/".to_owned());
    if !path.starts_with('/') || path.contains(['?', '#']) {
        let problem = "it begins with /, and has no ? and #";
        return Err(FileError::field(format!("{table}.path"), problem));
    }
    let matches = written.matches.as_deref().unwrap_or("prefix");
    let kinds = [("prefix", false), ("exact", true)];
    Ok(match one_of(format!("{table}.match"), matches, &kinds)? {
        true => PathMatch::Exact(path),
        false => PathMatch::Prefix(path),
    })
}

fn listeners(
    table: &str,
    written: &written::Route,
    all: &[String],
) -> Result<Arc<[String]>, FileError> {
    let listeners = written.listeners.iter().map(|name| {
        let inner = inner(name);
        all.contains(&inner).then_some(inner).ok_or_else(|| {
            let problem = format!("there is no listener {name:?} that speaks \"http\"");
            FileError::field(format!("{table}.listeners"), problem)
        })
    });
    listeners.collect()
}

fn headers(table: &str, written: &written::Route) -> Result<Vec<(HeaderName, String)>, FileError> {
    let headers = written.headers.iter().map(|(name, value)| {
        let known = name.parse::<HeaderName>();
        let field = format!("{table}.headers.{name:?}");
        let known = known.map_err(|_| FileError::field(field, "it is no name of a header"))?;
        Ok((known, value.clone()))
    });
    headers.collect()
}

fn hosts(table: &str, written: &written::Route) -> Result<Vec<HostMatch>, FileError> {
    if written.hosts.is_empty() {
        return Ok(vec![HostMatch::Any]);
    }
    let is_letter = |it: u8| it.is_ascii_alphanumeric() || b"-_.".contains(&it);
    let hosts = written.hosts.iter().map(|host| {
        let (rest, is_wildcard) = match host.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (host.as_str(), false),
        };
        let inner = rest.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let is_address = inner.is_some_and(|it| it.parse::<std::net::Ipv6Addr>().is_ok());
        if !is_address && (rest.is_empty() || !rest.bytes().all(is_letter)) {
            let problem = format!("{host:?} is no host: give a name, or *. and a name");
            return Err(FileError::field(format!("{table}.hosts"), problem));
        }
        Ok(match is_wildcard {
            true => HostMatch::Wildcard(rest.to_owned()),
            false => HostMatch::Exact(rest.to_owned()),
        })
    });
    hosts.collect()
}

fn methods(table: &str, written: &written::Route) -> Result<Vec<Option<Method>>, FileError> {
    if written.methods.is_empty() {
        return Ok(vec![None]);
    }
    let methods = written.methods.iter().map(|name| {
        let told = |problem| FileError::field(format!("{table}.methods"), problem);
        method(name).map(Some).map_err(told)
    });
    methods.collect()
}
