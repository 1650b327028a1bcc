//! Which route a request takes.
//!
//! In the order of Kubernetes' Ingress: the most specific host (exact, then a wildcard, then
//! any), within it the most specific path (exact, then the longest prefix, by segments), within
//! that the route that asks for a method and for more fields; of equals, the one that came
//! first. A host of its own hides routes for any host only where it has one that matches.

use std::collections::BTreeMap;

use hyper::{HeaderMap, Method};

use super::config::{HostMatch, PathMatch, Route};

/// The routes of one snapshot, in the order in which they are tried. `T` is what they lead to.
#[derive(Debug)]
pub struct Router<T> {
    exact: BTreeMap<String, Vec<Entry<T>>>,
    /// By what follows `*.`.
    wildcard: BTreeMap<String, Vec<Entry<T>>>,
    any: Vec<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    route: Route,
    target: T,
}

impl<T> Router<T> {
    /// The routes, each with what it leads to.
    pub fn new(routes: impl IntoIterator<Item = (Route, T)>) -> Self {
        let mut router = Router {
            exact: BTreeMap::new(),
            wildcard: BTreeMap::new(),
            any: Vec::new(),
        };
        for (route, target) in routes {
            let entries = match &route.host {
                HostMatch::Exact(host) => router.exact.entry(host.to_ascii_lowercase()),
                HostMatch::Wildcard(host) => router.wildcard.entry(host.to_ascii_lowercase()),
                HostMatch::Any => {
                    router.any.push(Entry { route, target });
                    continue;
                }
            };
            entries.or_default().push(Entry { route, target });
        }
        let lists = router
            .exact
            .values_mut()
            .chain(router.wildcard.values_mut());
        for list in lists.chain([&mut router.any]) {
            list.sort_by_key(|entry| std::cmp::Reverse(rank(&entry.route)));
        }
        router
    }

    /// Where a request goes.
    pub fn find(&self, asked: &Asked<'_>) -> Option<&T> {
        let find = |list: &'_ [Entry<T>]| list.iter().position(|it| asked.fits(&it.route));
        let host = asked.host;
        if !(self.exact.is_empty() && self.wildcard.is_empty()) {
            let lower;
            let mut host = without_port(host);
            if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
                lower = host.to_ascii_lowercase();
                host = &lower;
            }
            let parent = host.split_once('.').map(|(_, parent)| parent);
            let exact = self.exact.get(host);
            let wildcard = parent.and_then(|parent| self.wildcard.get(parent));
            for list in [exact, wildcard].into_iter().flatten() {
                if let Some(at) = find(list) {
                    return Some(&list[at].target);
                }
            }
        }
        find(&self.any).map(|at| &self.any[at].target)
    }
}

/// What of a request tells its route.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The name of the listener that it came to.
    pub listener: &'a str,
    /// The host, which may have a port.
    pub host: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The fields.
    pub headers: &'a HeaderMap,
}

impl Asked<'_> {
    /// Whether it fits a route, but for the host.
    fn fits(&self, route: &Route) -> bool {
        let listeners = &route.listeners;
        is_path(&route.path, self.path)
            && (listeners.is_empty() || listeners.iter().any(|it| it == self.listener))
            && route.method.as_ref().is_none_or(|it| it == self.method)
            && route.headers.iter().all(|(name, value)| {
                let mut found = self.headers.get_all(name).iter();
                found.any(|it| it.as_bytes() == value.as_bytes())
            })
    }
}

/// The greater, the earlier a route of a host is tried.
fn rank(route: &Route) -> (bool, usize, bool, usize) {
    let (is_exact, length) = match &route.path {
        PathMatch::Exact(path) => (true, path.len()),
        PathMatch::Prefix(path) => (false, path.trim_end_matches('/').len()),
    };
    (
        is_exact,
        length,
        route.method.is_some(),
        route.headers.len(),
    )
}

fn is_path(wanted: &PathMatch, path: &str) -> bool {
    match wanted {
        PathMatch::Exact(wanted) => wanted == path,
        PathMatch::Prefix(prefix) => {
            // `/a/` and `/a` are the same prefix, and `/` is one of everything.
            let prefix = prefix.trim_end_matches('/');
            path.strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    }
}

/// The host of `host:port`, `[v6]:port` or either without a port; a last dot is left out.
pub fn without_port(host: &str) -> &str {
    let name = match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn route(host: &str, path: &str) -> Route {
        let host = match host.split_once("*.") {
            Some((_, rest)) => HostMatch::Wildcard(rest.to_owned()),
            None if host == "*" => HostMatch::Any,
            None => HostMatch::Exact(host.to_owned()),
        };
        let path = match path.strip_prefix('=') {
            Some(exact) => PathMatch::Exact(exact.to_owned()),
            None => PathMatch::Prefix(path.to_owned()),
        };
        Route::new(host, path, "")
    }

    #[test]
    fn the_most_specific_route_wins() {
        let routes = [
            ("*", "/", "all"),
            ("*", "/a", "any-a"),
            ("a.example", "/", "a"),
            ("a.example", "/x", "a-x"),
            ("a.example", "/x/y/", "a-xy"),
            ("a.example", "=/x/y", "a-xy-exact"),
            ("*.example", "/", "wild"),
            ("b.example", "/only", "b-only"),
        ];
        let routes = routes.map(|(host, path, name)| (route(host, path), name));
        let router = Router::new(routes);
        let cases = [
            ("a.example", "/", "a"),
            ("A.Example:8080", "/", "a"),
            ("a.example.", "/", "a"),
            ("a.example", "/x", "a-x"),
            ("a.example", "/x/", "a-x"),
            ("a.example", "/xy", "a"),
            ("a.example", "/x/y", "a-xy-exact"),
            ("a.example", "/x/y/", "a-xy"),
            ("a.example", "/x/y/z", "a-xy"),
            ("a.example", "/x/yz", "a-x"),
            ("c.example", "/a", "wild"),
            ("d.c.example", "/a/b", "any-a"),
            ("example", "/a", "any-a"),
            ("b.example", "/only/this", "b-only"),
            ("b.example", "/other", "wild"),
            ("[::1]:80", "/ab", "all"),
            ("", "/", "all"),
        ];
        for (host, path, expected) in cases {
            let headers = HeaderMap::new();
            let found = router.find(&asked(host, path, &Method::GET, &headers));
            assert_eq!(found, Some(&expected), "{host} {path}");
        }
        let none = Router::new([(route("a", "/x"), ())]);
        let headers = HeaderMap::new();
        let find = |host, path| none.find(&asked(host, path, &Method::GET, &headers));
        assert_eq!((find("a", "/"), find("b", "/x")), (None, None));
    }

    fn asked<'a>(
        host: &'a str,
        path: &'a str,
        method: &'a Method,
        headers: &'a HeaderMap,
    ) -> Asked<'a> {
        Asked {
            listener: "web",
            host,
            path,
            method,
            headers,
        }
    }

    #[test]
    fn routes_are_those_of_their_listeners() {
        let of = |listeners: &[&str]| Route {
            listeners: listeners.iter().map(|it| (*it).to_owned()).collect(),
            ..route("*", "/")
        };
        let headers = HeaderMap::new();
        for (listeners, expected) in [
            (&["web"][..], true),
            (&["inner", "web"], true),
            (&["inner"], false),
            (&[], true),
        ] {
            let router = Router::new([(of(listeners), ())]);
            let found = router.find(&asked("a", "/", &Method::GET, &headers));
            assert_eq!(found.is_some(), expected, "{listeners:?}");
        }
    }

    #[test]
    fn methods_and_fields_are_asked_for() {
        let mut with_method = route("*", "/a");
        with_method.method = Some(Method::POST);
        let mut with_field = route("*", "/a");
        let canary = HeaderName::from_static("x-canary");
        with_field.headers = vec![(canary.clone(), "yes".to_owned())];
        let router = Router::new([
            (route("*", "/a"), "plain"),
            (with_field, "field"),
            (with_method, "method"),
        ]);
        let mut headers = HeaderMap::new();
        let find =
            |method, headers: &HeaderMap| *router.find(&asked("", "/a", &method, headers)).unwrap();
        assert_eq!(find(Method::GET, &headers), "plain");
        assert_eq!(find(Method::POST, &headers), "method");
        headers.append(canary.clone(), HeaderValue::from_static("no"));
        assert_eq!(find(Method::GET, &headers), "plain");
        headers.append(canary, HeaderValue::from_static("yes"));
        assert_eq!(find(Method::GET, &headers), "field");
    }

    #[test]
    fn hosts_without_their_ports() {
        let cases = [
            ("a:1", "a"),
            ("a", "a"),
            ("[::1]:1", "[::1]"),
            ("[::1]", "[::1]"),
            ("a.:1", "a"),
            ("", ""),
        ];
        for (host, expected) in cases {
            assert_eq!(without_port(host), expected);
        }
    }
}
