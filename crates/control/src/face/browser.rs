//! Keeps other people's web pages away from this node.
//!
//! A page can make its visitor's browser send requests here, also to a loopback listener, if
//! its own name is made to resolve to 127.0.0.1. So a request that names an `Origin` must name
//! the host that it goes to, and what comes in on loopback must call this node by a name that
//! only loopback has.

use axum::http::{
    Request,
    header::{HOST, ORIGIN},
};

use super::Connection;

/// Refuses what a foreign page may have sent.
///
/// # Errors
/// Why it is refused, as text for a person.
pub(crate) fn check<B>(
    request: &Request<B>,
    connection: &Connection,
    hosts: &[String],
) -> Result<(), &'static str> {
    let host = match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => match request.headers().get(HOST) {
            Some(host) => Some(host.to_str().map_err(|_| "the Host header is not text")?),
            None => None,
        },
    };
    if let Some(origin) = request.headers().get(ORIGIN) {
        let origin = origin.to_str().ok().and_then(|text| text.split_once("://"));
        if origin.map(|(_, origin)| origin) != host {
            return Err("requests from pages of other origins are refused");
        }
    }
    if (connection.loopback || !hosts.is_empty())
        && let Some(host) = host
        && !is_known(host, hosts)
    {
        return Err("this node is not known under that Host");
    }
    Ok(())
}

fn is_known(host: &str, hosts: &[String]) -> bool {
    // An IPv6 address is in brackets; only what follows them is a port.
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    // An address cannot be made to resolve to another one.
    name.parse::<std::net::IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(host: &str, origin: Option<&str>, loopback: bool, hosts: &[&str]) -> bool {
        let mut request = Request::builder().uri("/health").header(HOST, host);
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        let connection = Connection {
            loopback,
            ..Default::default()
        };
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        check(&request.body(()).unwrap(), &connection, &hosts).is_ok()
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        assert!(allowed("a:1", None, false, &[]));
        assert!(allowed("a:1", Some("http://a:1"), false, &[]));
        assert!(!allowed("a:1", Some("http://b:1"), false, &[]));
        assert!(!allowed("a:1", Some("null"), false, &[]));
    }

    #[test]
    fn loopback_goes_by_its_own_names_only() {
        for host in [
            "localhost:2379",
            "127.0.0.1:2379",
            "[::1]:2379",
            "LOCALHOST",
        ] {
            assert!(allowed(host, None, true, &[]), "{host}");
        }
        assert!(!allowed(
            "evil.example:2379",
            Some("http://evil.example:2379"),
            true,
            &[]
        ));
        assert!(allowed("node.lan", None, true, &["node.lan"]));
        assert!(!allowed("other.lan", None, false, &["node.lan"]));
    }
}
